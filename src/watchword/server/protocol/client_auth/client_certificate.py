"""tls_client_auth and self_signed_tls_client_auth: verify the TLS client certificate (RFC 8705 section 2)."""

from __future__ import annotations

import hmac

from ....jose import KeySet
from ....jose.certificates import MAX_CHAIN, Certificate, TrustAnchors, UnacceptableCertificate, read_certificate
from ...registry.certificates import is_named
from ...registry.model import CERTIFICATE_METHODS, Application, CertificateName
from ..errors import InvalidClient
from ..request import Credentials
from . import x509_svid
from .grounds import Grounds, Proven

_NOBODY = CertificateName(subject_dn="CN=nobody")


def prove(application: Application | None, presented: Credentials, grounds: Grounds) -> Proven:
    """The registered certificate, or one with the registered name from a trusted CA.

    The application comes from `client_id`, never from the certificate. Raises `InvalidClient`, always the same.
    The path is also verified for unknown applications and unregistered certificates, so that the time is the same.
    """
    shown = presented.certificate
    if shown is None:
        raise InvalidClient(detail="no client certificate in the request")
    if application is not None and application.auth_method == "spiffe_x509":
        return x509_svid.prove(application, presented, grounds)
    try:
        certificate = read_certificate(shown.certificate)
        certificate.check_times(grounds.now)
        if _is_self_signed(application) and _registered(certificate, grounds.keys):
            return Proven(key_id=certificate.thumbprint)
        chain = [Certificate(der) for der in shown.unverified_chain[:MAX_CHAIN]]
        _anchors(application, grounds).verify(certificate, chain, grounds.now)
    except UnacceptableCertificate as error:
        raise InvalidClient(detail=f"client certificate: {error.rule}") from None
    named = is_named(certificate, (application.tls_client_auth if application is not None else None) or _NOBODY)
    if application is None:
        raise InvalidClient(detail="unknown application")
    if application.auth_method != "tls_client_auth":
        raise InvalidClient(detail=f"registered for {application.auth_method}, showed a certificate")
    if not named:
        raise InvalidClient(detail="client certificate: it names somebody else")
    return Proven(key_id=certificate.thumbprint)


def _anchors(application: Application | None, grounds: Grounds) -> TrustAnchors:
    """Those of the tenant, or the one that the application is bound to."""
    name = application.tls_client_auth if application is not None else None
    return grounds.anchors if name is None or name.anchor is None else grounds.anchors.only(name.anchor)


def _is_self_signed(application: Application | None) -> bool:
    return application is not None and application.auth_method == CERTIFICATE_METHODS[1]


def _registered(certificate: Certificate, keys: KeySet) -> bool:
    """RFC 8705 section 2.2.2: one of the registered keys; if its JWK has a certificate, exactly that one."""
    key, itself = certificate.key_thumbprint, certificate.thumbprint
    fits = [
        hmac.compare_digest(known.thumbprint(), key)
        and hmac.compare_digest((known.certificate or itself).encode(), itself.encode())
        for known in keys.values()
    ]
    return any(fits)
