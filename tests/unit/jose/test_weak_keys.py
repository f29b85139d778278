"""Keys that protect nothing: points of small order, and moduli that everyone can factor."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from watchword.jose import Algorithm, KeySet, PrivateKey, PublicKey, UnacceptableKey
from watchword.jose.certificates import acceptable_key
from watchword.jose.compact import Signer
from watchword.jose.dpop import ProofTarget, read_proof
from watchword.jose.encoding import b64url
from watchword.server.registry.client_keys import acceptable, read_key
from watchword.server.registry.errors import Invalid
from watchword.server.registry.issuers import read_keys

P = 2**255 - 19
ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD83D3D706A17C7
SIGN = 1 << 255
POINTS = {
    "identity": 1,
    "order 2": P - 1,
    "order 4": 0,
    "order 4, other sign": SIGN,
    "order 8": ORDER_8,
    "order 8, negated": ORDER_8 | SIGN,
    "other order 8": P - ORDER_8,
    "other order 8, negated": P - ORDER_8 | SIGN,
    "identity with a sign": 1 | SIGN,
    "identity, not reduced": P + 1,
    "order 4, not reduced": P,
    "not reduced": P + 18,
    "no point": 2,
    "all ones": SIGN * 2 - 1,
}
PRIME_2048, PRIME_3072 = 2**2048 - 1942289, 2**3072 - 1103717
LARGE = 2**1024 - 105  # a prime


def raw(number: int) -> bytes:
    return number.to_bytes(32, "little")


def okp(number: int) -> dict[str, Any]:
    return {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "k", "x": b64url(raw(number)).decode()}


def rsa_jwk(n: int) -> dict[str, Any]:
    size = (n.bit_length() + 7) // 8
    return {"kty": "RSA", "alg": "RS256", "kid": "k", "n": b64url(n.to_bytes(size, "big")).decode(), "e": "AQAB"}


def refused_at_every_door(jwk: dict[str, Any]) -> None:
    """Registered by value, fetched, or of a trusted issuer."""
    with pytest.raises(Invalid):
        read_key(jwk, 0)
    with pytest.raises(UnacceptableKey):
        acceptable(json.dumps({"keys": [jwk]}).encode())
    with pytest.raises(Invalid):
        read_keys({"keys": [jwk]})


@pytest.mark.parametrize("number", POINTS.values(), ids=POINTS.keys())
def test_points_that_verify_what_nobody_signed(number: int) -> None:
    """With such a key registered, everybody is the application: one signature fits every message."""
    with pytest.raises(UnacceptableKey):
        PublicKey.from_jwk(okp(number))
    assert len(KeySet.parse(json.dumps({"keys": [okp(number)]}).encode())) == 0
    refused_at_every_door(okp(number))
    with pytest.raises(UnacceptableKey):
        acceptable_key(ed25519.Ed25519PublicKey.from_public_bytes(raw(number)))


def test_a_proof_by_a_key_of_small_order() -> None:
    """DPoP: a token would be bound to a key that everybody has."""
    jwk = {name: value for name, value in okp(1).items() if name in ("kty", "crv", "x")}
    head = b64url(json.dumps({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwk}).encode())
    body = b64url(json.dumps({"jti": "1", "htm": "POST", "htu": "https://a.example/token", "iat": 1}).encode())
    forged = b64url(raw(1) + bytes(32))
    with pytest.raises(UnacceptableKey):
        read_proof(b".".join((head, body, forged)).decode(), ProofTarget("POST", "https://a.example/token"))


def test_ordinary_points_are_read() -> None:
    """A check that refuses good keys locks good clients out: half of all points have each sign."""
    for _ in range(64):
        key = PrivateKey.generate(Algorithm.EdDSA)
        assert PublicKey.from_jwk(key.public.to_jwk()).kid == key.kid
    assert Signer(key, typ=None)


MODULI = {
    "even": 2 * PRIME_2048,
    "a factor of 3": 3 * (2**2047 - 19),
    "a factor of 997": 997 * (2**2040 + 1),
    "a square": LARGE**2,
}


@pytest.mark.parametrize("n", MODULI.values(), ids=MODULI.keys())
def test_moduli_that_everyone_can_factor(n: int) -> None:
    """Whoever sees the public key would have the private one."""
    assert 2048 <= n.bit_length() <= 4096
    with pytest.raises(UnacceptableKey):
        PublicKey.from_jwk(rsa_jwk(n))
    refused_at_every_door(rsa_jwk(n))


@pytest.mark.parametrize("n", [PRIME_2048, PRIME_3072], ids=["2048 bits", "3072 bits"])
def test_a_prime_is_no_modulus(n: int) -> None:
    """The private exponent of a prime modulus is computed from the public key alone."""
    refused_at_every_door(rsa_jwk(n))


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_ordinary_moduli_are_read(bits: int) -> None:
    """A test that takes products for primes would lock good clients out."""
    made = rsa.generate_private_key(65537, bits)
    key = PrivateKey.from_pem(
        made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    assert read_key(key.public.to_jwk(), 0).kid == key.kid
    assert list(acceptable(json.dumps({"keys": [key.public.to_jwk()]}).encode())) == [key.kid]
