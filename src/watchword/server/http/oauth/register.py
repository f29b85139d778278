"""{issuer}/register (RFC 7591) and {issuer}/register/{client_id} (RFC 7592): bytes -> one verb -> JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ....jose import MalformedToken
from ....jose.encoding import json_object
from ...protocol.errors import InvalidClientMetadata, InvalidToken, OAuthError, RegisteredAlready, TooLarge
from ...protocol.software_statement import StatementRules
from ...registry.errors import Conflict, RegistryError, VersionMismatch
from ...service.contention import again
from ...service.desk import Desk
from ...service.registry import register_application as verbs
from ...service.tokens.refusals import Refusals
from ...service.view import TenantView, View
from ..wire import NO_STORE, Headers, Receive, Scope, Send, answer, answer_error, encode_json, method_not_allowed
from ..wire import read_body as read

MAX_METADATA, MAX_VALUES = 65_536, 1_000
_MAX_DRAINED = 4 << 20
Work = Callable[[TenantView, str, dict[str, Any], str], Awaitable[tuple[int, bytes]]]
"""(tenant, access token, body, request id) -> (status, body)."""


class RegistrationEndpoint:
    """Registration is protected: it needs an initial access token (RFC 7591 section 3)."""

    def __init__(
        self,
        *,
        view: View,
        desk: Desk,
        refusals: Refusals,
        body_timeout: float,
        leeway: float,
        issuer_of: Callable[[str], str],
    ) -> None:
        self._view, self._desk, self._refusals = view, desk, refusals
        self._timeout, self._leeway, self._issuer_of = body_timeout, leeway, issuer_of

    async def register(self, slug: str, scope: Scope, receive: Receive, send: Send) -> None:
        """POST, RFC 7591 section 3."""

        async def work(tenant: TenantView, token: str, body: dict[str, Any], request_id: str) -> tuple[int, bytes]:
            made = await verbs.register(self._desk, tenant.tenant.tenant_id, token, body, self._rules(slug), request_id)
            return 201, self._information(slug, made)

        await self._serve(slug, scope, receive, send, work)

    async def manage(self, slug: str, client_id: str, scope: Scope, receive: Receive, send: Send) -> None:
        """GET, PUT and DELETE, RFC 7592 section 2."""
        method = scope["method"]
        if method not in ("GET", "PUT", "DELETE"):
            return await method_not_allowed(send, b"GET, PUT, DELETE")

        async def work(tenant: TenantView, token: str, body: dict[str, Any], request_id: str) -> tuple[int, bytes]:
            place = self._desk, tenant.tenant.tenant_id, client_id, token
            if method == "GET":
                return 200, self._information(slug, await verbs.show_registration(*place))
            if method == "PUT":
                made = await verbs.update_registration(*place, body, self._rules(slug), request_id)
                return 200, self._information(slug, made)
            await verbs.delete_registration(*place, request_id)
            return 204, b""

        await self._serve(slug, scope, receive, send, work, with_body=method == "PUT")
        return None

    def _rules(self, slug: str) -> StatementRules:
        return StatementRules(self._leeway, self._issuer_of(slug))

    def _information(self, slug: str, made: verbs.Registered) -> bytes:
        address = f"{self._issuer_of(slug)}/register/{made.application.client_id}"
        return encode_json(verbs.client_information(made, address))

    async def _serve(
        self, slug: str, scope: Scope, receive: Receive, send: Send, work: Work, *, with_body: bool = True
    ) -> None:
        request_id, used = "", False
        try:
            headers = Headers(scope["headers"])
            request_id, used = headers.request_id, headers.authorization is not None
            raw = await read(receive, headers.content_length, _MAX_DRAINED, self._timeout, MAX_METADATA)
            token = bearer(headers)
            tenant = await self._view.tenant(slug)
            if tenant is None or not tenant.tenant.enabled:
                raise InvalidToken("the tenant was disabled or deleted")
            body = metadata_of(headers, raw) if with_body else {}
            status, payload = await again(lambda: _in_oauth_words(work(tenant, token, body, request_id)))
        except OAuthError as error:
            await self._refuse(slug, scope, send, error, request_id, used)
            return
        joined = ((b"x-request-id", request_id.encode()),) if request_id else ()
        if status == 204:
            await send({"type": "http.response.start", "status": 204, "headers": [*NO_STORE, *joined]})
            await send({"type": "http.response.body", "body": b""})
            return
        await answer(send, status, payload, (*NO_STORE, *joined))

    async def _refuse(
        self, slug: str, scope: Scope, send: Send, error: OAuthError, request_id: str, used: bool
    ) -> None:
        mended = InvalidClientMetadata(error.public) if isinstance(error, TooLarge) else error
        _, request_id = self._refusals.note(slug, mended, scope.get("client"), "", request_id)
        if not isinstance(mended, InvalidToken):
            await answer_error(send, mended, used_authorization=False, request_id=request_id)
            return
        challenge = b'Bearer error="invalid_token"' if used else b"Bearer"
        body = encode_json({"error": mended.error, "error_description": mended.public})
        fields = (*NO_STORE, (b"www-authenticate", challenge), (b"x-request-id", request_id.encode()))
        await answer(send, 401, body, fields)


async def _in_oauth_words(work: Awaitable[tuple[int, bytes]]) -> tuple[int, bytes]:
    """The registry's refusals, said as RFC 7591 section 3.2.2 has them."""
    try:
        return await work
    except (Conflict, VersionMismatch) as error:
        raise RegisteredAlready(error.public) from None
    except RegistryError as error:
        raise InvalidClientMetadata(f"{error.field}: {error.public}" if error.field else error.public) from None


def bearer(headers: Headers) -> str:
    """The one token of the Authorization header. Raises `InvalidToken`."""
    scheme, _, rest = (headers.authorization or b"").partition(b" ")
    token = rest.strip(b" ")
    if headers.authorizations != 1 or scheme.lower() != b"bearer" or not token or len(token) > 1_024:
        raise InvalidToken("send one Authorization: Bearer header with the access token that you were given for this")
    return token.decode("latin-1")


def metadata_of(headers: Headers, raw: bytes) -> dict[str, Any]:
    """The body as an object. Raises `InvalidClientMetadata`."""
    media = headers.media()
    if media != b"application/json" or headers.content_encoding not in (None, b"identity"):
        raise InvalidClientMetadata("send Content-Type: application/json, without a Content-Encoding")
    if len(raw) > MAX_METADATA:
        raise InvalidClientMetadata(f"client metadata has at most {MAX_METADATA} bytes")
    try:
        return json_object(raw, MAX_VALUES)
    except MalformedToken as error:
        raise InvalidClientMetadata(f"the body is not a JSON object as we read it: {error.rule}") from None
