"""POST {issuer}/enrol registers a device, {issuer}/enrol/renew renews its certificate: JSON -> one verb -> JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ....jose import MalformedToken
from ....jose.certificate_header import Presented
from ....jose.encoding import json_object
from ...protocol.enrolment import EnrolmentRequest, read_enrolment, read_renewal
from ...protocol.errors import EnrolmentRefused, InvalidClient, InvalidGrant, InvalidRequest, OAuthError, TooLarge
from ...registry.errors import Conflict, RegistryError
from ...registry.model import SECRET_METHODS
from ...service.contention import again
from ...service.fleet.approval_queue import Asked, Waiting
from ...service.fleet.device_certificates import DeviceCertificate
from ...service.fleet.enrol_device import EnrolDevice, Enrolled
from ...service.fleet.renew_certificate import RenewCertificate
from ...service.tokens.refusals import Refusals
from ...service.view import TenantView, View
from ..client_certificate import certificate_of
from ..wire import NO_STORE, Headers, Receive, Scope, Send, answer, answer_error, encode_json, read_body

_MAX_BODY, _MAX_VALUES = 16_384, 200
Work = Callable[[dict[str, Any], str], Awaitable[tuple[int, dict[str, Any]]]]
"""(body, request id) -> (status, answer)."""


class EnrolmentEndpoint:
    """Devices authenticate with a code, an expected key or a certificate; the service rejects all others."""

    def __init__(
        self,
        *,
        view: View,
        enrol: EnrolDevice,
        renew: RenewCertificate,
        refusals: Refusals,
        body_timeout: float,
        issuer_of: Callable[[str], str],
    ) -> None:
        self._view, self._enrol, self._renew, self._refusals = view, enrol, renew, refusals
        self._timeout, self._issuer_of = body_timeout, issuer_of

    async def __call__(self, slug: str, scope: Scope, receive: Receive, send: Send) -> None:
        """POST: 201 for a new device, 200 for one that is answered again, 202 for one that has to wait."""

        async def work(body: dict[str, Any], request_id: str) -> tuple[int, dict[str, Any]]:
            wanted = read_enrolment(body)
            peer = scope.get("client")
            presented = _certificate(scope) if wanted.unverified_group else None
            asked = Asked(presented, peer[0] if peer else "", request_id)
            enrolled = await again(lambda: self._enrolled(slug, wanted, asked))
            if isinstance(enrolled, Waiting):
                return 202, _told_to_wait(enrolled)
            return 201 if enrolled.first else 200, _told(self._issuer_of(slug), enrolled)

        await self._serve(slug, scope, receive, send, work)

    async def renew(self, slug: str, scope: Scope, receive: Receive, send: Send) -> None:
        """POST: 200 with a certificate."""

        async def work(body: dict[str, Any], request_id: str) -> tuple[int, dict[str, Any]]:
            wanted, presented = read_renewal(body), certificate_of(scope)
            tenant = await self._tenant(slug)
            device, certificate = await again(
                lambda: self._renew(tenant, wanted.unverified_client_id, presented, wanted.csr, request_id)
            )
            return 200, {"client_id": device.client_id, **_certified(certificate)}

        await self._serve(slug, scope, receive, send, work)

    async def _serve(self, slug: str, scope: Scope, receive: Receive, send: Send, work: Work) -> None:
        request_id, client_id = "", ""
        try:
            headers = Headers(scope["headers"])
            request_id = headers.request_id
            raw = await read_body(receive, headers.content_length, _MAX_BODY, self._timeout)
            body = _object(headers, raw)
            client_id = str(body.get("client_id", ""))
            status, told = await work(body, request_id)
        except OAuthError as error:
            error, request_id = self._refusals.note(slug, error, scope.get("client"), client_id, request_id)
            await answer_error(send, error, used_authorization=False, request_id=request_id)
            return
        fields = ((b"x-request-id", request_id.encode()),) if request_id else ()
        if status == 202:
            fields = (*fields, (b"retry-after", b"%d" % told["interval"]))
        await answer(send, status, encode_json(told), (*NO_STORE, *fields))

    async def _enrolled(self, slug: str, wanted: EnrolmentRequest, asked: Asked) -> Enrolled | Waiting:
        tenant = await self._tenant(slug)
        try:
            return await self._enrol(tenant.tenant.tenant_id, self._issuer_of(slug), wanted, asked)
        except Conflict as error:
            raise EnrolmentRefused(error.public, rule=error.field or "conflict") from None
        except RegistryError as error:
            raise InvalidRequest(f"{error.field}: {error.public}" if error.field else error.public) from None

    async def _tenant(self, slug: str) -> TenantView:
        tenant = await self._view.tenant(slug)
        if tenant is None or not tenant.tenant.enabled:
            raise InvalidGrant(detail="the tenant was disabled or deleted")
        return tenant


def _certificate(scope: Scope) -> Presented | None:
    """The client certificate, if any. Raises `InvalidGrant` if it cannot be read, as if no CA had issued it."""
    try:
        return certificate_of(scope)
    except InvalidClient as error:
        raise InvalidGrant(detail=error.detail, rule="certificate") from None


def _object(headers: Headers, raw: bytes) -> dict[str, Any]:
    media = headers.media()
    if media != b"application/json" or headers.content_encoding not in (None, b"identity"):
        raise InvalidRequest("send Content-Type: application/json, without a Content-Encoding")
    if len(raw) > _MAX_BODY:
        raise TooLarge(f"an enrolment has at most {_MAX_BODY} bytes")
    try:
        return json_object(raw, _MAX_VALUES)
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
    if enrolled.certificate is not None:
        told |= _certified(enrolled.certificate)
    return told


def _told_to_wait(waiting: Waiting) -> dict[str, Any]:
    """In the words of RFC 8628 section 3, as far as they fit."""
    told: dict[str, Any] = {
        "status": "authorization_pending", "interval": waiting.ask_again_in, "expires_at": waiting.expires_at,
    }  # fmt: skip
    return {**told, "ticket": waiting.ticket} if waiting.ticket else told


def _certified(certificate: DeviceCertificate) -> dict[str, Any]:
    """PEM, and when it ends in seconds since the epoch."""
    return {
        "certificate": certificate.pem,
        "certificate_expires_at": certificate.expires_at,
        "certificate_authority": certificate.authority,
    }
