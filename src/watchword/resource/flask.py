"""Flask: a decorator for views that need a token."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

from flask import Flask, Response, current_app, g, request
from flask.typing import ResponseReturnValue

from watchword.resource import dpop
from watchword.resource.client_certificate import of_environ
from watchword.resource.errors import AccessRefused
from watchword.resource.protected_resource import ProtectedResource, named_scope
from watchword.resource.request_id import request_id

P = ParamSpec("P")


class RequireToken(ProtectedResource):
    """``require = RequireToken(verifier)``, then ``@require("a:read")`` under ``@app.get``; claims in ``g.watchword``.

    Arguments as `ProtectedResource`. Put the decorator below the route's: above it, the route would
    serve the view without a check.
    """

    def __call__(self, scope: str | None = None) -> Callable[[Callable[P, Any]], Callable[P, ResponseReturnValue]]:
        """The decorator of a view, plain or ``async``; None means any good token."""
        needed = named_scope(scope)

        def decorate(view: Callable[P, Any]) -> Callable[P, ResponseReturnValue]:
            @wraps(view)
            def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
                try:
                    shown = of_environ(request.environ, self.proxy)
                    values = request.headers.getlist("Authorization")
                    g.watchword = self.claims(values, needed, shown, lambda: dpop.of_environ(request.environ))
                except AccessRefused as refused:
                    answer = self.refuse(refused, request_id(request.headers.items()))
                    return Response(answer.body, answer.status, answer.headers)
                found: ResponseReturnValue = current_app.ensure_sync(view)(*args, **kwargs)
                return found

            return guarded

        return decorate

    def serve_metadata(self, app: Flask) -> None:
        """Add the route of the RFC 9728 metadata; it needs no token."""
        path, body = self.publish()
        app.add_url_rule(path, "watchword_metadata", lambda: Response(body, content_type="application/json"))
