"""Litestar: a guard for handlers, controllers, routers or the whole application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from litestar import MediaType, Response, get
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler

from watchword.resource import dpop
from watchword.resource.client_certificate import of_scope
from watchword.resource.errors import AccessRefused
from watchword.resource.protected_resource import ProtectedResource, named_scope
from watchword.resource.request_id import request_id

Guard = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]


class RequireToken(ProtectedResource):
    """``require = RequireToken(verifier)``, then ``guards=[require("a:read")]``; the claims are in ``request.auth``.

    Arguments as `ProtectedResource`.
    """

    def __call__(self, scope: str | None = None) -> Guard:
        """A guard; None means any good token."""
        needed = named_scope(scope)

        async def guard(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
            try:
                shown = of_scope(connection.scope, self.proxy)
                values = connection.headers.getall("authorization", [])
                claims = await self.aclaims(values, needed, shown, lambda: dpop.of_scope(connection.scope))
            except AccessRefused as refused:
                answer = self.refuse(refused, request_id(connection.headers.items()))
                headers = {name: value for name, value in answer.headers.items() if name != "Content-Type"}
                raise HTTPException(
                    refused.public, status_code=answer.status, headers=headers, extra=answer.document
                ) from None
            connection.scope["auth"] = claims

        return guard

    def metadata_handler(self) -> HTTPRouteHandler:
        """The handler of the RFC 9728 metadata; it needs no token."""
        path, body = self.publish()

        @get(path, include_in_schema=False, sync_to_thread=False, media_type=MediaType.JSON)
        def metadata() -> Response[bytes]:
            return Response(body, media_type=MediaType.JSON)

        return metadata
