"""{issuer}/enrol: a device enrols itself. JSON -> one verb -> JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....jose import MalformedToken
from ....jose.encoding import json_object
from ...protocol.enrolment import EnrolmentRequest, read_enrolment
from ...protocol.errors import EnrolmentRefused, InvalidGrant, InvalidRequest, OAuthError, TooLarge
from ...registry.errors import Conflict, RegistryError
from ...registry.model import SECRET_METHODS
from ...service.contention import again
from ...service.enrol_device import EnrolDevice, Enrolled
from ...service.refusals import Refusals
from ...service.view import View
from ..wire import NO_STORE, Headers, Receive, Scope, Send, answer, answer_error, encode_json, read_body

_MAX_BODY = 16_384


class EnrolmentEndpoint:
    """Who has no code enrols nothing."""

    def __init__(
        self,
        view: View,
        enrol: EnrolDevice,
        refusals: Refusals,
        body_timeout: float,
        issuer_of: Callable[[str], str],
    ) -> None:
        self._view, self._enrol, self._refusals = view, enrol, refusals
        self._timeout, self._issuer_of = body_timeout, issuer_of

    async def __call__(self, slug: str, scope: Scope, receive: Receive, send: Send) -> None:
        """POST: 201 for a new device, 200 for one that is answered again."""
        request_id = ""
        try:
            headers = Headers(scope["headers"])
            request_id = headers.request_id
            raw = await read_body(receive, headers.content_length, _MAX_BODY, self._timeout)
            wanted = read_enrolment(_object(headers, raw))
            enrolled = await again(lambda: self._enrolled(slug, wanted, request_id))
        except OAuthError as error:
            error, request_id = self._refusals.note(slug, error, scope.get("client"), "", request_id)
            await answer_error(send, error, used_authorization=False, request_id=request_id)
            return
        joined = ((b"x-request-id", request_id.encode()),) if request_id else ()
        body = encode_json(_told(self._issuer_of(slug), enrolled))
        await answer(send, 201 if enrolled.first else 200, body, (*NO_STORE, *joined))

    async def _enrolled(self, slug: str, wanted: EnrolmentRequest, request_id: str) -> Enrolled:
        tenant = await self._view.tenant(slug)
        if tenant is None or not tenant.tenant.enabled:
            raise InvalidGrant(detail="the tenant was disabled or deleted")
        try:
            return await self._enrol(tenant.tenant.tenant_id, self._issuer_of(slug), wanted, request_id)
        except Conflict as error:
            raise EnrolmentRefused(error.public, rule=error.field or "conflict") from None
        except RegistryError as error:
            raise InvalidRequest(f"{error.field}: {error.public}" if error.field else error.public) from None


def _object(headers: Headers, raw: bytes) -> dict[str, Any]:
    media = (headers.content_type or b"").partition(b";")[0].strip().lower()
    if media != b"application/json" or headers.content_encoding not in (None, b"identity"):
        raise InvalidRequest("send Content-Type: application/json, without a Content-Encoding")
    if len(raw) > _MAX_BODY:
        raise TooLarge(f"an enrolment has at most {_MAX_BODY} bytes")
    try:
        return json_object(raw)
    except MalformedToken as error:
        raise InvalidRequest(f"the body is not a JSON object as we read it: {error.rule}") from None


def _told(issuer: str, enrolled: Enrolled) -> dict[str, Any]:
    """In the words of RFC 7591 section 3.2.1, and where to go from here."""
    a = enrolled.application
    told: dict[str, Any] = {
        "client_id": a.client_id,
        "client_id_issued_at": a.created_at,
        "client_name": a.name,
        "issuer": issuer,
        "token_endpoint": f"{issuer}/token",
        "token_endpoint_auth_method": a.auth_method,
    }
    if a.auth_method in SECRET_METHODS:
        told |= {"client_secret": enrolled.secret, "client_secret_expires_at": a.secrets[-1].expires_at or 0}
    return told
