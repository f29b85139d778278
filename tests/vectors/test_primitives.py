"""Wycheproof's bare signatures (JWT-007, JWT-008) through our own keys: the libraries below us, as we use them."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import load_der_public_key
from tests.vectors.corpus import ABSENT, Vector, load, present, wycheproof

from watchword.jose import Algorithm, BadSignature, PublicKey, UnacceptableKey, symmetric

FILES = {
    "ecdsa_secp256r1_sha256_p1363_test": (Algorithm.ES256, 262),
    "rsa_signature_2048_sha256_test": (Algorithm.RS256, 259),
    "rsa_pss_2048_sha256_mgf1_32_test": (Algorithm.PS256, 108),
    "ed25519_test": (Algorithm.EdDSA, 151),
    "hmac_sha256_test": (Algorithm.HS256, 174),
}


def fits(key: PublicKey, message: str, signature: str) -> bool:
    try:
        key.verify(bytes.fromhex(message), bytes.fromhex(signature))
    except BadSignature:
        return False
    return True


def key_of(vector: Vector, algorithm: Algorithm) -> PublicKey:
    """From the group's JWK, so that the reading of keys is tested too; a few groups have DER only."""
    group = vector["group"]
    jwk = group.get("publicKeyJwk") or group.get("keyJwk")
    if jwk is not None:
        return PublicKey.from_jwk({**jwk, "alg": algorithm.value})
    return PublicKey(load_der_public_key(bytes.fromhex(group["publicKeyDer"])), algorithm)  # type: ignore[arg-type]


def judge(vector: Vector, algorithm: Algorithm) -> None:
    present(vector)
    # "acceptable" is one PKCS#1 signature without the NULL of RFC 8017 section 9.2: we take "valid" only.
    assert fits(key_of(vector, algorithm), vector["msg"], vector["sig"]) == (vector["result"] == "valid")


@pytest.mark.parametrize("vector", wycheproof("ecdsa_secp256r1_sha256_p1363_test"))
def test_jwt_007_es256(vector: Vector) -> None:
    """A signature of r=0, r=n, another length or DER would pass for one (CVE-2022-21449)."""
    judge(vector, Algorithm.ES256)


@pytest.mark.parametrize("vector", wycheproof("rsa_signature_2048_sha256_test"))
def test_jwt_008_rs256(vector: Vector) -> None:
    """A modified PKCS#1 padding lets anyone forge signatures of keys with a small exponent."""
    judge(vector, Algorithm.RS256)


@pytest.mark.parametrize("vector", wycheproof("rsa_pss_2048_sha256_mgf1_32_test"))
def test_ps256(vector: Vector) -> None:
    """Another salt length or mask than RFC 7518 section 3.5 states would be taken."""
    judge(vector, Algorithm.PS256)


@pytest.mark.parametrize("vector", wycheproof("ed25519_test"))
def test_eddsa(vector: Vector) -> None:
    """Malleable signatures (S not reduced) would give one token several spellings."""
    judge(vector, Algorithm.EdDSA)


@pytest.mark.parametrize("vector", wycheproof("hmac_sha256_test"))
def test_hs256(vector: Vector) -> None:
    """A truncated tag or a short key, good for other uses of HMAC, would be good for a token."""
    present(vector)
    secret, group = bytes.fromhex(vector["key"]), vector["group"]
    if group["keySize"] < 256:
        with pytest.raises(UnacceptableKey):
            symmetric(secret, Algorithm.HS256)
        return
    # RFC 7518 section 3.2 knows no truncation: a valid tag of 128 bits is no JWS signature.
    good = vector["result"] == "valid" and group["tagSize"] == 256
    assert fits(symmetric(secret, Algorithm.HS256), vector["msg"], vector["tag"]) == good


@pytest.mark.parametrize("name", FILES)
def test_the_file_is_whole(name: str) -> None:
    """A shortened file would pass in silence."""
    document = load(f"wycheproof/{name}.json")
    present(document or ABSENT)
    assert len(wycheproof(name)) == document["numberOfTests"] == FILES[name][1]
