"""POST {issuer}/token: bytes -> `TokenRequest` -> one verb -> JSON (RFC 6749 sections 4.4 and 5)."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from ....jose.certificate_header import Presented
from ...protocol.authorization_details import MAX_TEXT
from ...protocol.errors import InvalidAuthorizationDetails, OAuthError, TooLarge
from ...protocol.form import REPEATABLE, parse_known_form
from ...protocol.grants import REPEATABLE_BY_SOME
from ...protocol.grants.grant import Grants
from ...protocol.request import TokenRequest
from ...protocol.token_form import token_request
from ...service.deadline import Deadline
from ...service.tokens.issue_token import IssueToken
from ...service.tokens.refusals import Refusals
from ...service.tokens.surface import Surface
from ..client_certificate import certificate_of
from ..dpop import Addresses, proof_of
from ..wire import (
    JSON,
    MAX_BODY,
    NO_STORE,
    Headers,
    Receive,
    Scope,
    Send,
    answer_error,
    encode_json,
    read_body,
    source_in,
)

MAX_DRAINED = 1 << 20
"""Bytes of a body that is too long: so many are read to answer with the reason."""
_HEADERS = [JSON, *NO_STORE]
_REPEATABLE = REPEATABLE | REPEATABLE_BY_SOME
Read = Callable[[Headers, bytes, Presented | None, Grants, str], TokenRequest]
"""What differs between the requests of surfaces: the formats of the body, and how Basic is decoded. The text is the
caller's address."""


def read_form(
    headers: Headers, body: bytes, certificate: Presented | None, grants: Grants, source: str
) -> TokenRequest:
    """Read a request to the native issuer: a form and nothing else."""
    headers.only_form()
    form = parse_known_form(body, _REPEATABLE)
    return token_request(form, headers.basic(), source, headers.request_id, certificate, grants)


class TokenEndpoint:
    """The token endpoint of one surface. Without `addresses` it ignores DPoP proofs."""

    def __init__(
        self,
        *,
        issue: IssueToken,
        surface: Surface,
        refusals: Refusals,
        body_timeout: float,
        deadline: Deadline,
        read: Read = read_form,
        addresses: Addresses | None = None,
    ) -> None:
        self._issue, self._surface, self._refusals, self._timeout = issue, surface, refusals, body_timeout
        self._read, self._addresses, self._deadline = read, addresses, deadline

    async def __call__(self, slug: str, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, one answer. Nothing after this function sees the raw form."""
        authorization, request_id, client_id = None, "", ""
        try:
            headers = Headers(scope["headers"])
            authorization, request_id = headers.authorization, headers.request_id
            body = await read_body(receive, headers.content_length, MAX_DRAINED, self._timeout, MAX_BODY)
            if len(body) > MAX_BODY:
                raise _too_long(body)
            request = self._read(headers, body, certificate_of(scope), self._surface.grants, source_in(scope))
            client_id = request.unverified_credentials.unverified_client_id
            if headers.dpop is not None and self._addresses is not None:
                request = replace(request, proof=proof_of(headers, scope, self._addresses))
            with self._deadline:
                issued = await self._issue(slug, request, self._surface)
        except OAuthError as error:
            told, request_id = self._refusals.note(slug, error, scope.get("client"), client_id, request_id)
            await answer_error(
                send,
                told,
                used_authorization=authorization is not None,
                request_id=request_id,
            )
            return
        document: dict[str, object] = {
            "access_token": issued.access_token,
            "token_type": issued.token_type,
            "expires_in": issued.expires_in,
            "scope": issued.scope,
        }
        if issued.issued_token_type:
            document["issued_token_type"] = issued.issued_token_type
        if issued.details:
            document["authorization_details"] = issued.details
        payload = encode_json(document)
        fields = [*_HEADERS, (b"content-length", b"%d" % len(payload))]
        if issued.next_nonce:
            fields.append((b"dpop-nonce", issued.next_nonce.encode()))
        if request_id:
            fields.append((b"x-request-id", request_id.encode()))
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": payload})


def _too_long(body: bytes) -> OAuthError:
    """RFC 9396 section 5 has an error code of its own for the parameter that is usually the long one."""
    if b"authorization_details=" in body:
        return InvalidAuthorizationDetails(f"authorization_details has at most {MAX_TEXT} characters")
    return TooLarge(f"the body is longer than {MAX_BODY} bytes")
