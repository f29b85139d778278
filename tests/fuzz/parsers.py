"""The parsers that take a stranger's bytes, each as a function from bytes to a verdict.

A verdict is a short sentence: what was found, or by which rule it was refused. Any other exception is a defect.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlencode

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from watchword.jose import ACCESS_TOKEN_ALGORITHMS, Algorithm, JoseError, KeySet, PrivateKey, check_claims
from watchword.jose.certificate_header import HeaderKind, read_headers
from watchword.jose.certificates import Certificate, UnacceptableCertificate
from watchword.jose.cwt import cwt_text, verify_cwt
from watchword.jose.dpop import ProofTarget, check_age, check_times, read_proof
from watchword.jose.encoding import json_object
from watchword.server.protocol.ace import read_ace
from watchword.server.protocol.authorization_details import granted_details, read_details
from watchword.server.protocol.client_auth import authenticate
from watchword.server.protocol.client_auth.grounds import Grounds
from watchword.server.protocol.client_metadata import read_metadata
from watchword.server.protocol.errors import (
    InvalidAuthorizationDetails,
    InvalidClient,
    InvalidClientMetadata,
    InvalidRedirectUri,
    InvalidRequest,
    InvalidSoftwareStatement,
    OAuthError,
    UnapprovedSoftwareStatement,
)
from watchword.server.protocol.form import parse_form
from watchword.server.protocol.request import ASSERTION_TYPE
from watchword.server.protocol.software_statement import StatementRules, stated
from watchword.server.protocol.token_form import token_request
from watchword.server.registry.certificates import is_named
from watchword.server.registry.client_keys import read_keys
from watchword.server.registry.model import Api, Application, CertificateName, DetailsType, Publisher

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


def registration(data: bytes) -> str:
    """Client metadata (RFC 7591), from the body to what is kept."""
    try:
        found = read_metadata(json_object(data))
    except JoseError as error:
        return f"{type(error).__name__}: {error.rule}"
    except (InvalidClientMetadata, InvalidRedirectUri) as error:
        return f"{type(error).__name__}: {error.public}"
    assert all(uri.lower().startswith("https://") for uri in found.uris.values())
    return "read"


def software_statement(data: bytes) -> str:
    """A publisher's statement (RFC 7591 section 2.3)."""
    publisher = Publisher(issuer="c", jwks={"keys": [KEY.public.to_jwk()]})
    try:
        stated(data.decode("latin-1"), [publisher], NOW, StatementRules(10, ISSUER))
    except (InvalidSoftwareStatement, UnapprovedSoftwareStatement) as error:
        return f"{type(error).__name__}: {error.public}"
    return "proven"


def authorization_details(data: bytes) -> str:
    """RFC 9396, from the parameter to what is granted."""
    api = Api(
        tenant_id="t", api_id="a", identifier="https://a.example/", name="a", created_at=0,
        details_types=(DetailsType(name="pay", schema=DETAILS_SCHEMA),),
    )  # fmt: skip
    try:
        granted_details(read_details(data.decode("utf-8", "surrogateescape")), ["pay"], [api])
    except InvalidAuthorizationDetails as error:
        told = re.sub(
            r"the type .* is unknown|of type .*: .* is not a member", "of a type or with a member", error.public
        )
        return f"InvalidAuthorizationDetails: {told}"
    return "read"


def cwt(data: bytes) -> str:
    """A CWT, from its bytes to claims that were judged."""
    try:
        claims = verify_cwt(cwt_text(data), KeySet([KEY.public]), ACCESS_TOKEN_ALGORITHMS)
        check_claims(claims, issuer=ISSUER, audience="urn:m", now=NOW, leeway=0)
    except JoseError as error:
        return f"{type(error).__name__}: {error.rule}"
    assert claims["exp"] > NOW
    return "proven"


def ace(data: bytes) -> str:
    """application/ace+cbor, from the datagram to a `TokenRequest`."""
    try:
        found = token_request(read_ace(data), None)
    except OAuthError as error:
        return f"{type(error).__name__}: {error.public}"
    assert isinstance(found.scope, str)
    return "read"


DETAILS_SCHEMA = {
    "type": "object",
    "properties": {
        "most": {"type": "integer", "minimum": 1}, "to": {"type": "string", "pattern": "^(a+)+$"},
        "sub": {"type": "array", "items": {"$ref": "#"}, "maxItems": 3},
    },
    "required": ["most"],
}  # fmt: skip


PARSERS: dict[str, Callable[[bytes], str]] = {
    "registration": registration,
    "software_statement": software_statement,
    "authorization_details": authorization_details,
    "cwt": cwt,
    "ace": ace,
    "assertion": assertion,
    "proof": proof,
    "client_cert": client_cert,
    "forwarded_client_cert": forwarded_client_cert,
}


def kind_of(verdict: str) -> str:
    """Without the values in it: two verdicts of one kind came by the same way."""
    return re.sub(r"[0-9]+", "#", re.sub(r"(issuer|audience) is .*", r"\1", verdict))[:120]
