"""aiohttp.web: a decorator for handlers that need a token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps

from aiohttp import web

from watchword.resource.client_certificate import TrustedProxy
from watchword.resource.dpop import ShownProof
from watchword.resource.errors import AccessRefused
from watchword.resource.protected_resource import ProtectedResource, named_scope
from watchword.resource.request_id import request_id

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RequireToken(ProtectedResource):
    """``require = RequireToken(verifier)``, then ``@require("a:read")``; the claims are in ``request["watchword"]``.

    Arguments as `ProtectedResource`.
    """

    def __call__(self, scope: str | None = None) -> Callable[[Handler], Handler]:
        """The decorator of an ``async def handler(request)``; None means any good token."""
        needed = named_scope(scope)

        def decorate(handler: Handler) -> Handler:
            @wraps(handler)
            async def guarded(request: web.Request) -> web.StreamResponse:
                try:
                    values = request.headers.getall("Authorization", [])
                    shown = _certificate(request, self.proxy)
                    claims = await self.aclaims(values, needed, shown, lambda: _proof(request))
                except AccessRefused as refused:
                    answer = self.refuse(refused, request_id(request.headers.items()))
                    return web.Response(body=answer.body, status=answer.status, headers=answer.headers)
                request["watchword"] = claims
                return await handler(request)

            return guarded

        return decorate

    def metadata_route(self) -> web.RouteDef:
        """The route of the RFC 9728 metadata; it needs no token."""
        path, body = self.publish()

        async def metadata(_request: web.Request) -> web.Response:
            return web.Response(body=body, content_type="application/json")

        return web.get(path, metadata)


def _certificate(request: web.Request, proxy: TrustedProxy | None) -> bytes | None:
    transport = request.transport
    peer = transport.get_extra_info("peername") if transport is not None else None
    if proxy is not None and proxy.trusts(peer[0] if peer else None):
        return proxy.certificate((name.lower(), value) for name, value in request.raw_headers)
    tls = transport.get_extra_info("ssl_object") if transport is not None else None
    return None if tls is None else tls.getpeercert(binary_form=True)


def _proof(request: web.Request) -> ShownProof:
    return ShownProof(request.headers.getall("DPoP", []), request.method, request.raw_path)
