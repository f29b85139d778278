"""Callers that sign: what stands in an assertion, and for whom it is good."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa

from watchword.client import ClientCredentials, Clock, Network, PrivateKeyJwt, Secret, SecretMissing
from watchword.jose import JoseError, KeySet, PrivateKey, decode_unverified, verify_signature

ISSUER = "https://id.example/t/acme"
NOW = 1_000_000.0
KINDS: dict[str, Any] = {
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ES512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
    "ML-DSA-65": mldsa.MLDSA65PrivateKey.generate,
}


def pem(key: Any, encryption: Any = None) -> str:
    """As openssl writes it."""
    encryption = encryption or serialization.NoEncryption()
    return str(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption).decode())


def asked(text: str, endpoint: str = f"{ISSUER}/token", **options: Any) -> dict[str, str]:
    """The form of one token request."""
    forms: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if ".well-known" in request.url.path:
            return httpx.Response(200, json={"issuer": ISSUER, "token_endpoint": endpoint})
        forms.append(request.content)
        return httpx.Response(200, json={"access_token": "a", "token_type": "Bearer", "expires_in": 300})

    proof = PrivateKeyJwt(lambda: Secret(text), **options)
    ClientCredentials(
        ISSUER, "app", proof, network=Network(transport=httpx.MockTransport(answer), clock=Clock(now=lambda: NOW))
    ).token()
    return {name: values[0] for name, values in parse_qs(forms[0].decode()).items()}


@pytest.mark.parametrize("algorithm", KINDS)
def test_an_assertion(algorithm: str) -> None:
    """The issuer would refuse it, or take it twice, or take it tomorrow."""
    text = pem(KINDS[algorithm]())
    form = asked(text, new_id=lambda: "once")
    key = PrivateKey.from_pem(text.encode())
    read = decode_unverified(form["client_assertion"])
    assert read.unverified_header == {"alg": algorithm, "kid": key.kid, "typ": "client-authentication+jwt"}
    claims = verify_signature(
        form["client_assertion"], KeySet([key.public]), algorithms=[key.algorithm], typ={"client-authentication+jwt"}
    ).claims
    assert claims == {
        "iss": "app", "sub": "app", "aud": ISSUER, "jti": "once", "iat": 1_000_000, "exp": 1_000_060,
    }  # fmt: skip
    assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    assert "client_secret" not in form


def test_dis_006_the_audience_is_the_configured_issuer() -> None:
    """DIS-006: metadata that names somebody else's endpoint would make us sign what is good there."""
    form = asked(pem(KINDS["ES256"]()), endpoint="https://honest.example/token")
    assert b'"aud": "https://id.example/t/acme"' in decode_unverified(form["client_assertion"]).unverified_payload


def test_a_registered_name() -> None:
    """A key that is registered under a name of its own would not be found."""
    form = asked(pem(KINDS["ES256"]()), kid="2026")
    assert decode_unverified(form["client_assertion"]).unverified_header["kid"] == "2026"


def test_no_assertion_is_sent_twice() -> None:
    """An issuer that takes each once would refuse every renewal."""
    text = pem(KINDS["EdDSA"]())
    assert asked(text)["client_assertion"] != asked(text)["client_assertion"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a secret",
        pem(KINDS["ES256"](), serialization.BestAvailableEncryption(b"x")),
        pem(ec.generate_private_key(ec.SECP256K1())),
    ],
)
def test_no_key(text: str) -> None:
    """A wrong file would show as a refusal by the issuer, or its content would stand in a traceback."""
    with pytest.raises(SecretMissing) as refused:
        asked(text or " ")
    assert "openssl genpkey" in str(refused.value)
    assert "a secret" not in str(refused.value)
    with pytest.raises(JoseError):
        PrivateKey.from_pem(text.encode())


def test_nothing_is_shown() -> None:
    """A key in a log is a key that somebody else has."""
    text = pem(KINDS["ES256"]())
    proof = PrivateKeyJwt(lambda: Secret(text))
    assert repr(proof) == "PrivateKeyJwt(...)"
    assert proof.mac(b"a") != proof.mac(b"b")
    assert len(proof.mac(b"a")) == 32
