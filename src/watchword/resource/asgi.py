"""ASGI middleware: no request reaches the application without a verified token."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from watchword.resource.claims import Claims
from watchword.resource.errors import AccessRefused, RequestInvalid, TokenInvalid, TokenMissing, challenge
from watchword.resource.verifier import Verifier

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger("watchword.resource")
_B64TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*", re.ASCII)
_POLICY_VIOLATION = 1008
"""WebSocket close code, RFC 6455 section 7.4.1."""


class RequireToken:
    """``RequireToken(app, verifier, scope="a:read")``; the claims are in ``scope["watchword"]``.

    Args:
        scope: what every request needs; ``scope_for`` decides by request instead: None means any good token.
        public_paths: exact paths that need no token at all.
        realm: named in ``WWW-Authenticate``.

    The token is read from the one Authorization header, never from the query or a form (RFC 9700
    section 4.3.2). Lifespan passes; a WebSocket is refused before it is accepted.
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
    ) -> None:
        self._app, self._verifier, self._realm = app, verifier, realm
        self._scope_for = scope_for or (lambda _request: scope)
        self._public_paths = frozenset(public_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] == "lifespan" or scope.get("path") in self._public_paths:
            await self._app(scope, receive, send)
            return
        try:
            claims = await self._claims(scope)
        except AccessRefused as refused:
            _log.info("refused with %d: %s", refused.status, refused.rule)
            await self._refuse(scope, receive, send, refused)
            return
        await self._app({**scope, "watchword": claims}, receive, send)

    async def _claims(self, scope: Scope) -> Claims:
        return await self._verifier.averify(bearer_token(scope["headers"]), self._scope_for(scope))

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, refused: AccessRefused) -> None:
        prefix = ""
        if scope["type"] == "websocket":
            await receive()
            if "websocket.http.response" not in scope.get("extensions", {}):
                await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
                return
            prefix = "websocket."
        body = _body(refused)
        start = {"status": refused.status, "headers": self._headers(refused, len(body))}
        await send({"type": f"{prefix}http.response.start", **start})
        await send({"type": f"{prefix}http.response.body", "body": body})

    def _headers(self, refused: AccessRefused, length: int) -> list[tuple[bytes, bytes]]:
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(length).encode()),
            (b"cache-control", b"no-store"),
        ]
        value = challenge(refused, self._realm)
        if value is None:
            headers.append((b"retry-after", b"5"))
        else:
            headers.append((b"www-authenticate", value.encode("ascii")))
        return headers


def bearer_token(headers: Collection[tuple[bytes, bytes]]) -> str:
    """The token of the one Authorization header; header names are in lower case, as ASGI gives them.

    Raises:
        TokenMissing: no header, or another scheme. RequestInvalid: more than one header.
        TokenInvalid: not a b64token (RFC 6750 section 2.1).
    """
    found = [value for name, value in headers if name == b"authorization"]
    if len(found) > 1:
        raise RequestInvalid("more than one Authorization header")
    scheme, _, rest = (found[0] if found else b"").decode("latin-1").partition(" ")
    if scheme.lower() != "bearer":
        raise TokenMissing("no Authorization header of scheme Bearer")
    token = rest.strip(" ")
    if not _B64TOKEN.fullmatch(token):
        raise TokenInvalid("what follows Bearer is not a token (RFC 6750 section 2.1)")
    return token


def _body(refused: AccessRefused) -> bytes:
    document = {"error": refused.error or "unauthorized", "error_description": refused.public}
    return json.dumps(document).encode()
