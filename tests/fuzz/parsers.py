"""The parsers that take a stranger's bytes, each as a function from bytes to a verdict.

A verdict is a short sentence: what was found, or by which rule it was refused. Any other exception is a defect.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlencode

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from watchword.jose import Algorithm, JoseError, KeySet, PrivateKey
from watchword.jose.certificate_header import HeaderKind, read_headers
from watchword.jose.certificates import Certificate, UnacceptableCertificate
from watchword.jose.dpop import ProofTarget, check_age, check_times, read_proof
from watchword.server.protocol.client_auth import authenticate
from watchword.server.protocol.client_auth.grounds import Grounds
from watchword.server.protocol.errors import InvalidClient, InvalidRequest
from watchword.server.protocol.form import parse_form
from watchword.server.protocol.request import ASSERTION_TYPE, token_request
from watchword.server.registry.certificates import is_named
from watchword.server.registry.client_keys import read_keys
from watchword.server.registry.model import Application, CertificateName

ISSUER, NOW = "https://id.example/t/acme", 1_800_000_000.0
TARGET = ProofTarget("POST", f"{ISSUER}/token")


def _key() -> PrivateKey:
    """One and the same in every process, so that an input that was kept is still signed by it."""
    plain = serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return PrivateKey.from_pkcs8(ec.derive_private_key(7, ec.SECP256R1()).private_bytes(*plain), Algorithm.ES256)


KEY = _key()
APPLICATION = Application(
    tenant_id="t", client_id="c", name="c", auth_method="private_key_jwt", created_at=0,
    keys=read_keys({"keys": [KEY.public.to_jwk()]}, 0),
)  # fmt: skip
GROUNDS = Grounds(b"", NOW, ISSUER, KeySet([KEY.public]))


def assertion(data: bytes) -> str:
    """A client assertion, from the form of the token endpoint to the application that it proves."""
    text = data.decode("latin-1")
    body = urlencode({"client_assertion": text, "client_assertion_type": ASSERTION_TYPE})
    try:
        proven = authenticate(
            APPLICATION, token_request(parse_form(body.encode()), None).unverified_credentials, GROUNDS
        )
    except (InvalidClient, InvalidRequest) as error:
        return f"{type(error).__name__}: {error.detail or error.public}"
    (mark,) = proven.marks
    assert proven.key_id == KEY.kid
    assert NOW < mark.expires_at <= NOW + 621
    return "proven"


def proof(data: bytes) -> str:
    """A DPoP proof, from its header to the key that it is by."""
    try:
        found = read_proof(data.decode("latin-1"), TARGET)
        check_times(found, NOW, 10)
        ends = check_age(found, NOW, 10, 60)
    except JoseError as error:
        return f"{type(error).__name__}: {error.rule}"
    assert len(found.jkt) == 43
    assert NOW - 70 <= ends - 60 <= NOW + 10
    return "proven"


def _certificate(kind: HeaderKind, data: bytes) -> str:
    """Lines of `name: value`, for a header may be there twice."""
    lines = [line.partition(b": ") for line in data.split(b"\n") if line]
    try:
        shown = read_headers(kind, [(name.lower(), value) for name, _, value in lines])
        if shown is None:
            return "none"
        for der in (shown.certificate, *shown.unverified_chain):
            certificate = Certificate(der)
            certificate.check_times(NOW)
            is_named(certificate, CertificateName(subject_dn="CN=c"))
            is_named(certificate, CertificateName(san_dns="c.example"))
            is_named(certificate, CertificateName(san_ip="::1"))
            is_named(certificate, CertificateName(san_uri="spiffe://a/b"))
            is_named(certificate, CertificateName(san_email="a@example.org"))
            certificate.check_is_callers()
    except UnacceptableCertificate as error:
        return f"UnacceptableCertificate: {error.rule}"
    return "read"


def client_cert(data: bytes) -> str:
    """Client-Cert and Client-Cert-Chain (RFC 9440)."""
    return _certificate("client-cert", data)


def forwarded_client_cert(data: bytes) -> str:
    """X-Forwarded-Client-Cert (Envoy)."""
    return _certificate("x-forwarded-client-cert", data)


PARSERS: dict[str, Callable[[bytes], str]] = {
    "assertion": assertion,
    "proof": proof,
    "client_cert": client_cert,
    "forwarded_client_cert": forwarded_client_cert,
}


def kind_of(verdict: str) -> str:
    """Without the values in it: two verdicts of one kind came by the same way."""
    return re.sub(r"[0-9]+", "#", re.sub(r"(issuer|audience) is .*", r"\1", verdict))[:120]
