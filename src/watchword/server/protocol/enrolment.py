"""Device enrolment: read the request, check it by the group's policy, and build the application."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from ...jose import Algorithm, JoseError, check_claims, verify_signature
from ...jose.device_ca import CertificateRequest, UnacceptableRequest
from ..registry.client_keys import ALGORITHMS, key_set, read_keys
from ..registry.fleet.device_authority import common_name
from ..registry.fleet.enrolment import REPEAT_WITHIN, EnrolmentGroup, Way
from ..registry.fleet.expected import ExpectedDevice, key_thumbprint
from ..registry.model import SECRET_METHODS, Application, AuthMethod, CertificateName
from ..registry.rules import is_printable
from .errors import EnrolmentRefused, InvalidRequest
from .proof_jwt import Window, check_life

_MEMBERS: Final = frozenset({"code", "group", "ticket", "enrolment_id", "serial", "jwks", "proof", "csr"})
_MAX_CODE: Final = 128
_MAX_ID: Final = 128
_MAX_SERIAL: Final = 64
_MAX_GROUP: Final = 200
_MAX_PROOF: Final = 12_288
PROOF: Final = "enrolment+jwt"
"""The `typ` of the JWT with which a device proves possession of its key."""
_ALGORITHMS: Final = [Algorithm(name) for name in ALGORITHMS]


class EnrolmentRequest(Struct, frozen=True, kw_only=True):
    """A request as read; the code is checked later. `proof` comes with `jwks`, and only with it.

    With a code, or with the name of a group whose CAs signed the certificate of the connection; without either, the key
    itself has to be expected.
    """

    unverified_code: str = ""
    unverified_group: str = ""
    unverified_ticket: str = ""
    """Given to a waiting device, which asks again with it in place of the code, which may have expired meanwhile."""
    enrolment_id: str = ""
    """Recognizes repeated requests of the device: chosen by the device, best random and secret."""
    serial: str | None = None
    jwks: dict[str, Any] | None = None
    unverified_proof: str = ""
    csr: CertificateRequest | None = None
    """Its signature fits its key; its subject is not trusted."""

    def __repr__(self) -> str:
        return f"EnrolmentRequest(serial={self.serial!r})"


def read_enrolment(unverified: Mapping[str, Any]) -> EnrolmentRequest:
    """Raises `InvalidRequest`, also for unknown members, so that no device relies on an ignored member."""
    if unknown := sorted(unverified.keys() - _MEMBERS):
        raise InvalidRequest(f"{unknown[0][:40]!r} is none of {', '.join(sorted(_MEMBERS))}: leave it out")
    jwks = unverified.get("jwks")
    if "jwks" in unverified and not isinstance(jwks, dict):
        raise InvalidRequest('jwks is a JWK set with the one public key of the device: {"keys": [...]}')
    if ("jwks" in unverified) != ("proof" in unverified):
        raise InvalidRequest(f"jwks and proof go together: a JWT of typ {PROOF}, signed with that key")
    if len({"code", "group", "ticket"} & unverified.keys()) > 1:
        raise InvalidRequest("send one: the code, the ticket, or the group that takes this connection's certificate")
    if "jwks" in unverified and "csr" in unverified:
        raise InvalidRequest("send jwks and proof to register the key, or csr to get a certificate for it, not both")
    if not {"code", "ticket", "group", "jwks", "csr"} & unverified.keys():
        raise InvalidRequest("send the code that the device was given; or jwks and proof, or csr, of an expected key")
    return EnrolmentRequest(
        unverified_code=_text(unverified, "code", _MAX_CODE) if "code" in unverified else "",
        unverified_ticket=_text(unverified, "ticket", _MAX_CODE) if "ticket" in unverified else "",
        unverified_group=_text(unverified, "group", _MAX_GROUP) if "group" in unverified else "",
        enrolment_id=_text(unverified, "enrolment_id", _MAX_ID) if _has_id(unverified) else "",
        serial=_text(unverified, "serial", _MAX_SERIAL) if "serial" in unverified else None,
        jwks=jwks,
        unverified_proof=_text(unverified, "proof", _MAX_PROOF) if "proof" in unverified else "",
        csr=read_csr(unverified) if "csr" in unverified else None,
    )


class Renewal(Struct, frozen=True):
    """A request to renew a certificate; the device authenticates with the certificate of the connection."""

    unverified_client_id: str
    csr: CertificateRequest


def read_renewal(unverified: Mapping[str, Any]) -> Renewal:
    """Raises `InvalidRequest`."""
    if unknown := sorted(unverified.keys() - {"client_id", "csr"}):
        raise InvalidRequest(f"{unknown[0][:40]!r} is none of client_id, csr: leave it out")
    return Renewal(_text(unverified, "client_id", 255), read_csr(unverified))


def _has_id(unverified: Mapping[str, Any]) -> bool:
    """A code and a proof need an enrolment id; other ways identify the device already."""
    return bool({"enrolment_id", "code", "proof"} & unverified.keys())


def read_csr(unverified: Mapping[str, Any]) -> CertificateRequest:
    """The member `csr`. Raises `InvalidRequest`."""
    text = unverified.get("csr")
    if not isinstance(text, str):
        raise InvalidRequest("send csr, a PKCS#10 request in PEM")
    try:
        return CertificateRequest(text)
    except UnacceptableRequest as error:
        raise InvalidRequest(f"csr: {error.rule}", rule="csr") from None


def _text(unverified: Mapping[str, Any], name: str, limit: int) -> str:
    value = unverified.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= limit or not is_printable(value):
        raise InvalidRequest(f"send {name}, a text of 1 to {limit} printable characters")
    return value


def check_possession(wanted: EnrolmentRequest, issuer: str, now: float, window: Window) -> str:
    """Check the proof of possession of the device's key: a fresh signature over its enrolment id, for this issuer.

    The proof has no replay mark: a reused proof is a repeated request, and its answer has only public data.
    Returns the key's thumbprint (RFC 7638), empty without a key. Raises `InvalidRequest`; `Invalid` for the key.
    """
    if wanted.csr is not None:
        return wanted.csr.key_thumbprint
    if wanted.jwks is None:
        return ""
    read = read_keys(wanted.jwks, 0)
    if len(read) > 1:
        raise InvalidRequest("jwks has the one public key of the device, no more")
    try:
        verified = verify_signature(
            wanted.unverified_proof, key_set(read), algorithms=_ALGORITHMS, typ={PROOF}, kid_required=False,
            max_size=_MAX_PROOF,
        )  # fmt: skip
        check_claims(verified.claims, issuer=wanted.enrolment_id, audience=issuer, now=now, leeway=window.leeway)
        check_life(verified.claims, now, window)
    except JoseError as error:
        raise InvalidRequest(
            f"the proof is refused: {error.rule}; it has typ {PROOF}, iss the enrolment_id, aud {issuer}, and exp",
            rule="proof",
        ) from None
    return key_thumbprint(read[0].jwk)


def check_open(group: EnrolmentGroup | None, way: Way, now: float) -> EnrolmentGroup:
    """The group, if it is open for enrolment in this way. Raises `EnrolmentRefused`."""
    if group is None or not group.open(now) or way not in group.ways:
        raise EnrolmentRefused("nobody enrols in this group any more: ask its administrator", rule="closed")
    return group


def check_expected(
    group: EnrolmentGroup, listed: Sequence[ExpectedDevice], serial: str | None, key: str
) -> ExpectedDevice | None:
    """The list entry of a device: `listed` has all entries with its serial number or key, of any group.

    A listed device has to match its entry; None for an unlisted one. Raises `EnrolmentRefused`, always the same.
    """
    refused = EnrolmentRefused(
        "the group does not expect a device with this serial number and key: ask its administrator", rule="expected"
    )
    if len(listed) > 1 or (not listed and group.only_expected):
        raise refused
    if not listed:
        return None
    one = listed[0]
    wrong_key = one.key is not None and one.key != key
    wrong_serial = one.serial is not None and serial is not None and one.serial != serial
    if one.group_id != group.group_id or wrong_key or wrong_serial:
        raise refused
    return one


def admitted(group: EnrolmentGroup, wanted: EnrolmentRequest, client_id: str, now: int) -> Application:
    """The device's application by the group's policy; its secret is created later.

    Raises `EnrolmentRefused` for a key in a group of secrets and the other way round; `Invalid` for the key itself.
    """
    keys = read_keys(wanted.jwks, now) if wanted.jwks is not None else ()
    method = _method(group, wanted)
    return Application(
        tenant_id=group.tenant_id,
        client_id=client_id,
        name=group.device_name(wanted.serial, client_id),
        kind=group.kind,
        auth_method=method,
        tls_client_auth=CertificateName(subject_dn=common_name(client_id)) if wanted.csr is not None else None,
        keys=keys,
        require_bound=group.require_bound,
        grants=group.grants,
        role_ids=group.role_ids,
        labels=group.labels,
        group_id=group.group_id,
        serial=wanted.serial,
        created_at=now,
    )


def _method(group: EnrolmentGroup, wanted: EnrolmentRequest) -> AuthMethod:
    if wanted.csr is not None:
        if "tls_client_auth" not in group.auth_methods:
            raise EnrolmentRefused("devices of this group get no certificates: leave out csr", rule="method")
        return "tls_client_auth"
    if wanted.jwks is not None:
        if "private_key_jwt" not in group.auth_methods:
            raise EnrolmentRefused("devices of this group bring no key: leave out jwks", rule="method")
        return "private_key_jwt"
    for method in group.auth_methods:
        if method in SECRET_METHODS:
            return method
    wanted_member = "jwks" if "private_key_jwt" in group.auth_methods else "csr"
    raise EnrolmentRefused(f"devices of this group bring a key of their own: send {wanted_member}", rule="method")


def check_repeat(
    before: Application, wanted: EnrolmentRequest, now: float, *, secret_was_used: bool, same_key: bool = False
) -> None:
    """Check that a repeated request may get the answer again: the same device, whose secret was not used yet.

    `same_key`: whether the device's certificate is for the key of the request. Raises `EnrolmentRefused`.
    """
    if not before.active:
        raise EnrolmentRefused("this device was disabled: ask its administrator", rule="disabled")
    if wanted.serial is not None and wanted.serial != before.serial:
        raise EnrolmentRefused("it enrolled with another serial number: send the same request again", rule="repeat")
    if wanted.csr is not None or before.auth_method == "tls_client_auth":
        if wanted.csr is None or not same_key:
            raise EnrolmentRefused("its certificate is for another key: renew it with that certificate", rule="repeat")
        return
    if wanted.jwks is not None:
        brought = read_keys(wanted.jwks, 0)
        if [key.jwk for key in brought] != [key.jwk for key in before.keys]:
            raise EnrolmentRefused("it enrolled with another key: keys are changed by an administrator", rule="repeat")
        return
    if before.auth_method not in SECRET_METHODS:
        raise EnrolmentRefused("it enrolled with a key of its own: send the same request again", rule="repeat")
    if secret_was_used or len(before.secrets) != 1 or now >= (before.secrets[0].repeat_until or 0):
        raise EnrolmentRefused(
            f"its secret is given again only unused and within {REPEAT_WITHIN} s: an administrator rotates it, "
            "or deletes the device and gives it a new code",
            rule="repeat",
        )


def check_certified(group: EnrolmentGroup | None, device: Application) -> int:
    """The lifetime in seconds of the device's next certificate, if its group still issues certificates for it.

    Raises `EnrolmentRefused`.
    """
    ours = CertificateName(subject_dn=common_name(device.client_id))
    if group is None or "tls_client_auth" not in group.auth_methods or device.tls_client_auth != ours:
        raise EnrolmentRefused(
            "devices of this group get no certificates any more: ask its administrator", rule="method"
        )
    return group.certificate_lifetime
