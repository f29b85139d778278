"""The rules of tls_client_auth (RFC 8705): which name a certificate must have, and which CAs are trusted for it."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from ...jose.certificates import (
    Certificate,
    NameKind,
    TrustAnchors,
    UnacceptableCertificate,
    alternative_name,
    distinguished_name,
    read_pem,
)
from .errors import Invalid
from .fleet.device_authority import DeviceAuthority
from .model import CertificateName, TrustAnchor
from .spiffe import trust_domain

MAX_ANCHORS = 50
MAX_GROUP_ANCHORS = 10
"""The limit for an enrolment group: its anchors are parsed for each device that presents a certificate."""
_KINDS: dict[str, NameKind] = {"san_dns": "dns", "san_uri": "uri", "san_ip": "ip", "san_email": "email"}


def check_name(wanted: CertificateName) -> None:
    """Raises `Invalid` unless there is exactly one name, and one that a certificate can have."""
    names = [name for name in wanted.__struct_fields__ if name != "anchor"]
    given = [name for name in names if getattr(wanted, name) is not None]
    if len(given) != 1:
        raise Invalid(f"name the certificate in exactly one way: {', '.join(names)}", field="tls_client_auth")
    text = getattr(wanted, given[0])
    if not 1 <= len(text) <= 1024 or not text.isprintable() or text != text.strip():
        raise Invalid("use 1 to 1024 printable characters", field=f"tls_client_auth.{given[0]}")
    try:
        _ = distinguished_name(text) if given[0] == "subject_dn" else alternative_name(_KINDS[given[0]], text)
    except UnacceptableCertificate as error:
        raise Invalid(error.rule, field=f"tls_client_auth.{given[0]}") from None
    if given[0] == "san_dns" and "*" in text:
        raise Invalid("a wildcard names nobody", field="tls_client_auth.san_dns")


def check_anchor(wanted: CertificateName | None, anchors: Iterable[TrustAnchor]) -> None:
    """An application is bound to a trust anchor that there is. Raises `Invalid`."""
    if wanted is None or wanted.anchor is None:
        return
    if all(anchor.thumbprint != wanted.anchor for anchor in anchors):
        raise Invalid(
            "there is no trust anchor with this thumbprint: see `watchword tenant anchors list`",
            field="tls_client_auth.anchor",
        )


def is_named(certificate: Certificate, wanted: CertificateName) -> bool:
    """Whether the certificate has the name; compares every name, also after a match."""
    if wanted.subject_dn is not None:
        return hmac.compare_digest(certificate.distinguished_name, distinguished_name(wanted.subject_dn))
    for member, kind in _KINDS.items():
        text = getattr(wanted, member)
        if text is not None:
            sought = alternative_name(kind, text).encode()
            fits = [hmac.compare_digest(name.encode(), sought) for name in certificate.names(kind)]
            return any(fits)
    return False


def spiffe_id(certificate: Certificate) -> str:
    """The SPIFFE id of an X.509-SVID: its only URI (X509-SVID section 2). Raises `UnacceptableCertificate`."""
    names = certificate.names("uri")
    if len(names) != 1 or not trust_domain(names[0]):
        raise UnacceptableCertificate("an X.509-SVID has one URI, which is a workload's SPIFFE id")
    return names[0]


def read_anchors(pem: str, at: int, field: str = "pem") -> tuple[TrustAnchor, ...]:
    """The CA certificates in a PEM text. Raises `Invalid`."""
    try:
        found = read_pem(pem.encode())
        for certificate in found:
            certificate.check_is_authoritys()
    except UnacceptableCertificate as error:
        raise Invalid(f"a certificate is not acceptable: {error.rule}", field=field) from None
    if any(certificate.ends_at <= at for certificate in found):
        raise Invalid("a certificate has expired", field=field)
    return tuple(
        TrustAnchor(
            thumbprint=certificate.thumbprint,
            subject=certificate.subject,
            pem=certificate.to_pem(),
            expires_at=int(certificate.ends_at),
            added_at=at,
        )
        for certificate in {one.thumbprint: one for one in found}.values()
    )


def trust_anchors(anchors: Iterable[TrustAnchor | DeviceAuthority]) -> TrustAnchors:
    """The trust anchors for path validation."""
    return TrustAnchors([certificate for anchor in anchors for certificate in read_pem(anchor.pem.encode())])
