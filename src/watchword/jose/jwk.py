"""Read JWKs strictly: one algorithm per key, signature keys only, no weak keys (RFC 7517, 7518, 8037, 9964, 7638)."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from .algorithms import FULLY_SPECIFIED, RULES, SYMMETRIC, Algorithm
from .encoding import b64url, unb64url
from .errors import MalformedToken, UnacceptableKey
from .mldsa import MlDsaPublic, algorithm_of, load_public
from .weak_keys import check_modulus, check_point

MIN_RSA, MAX_RSA = 2048, 4096
MAX_EXPONENT_BITS = 64
"""A key's owner chooses e, and every verification pays for its length."""

PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
_REQUIRED = {
    "RSA": ("e", "n"),
    "EC": ("crv", "x", "y"),
    "OKP": ("crv", "x"),
    "AKP": ("alg", "pub"),
    "oct": ("k",),
}
_KTY = {"ec": "EC", "okp": "OKP", "ml-dsa": "AKP", "hmac": "oct", "rsa-pkcs1": "RSA", "rsa-pss": "RSA"}
_ONE_FOR_CURVE = {
    ("EC", "P-256"): Algorithm.ES256,
    ("EC", "P-384"): Algorithm.ES384,
    ("EC", "P-521"): Algorithm.ES512,
    ("OKP", "Ed25519"): Algorithm.EdDSA,
}

RawPublic = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey | MlDsaPublic | bytes
_BY_NAME = {**{algorithm.value: algorithm for algorithm in Algorithm}, **FULLY_SPECIFIED}


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """RFC 7638 section 3, SHA-256; of AKP keys as RFC 9964 section 6 has it."""
    members = {name: jwk[name] for name in (*_REQUIRED[jwk["kty"]], "kty")}
    text = json.dumps(members, sort_keys=True, separators=(",", ":"))
    return b64url(hashlib.sha256(text.encode()).digest()).decode()


def read_jwk(jwk: Mapping[str, Any], *, allow_symmetric: bool) -> tuple[RawPublic, Algorithm, str | None]:
    """The key, its one algorithm and its id, if it has one. Raises `UnacceptableKey`."""
    _check_use(jwk)
    algorithm = _algorithm_of(jwk)
    if algorithm in SYMMETRIC and not allow_symmetric:
        raise UnacceptableKey("a symmetric key where a public one is expected")
    kid = jwk.get("kid")
    if "kid" in jwk and (not isinstance(kid, str) or not kid):
        raise UnacceptableKey("kid is not a text")
    try:
        return _load(jwk, algorithm), algorithm, kid
    except (ValueError, MalformedToken, UnsupportedAlgorithm):
        raise UnacceptableKey("the key's members do not make a key") from None


def named_certificate(jwk: Mapping[str, Any]) -> str:
    """The `x5t#S256` of the certificate that a JWK holds or names (RFC 7517 sections 4.7 and 4.9); empty for none.

    An unreadable or contradictory value becomes a text that matches no certificate, never "any".
    """
    named, chain = jwk.get("x5t#S256"), jwk.get("x5c")
    if named is None and chain is None:
        return ""
    found = {named if isinstance(named, str) and named else "unreadable"} if named is not None else set()
    if chain is not None:
        try:
            found.add(b64url(hashlib.sha256(base64.b64decode(chain[0], validate=True)).digest()).decode())
        except (ValueError, TypeError, LookupError):
            found.add("unreadable")
    return found.pop() if len(found) == 1 else "unreadable"


def _check_use(jwk: Mapping[str, Any]) -> None:
    """RFC 7517 sections 4.2 and 4.3: a key for something else does not verify."""
    if jwk.get("use", "sig") != "sig":
        raise UnacceptableKey("the key's use is not sig")
    operations = jwk.get("key_ops", ["verify"])
    # A private JWK has `sign`; its public half verifies.
    if not isinstance(operations, list) or not ("verify" in operations or "sign" in operations):
        raise UnacceptableKey("the key's key_ops do not include verify")


def _algorithm_of(jwk: Mapping[str, Any]) -> Algorithm:
    """The `alg` member, or the only algorithm that kty and crv allow.

    RSA without `alg` is RS256, as JWK sets that omit it mean. It is still one algorithm per key
    (RFC 8725 section 3.1): such a key never verifies PS256.
    """
    named, kty, crv = jwk.get("alg"), jwk.get("kty"), jwk.get("crv")
    if not isinstance(kty, str):
        raise UnacceptableKey("kty is missing")
    if named is None:
        found = Algorithm.RS256 if kty == "RSA" else _ONE_FOR_CURVE.get((kty, str(crv)))
        if found is None:
            raise UnacceptableKey("the key names no algorithm")
        return found
    algorithm = _BY_NAME.get(named) if isinstance(named, str) else None
    if algorithm is None:
        raise UnacceptableKey("the key's algorithm is not one of ours")
    rule = RULES[algorithm]
    if kty != _KTY[rule.family] or (rule.crv and crv != rule.crv):
        raise UnacceptableKey("the key's kind does not fit its algorithm")
    return algorithm


def _load(jwk: Mapping[str, Any], algorithm: Algorithm) -> RawPublic:
    rule = RULES[algorithm]
    if rule.family == "ec":
        assert rule.curve is not None
        x, y = _coordinate(jwk, "x", rule.size), _coordinate(jwk, "y", rule.size)
        return ec.EllipticCurvePublicNumbers(x, y, rule.curve()).public_key()
    if rule.family == "okp":
        return ed25519.Ed25519PublicKey.from_public_bytes(_bytes(jwk, "x"))
    if rule.family == "ml-dsa":
        return load_public(_bytes(jwk, "pub"), algorithm)
    if rule.family == "hmac":
        return _bytes(jwk, "k")
    n, e = (int.from_bytes(_bytes(jwk, name), "big") for name in ("n", "e"))
    check_rsa(n, e)
    return rsa.RSAPublicNumbers(e, n).public_key()


def _bytes(jwk: Mapping[str, Any], name: str) -> bytes:
    value = jwk.get(name)
    if not isinstance(value, str):
        raise UnacceptableKey(f"{name} is missing or not a text")
    return unb64url(value.encode())


def _coordinate(jwk: Mapping[str, Any], name: str, size: int) -> int:
    raw = _bytes(jwk, name)
    if len(raw) != size:
        raise UnacceptableKey("a coordinate has the wrong length (RFC 7518 section 6.2.1.2)")
    return int.from_bytes(raw, "big")


def check_fits(key: RawPublic, algorithm: Algorithm) -> None:
    """No key of one family is ever used with another's algorithm, and no weak one with any."""
    rule = RULES[algorithm]
    if isinstance(key, rsa.RSAPublicKey):
        if _KTY[rule.family] != "RSA":
            raise UnacceptableKey("an RSA key is for RS and PS algorithms only")
        numbers = key.public_numbers()
        check_rsa(numbers.n, numbers.e)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if rule.curve is None or not isinstance(key.curve, rule.curve):
            raise UnacceptableKey(f"{algorithm.value} needs {rule.crv or 'another kind of key'}")
    elif isinstance(key, bytes):
        if rule.family != "hmac" or len(key) < rule.size:
            raise UnacceptableKey("an HMAC key is at least as long as its hash (RFC 7518 section 3.2)")
    elif isinstance(key, ed25519.Ed25519PublicKey):
        if rule.family != "okp":
            raise UnacceptableKey("an Ed25519 key is for EdDSA only")
        check_point(key.public_bytes_raw())
    elif algorithm_of(key) != algorithm:
        raise UnacceptableKey("an ML-DSA key is for the algorithm of its size only (RFC 9964 section 4)")


def check_rsa(n: int, e: int) -> None:
    """Size (RFC 7518 section 3.3), exponent, obvious factors, and the fingerprint of a known weak generator."""
    if not MIN_RSA <= n.bit_length() <= MAX_RSA:
        raise UnacceptableKey(f"an RSA key has {MIN_RSA} to {MAX_RSA} bits")
    if e < 3 or e % 2 == 0 or e.bit_length() > MAX_EXPONENT_BITS:
        raise UnacceptableKey(f"an RSA exponent is odd, above 1 and at most {MAX_EXPONENT_BITS} bits")
    if all(n % prime in residues for prime, residues in _ROCA_RESIDUES.items()):
        raise UnacceptableKey("an RSA key with the ROCA fingerprint (CVE-2017-15361)")
    check_modulus(n)


# The fingerprint of CVE-2017-15361: n lies in the subgroup that 65537 generates, modulo each of these.
# Primes of which 65537 generates the whole group say nothing and are left out.
_ROCA_PRIMES = (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)
_ROCA_RESIDUES = {p: frozenset(pow(65537, i, p) for i in range(p)) for p in _ROCA_PRIMES}


def to_members(key: RawPublic) -> dict[str, str]:
    """The members that make the key, without kid, alg and use (RFC 7518 section 6, RFC 8037 section 2)."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        size, point = (key.curve.key_size + 7) // 8, key.public_numbers()
        crv = next(rule.crv for rule in RULES.values() if rule.curve and isinstance(key.curve, rule.curve))
        return {"kty": "EC", "crv": crv, "x": _uint(point.x, size), "y": _uint(point.y, size)}
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return {"kty": "RSA", "n": _uint(numbers.n), "e": _uint(numbers.e)}
    if isinstance(key, ed25519.Ed25519PublicKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": b64url(key.public_bytes_raw()).decode()}
    if isinstance(key, bytes):
        raise UnacceptableKey("a symmetric key has no public form")
    return {"kty": "AKP", "alg": algorithm_of(key).value, "pub": b64url(key.public_bytes_raw()).decode()}


def _uint(number: int, size: int | None = None) -> str:
    return b64url(number.to_bytes(size or (number.bit_length() + 7) // 8, "big")).decode()
