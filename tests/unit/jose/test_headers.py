"""Header parameters and algorithm names of JWTs, DPoP proofs and JWKs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from watchword.jose import (
    ACCESS_TOKEN_ALGORITHMS,
    Algorithm,
    KeySet,
    PrivateKey,
    PublicKey,
    UnacceptableHeader,
    UnacceptableKey,
    verify_signature,
)
from watchword.jose.dpop import ProofTarget, read_proof
from watchword.jose.encoding import b64url

ED, EC = PrivateKey.generate(Algorithm.EdDSA), PrivateKey.generate(Algorithm.ES256)
TARGET = ProofTarget("POST", "https://a.example/token")


def compact(key: PrivateKey, header: dict[str, Any], body: Any = None) -> str:
    head = b64url(json.dumps(header).encode()) + b"." + b64url(json.dumps(body or {}).encode())
    return (head + b"." + b64url(key.sign(head))).decode()


def verified(key: PrivateKey, **header: Any) -> dict[str, Any]:
    token = compact(key, {"alg": key.algorithm.value, "kid": key.kid, **header})
    return verify_signature(
        token, KeySet([key.public]), algorithms=ACCESS_TOKEN_ALGORITHMS, typ=None, kid_required=False
    ).claims


def test_the_fully_specified_name_of_eddsa() -> None:
    """RFC 9864: new libraries write `Ed25519`, and deprecate `EdDSA`."""
    assert verified(ED, alg="Ed25519") == {}
    assert PublicKey.from_jwk({**ED.public.to_jwk(), "alg": "Ed25519"}).algorithm == "EdDSA"
    jwk = {name: value for name, value in ED.public.to_jwk().items() if name in ("kty", "crv", "x")}
    body = {"jti": "1", "htm": "POST", "htu": "https://a.example/token", "iat": 1}
    for named in ({}, {"alg": "Ed25519"}, {"alg": "EdDSA"}):
        header = {"typ": "dpop+jwt", "alg": "Ed25519", "jwk": {**jwk, **named}}
        assert read_proof(compact(ED, header, body), TARGET).jkt == ED.public.thumbprint()


@pytest.mark.parametrize("alg", ["ed25519", "Ed448", "ESP256", None, 1])
def test_names_that_are_not_listed(alg: object) -> None:
    """A second name for one algorithm is no door for a third."""
    with pytest.raises(UnacceptableHeader):
        verified(ED, alg=alg)
    with pytest.raises(UnacceptableHeader):
        verified(EC, alg="Ed25519")
    with pytest.raises(UnacceptableKey):
        PublicKey.from_jwk({**EC.public.to_jwk(), "alg": "Ed25519"})


@pytest.mark.parametrize("header", [{"kid": None}, {"cty": "JWT"}, {"cty": "at+jwt"}, {"cty": None}], ids=repr)
def test_members_that_say_something_else(header: dict[str, Any]) -> None:
    """`kid: null` counted as no kid, and any key was tried; `cty` says that the payload is another token."""
    with pytest.raises(UnacceptableHeader):
        verified(EC, **header)


def test_a_key_with_a_null_kid() -> None:
    """It was read as a key without a name, and got one of ours."""
    with pytest.raises(UnacceptableKey):
        PublicKey.from_jwk({**EC.public.to_jwk(), "kid": None})
