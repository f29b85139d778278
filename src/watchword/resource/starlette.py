"""Starlette: a decorator for endpoints that need a token.

To protect a whole application instead, give `watchword.resource.asgi.RequireToken` to
``starlette.middleware.Middleware``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from watchword.resource import dpop
from watchword.resource.client_certificate import of_scope
from watchword.resource.errors import AccessRefused
from watchword.resource.protected_resource import ProtectedResource, named_scope
from watchword.resource.request_id import request_id

Endpoint = Callable[[Request], Awaitable[Response]]


class RequireToken(ProtectedResource):
    """``require = RequireToken(verifier)``, then ``@require("a:read")``; the claims are in ``request.state.watchword``.

    Arguments as `ProtectedResource`.
    """

    def __call__(self, scope: str | None = None) -> Callable[[Endpoint], Endpoint]:
        """The decorator of an ``async def endpoint(request)``; None means any good token."""
        needed = named_scope(scope)

        def decorate(endpoint: Endpoint) -> Endpoint:
            @wraps(endpoint)
            async def guarded(request: Request) -> Response:
                try:
                    shown = of_scope(request.scope, self.proxy)
                    values = request.headers.getlist("authorization")
                    claims = await self.aclaims(values, needed, shown, lambda: dpop.of_scope(request.scope))
                except AccessRefused as refused:
                    answer = self.refuse(refused, request_id(request.headers.items()))
                    return Response(answer.body, answer.status, answer.headers)
                request.state.watchword = claims
                return await endpoint(request)

            return guarded

        return decorate

    def metadata_route(self) -> Route:
        """The route of the RFC 9728 metadata; it needs no token."""
        path, body = self.publish()

        async def metadata(_request: Request) -> Response:
            return Response(body, media_type="application/json")

        return Route(path, metadata)
