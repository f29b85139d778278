"""ASGI middleware: no request reaches the application without a verified token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from typing import Any

from watchword.resource import dpop
from watchword.resource.client_certificate import TrustedProxy, of_scope
from watchword.resource.errors import AccessRefused
from watchword.resource.protected_resource import ProtectedResource, named_scope
from watchword.resource.refusal import Answer
from watchword.resource.request_id import request_id
from watchword.resource.verifier import Verifier

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_POLICY_VIOLATION = 1008
"""WebSocket close code, RFC 6455 section 7.4.1."""


class RequireToken:
    """``RequireToken(app, verifier, scope="a:read")``; the claims are in ``scope["watchword"]``.

    Args:
        scope: the scope that every request needs. ``scope_for`` chooses it by request; None means any good token.
        public_paths: exact paths that need no token at all.
        realm: named in ``WWW-Authenticate``.
        proxy: see `ProtectedResource`.
        publish_metadata: answer for RFC 9728 metadata (listing ``scopes``) without a token.

    Lifespan events pass. A WebSocket without a good token is refused before it is accepted.
    """

    def __init__(
        self,
        app: App,
        verifier: Verifier,
        scope: str | None = None,
        *,
        scope_for: Callable[[Scope], str | None] | None = None,
        public_paths: Collection[str] = (),
        realm: str | None = None,
        publish_metadata: bool = False,
        scopes: Iterable[str] = (),
        proxy: TrustedProxy | None = None,
    ) -> None:
        self._app = app
        self._resource = ProtectedResource(verifier, realm=realm, scopes=scopes, proxy=proxy)
        needed = named_scope(scope)
        self._scope_for = scope_for or (lambda _request: needed)
        self._public_paths = frozenset(public_paths)
        self._metadata = self._resource.publish() if publish_metadata else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] == "lifespan" or scope["path"] in self._public_paths:
            await self._app(scope, receive, send)
            return
        if self._metadata is not None and scope["type"] == "http" and scope["path"] == self._metadata[0]:
            await _send_metadata(scope, send, self._metadata[1])
            return
        try:
            shown = of_scope(scope, self._resource.proxy)
            values = authorization(scope["headers"])
            claims = await self._resource.aclaims(values, self._scope_for(scope), shown, lambda: dpop.of_scope(scope))
        except AccessRefused as refused:
            await _refuse(scope, receive, send, self._resource.refuse(refused, request_id(_texts(scope["headers"]))))
            return
        await self._app({**scope, "watchword": claims}, receive, send)


def authorization(headers: Collection[tuple[bytes, bytes]]) -> list[str]:
    """Every value of the Authorization header; names are in lower case, as ASGI gives them."""
    return [value.decode("latin-1") for name, value in headers if name == b"authorization"]


def _texts(headers: Collection[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


async def _refuse(scope: Scope, receive: Receive, send: Send, answer: Answer) -> None:
    if scope["type"] != "websocket":
        await _send(send, "", answer.status, answer.headers, answer.body, scope["method"])
        return
    await receive()
    if "websocket.http.response" in scope.get("extensions", {}):
        await _send(send, "websocket.", answer.status, answer.headers, answer.body, "GET")
    else:
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION})


async def _send_metadata(scope: Scope, send: Send, body: bytes) -> None:
    if scope["method"] in ("GET", "HEAD"):
        await _send(send, "", 200, {"Content-Type": "application/json"}, body, scope["method"])
    else:
        await _send(send, "", 405, {"Allow": "GET, HEAD"}, b"", scope["method"])


async def _send(send: Send, prefix: str, status: int, headers: dict[str, str], body: bytes, method: str) -> None:
    fields = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    fields.append((b"content-length", str(len(body)).encode()))
    await send({"type": f"{prefix}http.response.start", "status": status, "headers": fields})
    await send({"type": f"{prefix}http.response.body", "body": b"" if method == "HEAD" else body})
