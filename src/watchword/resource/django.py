"""Django: a decorator for views, plain and ``async``."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.views.decorators.http import require_safe

from watchword.resource import dpop
from watchword.resource.client_certificate import of_environ
from watchword.resource.errors import AccessRefused
from watchword.resource.protected_resource import ProtectedResource, named_scope
from watchword.resource.request_id import request_id

View = Callable[..., Any]


class RequireToken(ProtectedResource):
    """``require = RequireToken(verifier)``, then ``@require("a:read")``; the claims are in ``request.watchword``.

    Arguments as `ProtectedResource`. A guarded view is exempt from the CSRF check: a browser never
    sends the token by itself.
    """

    def __call__(self, scope: str | None = None) -> Callable[[View], View]:
        """The decorator of a view; for a class-based view use ``method_decorator(..., name="dispatch")``."""
        needed = named_scope(scope)

        def decorate(view: View) -> View:
            @wraps(view)
            def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                try:
                    shown = of_environ(request.META, self.proxy)
                    request.watchword = self.claims(authorization(request), needed, shown, lambda: proof(request))
                except AccessRefused as refused:
                    return self._response(request, refused)
                return view(request, *args, **kwargs)

            @wraps(view)
            async def aguarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                try:
                    shown = of_environ(request.META, self.proxy)
                    values = authorization(request)
                    request.watchword = await self.aclaims(values, needed, shown, lambda: proof(request))
                except AccessRefused as refused:
                    return self._response(request, refused)
                return await view(request, *args, **kwargs)

            chosen: Any = aguarded if iscoroutinefunction(view) else guarded
            chosen.csrf_exempt = True
            return chosen  # type: ignore[no-any-return]

        return decorate

    def metadata_pattern(self) -> URLPattern:
        """The URL pattern of the RFC 9728 metadata, for the root ``urlpatterns``; it needs no token."""
        where, body = self.publish()

        def metadata(_request: HttpRequest) -> HttpResponse:
            return HttpResponse(body, content_type="application/json")

        return path(where.removeprefix("/"), require_safe(metadata))

    def _response(self, request: HttpRequest, refused: AccessRefused) -> HttpResponse:
        answer = self.refuse(refused, request_id(request.headers.items()))
        return HttpResponse(answer.body, status=answer.status, headers=answer.headers)


def proof(request: HttpRequest) -> dpop.ShownProof:
    """The DPoP header and the request it belongs to; Django's path is decoded under every server."""
    return dpop.of_django(request.META, request.method or "", request.path)


def authorization(request: HttpRequest) -> list[str]:
    """The Authorization header; several headers arrive joined with a comma, and are refused."""
    value = request.META.get("HTTP_AUTHORIZATION")
    return [] if value is None else [value]
