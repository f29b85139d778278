"""A device enrols itself: what it may say, and what its group makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from ...jose import Algorithm, JoseError, check_claims, verify_signature
from ...jose.device_ca import CertificateRequest, UnacceptableRequest
from ..registry.client_keys import ALGORITHMS, key_set, read_keys
from ..registry.device_authority import common_name
from ..registry.enrolment import REPEAT_WITHIN, EnrolmentGroup, Way
from ..registry.expected import ExpectedDevice, key_thumbprint
from ..registry.model import SECRET_METHODS, Application, AuthMethod, CertificateName
from .errors import EnrolmentRefused, InvalidRequest
from .proof_jwt import Window, check_life

_MEMBERS: Final = frozenset({"code", "group", "ticket", "enrolment_id", "serial", "jwks", "proof", "csr"})
_MAX_CODE: Final = 128
_MAX_ID: Final = 128
_MAX_SERIAL: Final = 64
_MAX_GROUP: Final = 200
_MAX_PROOF: Final = 12_288
PROOF: Final = "enrolment+jwt"
"""The `typ` of the JWT by which a device shows that its key is its own."""
_ALGORITHMS: Final = [Algorithm(name) for name in ALGORITHMS]


class EnrolmentRequest(Struct, frozen=True, kw_only=True):
    """After reading; whether the code counts is another question. A proof comes with `jwks`, and only with it.

    With a code, or with the name of a group whose anchors made the certificate of the connection; without either, the
    key itself has to be expected.
    """

    unverified_code: str = ""
    unverified_group: str = ""
    unverified_ticket: str = ""
    """Given to a device that waits: it asks again with that in place of the code, which may have expired meanwhile."""
    enrolment_id: str = ""
    """By which the device's repeats are known: of its own choice, and best a random one that nobody sees."""
    serial: str | None = None
    jwks: dict[str, Any] | None = None
    unverified_proof: str = ""
    csr: CertificateRequest | None = None
    """Its signature fits its key; what it says of its sender is nobody's word."""

    def __repr__(self) -> str:
        return f"EnrolmentRequest(serial={self.serial!r})"


def read_enrolment(unverified: Mapping[str, Any]) -> EnrolmentRequest:
    """Raises `InvalidRequest`; unknown members too, so that nobody believes to have got what nobody read."""
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
    """A device wants its next certificate; the one of the connection has to prove it."""

    unverified_client_id: str
    csr: CertificateRequest


def read_renewal(unverified: Mapping[str, Any]) -> Renewal:
    """Raises `InvalidRequest`."""
    if unknown := sorted(unverified.keys() - {"client_id", "csr"}):
        raise InvalidRequest(f"{unknown[0][:40]!r} is none of client_id, csr: leave it out")
    return Renewal(_text(unverified, "client_id", 255), read_csr(unverified))


def _has_id(unverified: Mapping[str, Any]) -> bool:
    """A code and a proof need one: by the others a device is known anyway."""
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
    if not isinstance(value, str) or not 1 <= len(value) <= limit or not value.isprintable():
        raise InvalidRequest(f"send {name}, a text of 1 to {limit} printable characters")
    return value


def check_possession(wanted: EnrolmentRequest, issuer: str, now: float, window: Window) -> str:
    """The key that a device brings is its own: it signed its enrolment id, for this issuer, just now.

    No mark makes the proof good for one use only: again, by whoever may enrol, it is a repeat, and gets what is public.
    The key's thumbprint (RFC 7638), empty for a device without one. Raises `InvalidRequest`; `Invalid` for the key.
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
    """The group, while devices enrol through it in this way. Raises `EnrolmentRefused`."""
    if group is None or not group.open(now) or way not in group.ways:
        raise EnrolmentRefused("nobody enrols in this group any more: ask its administrator", rule="closed")
    return group


def check_expected(
    group: EnrolmentGroup, listed: Sequence[ExpectedDevice], serial: str | None, key: str
) -> ExpectedDevice | None:
    """What the lists say of a device: `listed` is all that has its serial number or its key, of any group.

    Who is on a list comes as the list has it; None for one that is on none. Raises one `EnrolmentRefused` for all.
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
    """What the device becomes, all of it by the group's policy; a secret is still to be made.

    Raises `EnrolmentRefused` for a key where secrets are given and the other way round; `Invalid` for the key itself.
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
    """Whether a device that enrolled may be answered again: the same device, and nothing that it could have used.

    `same_key`: that of the request is the one that the device's certificate is for. Raises `EnrolmentRefused`.
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
    """How many seconds the device's next certificate lives: its name is still ours, and its group still gives them.

    Raises `EnrolmentRefused`.
    """
    ours = CertificateName(subject_dn=common_name(device.client_id))
    if group is None or "tls_client_auth" not in group.auth_methods or device.tls_client_auth != ours:
        raise EnrolmentRefused(
            "devices of this group get no certificates any more: ask its administrator", rule="method"
        )
    return group.certificate_lifetime
