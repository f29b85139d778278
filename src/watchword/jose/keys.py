"""Keys: one algorithm each, for signatures only, strong enough (RFC 7517, 7518, 8037, 7638)."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from .algorithms import RULES, SYMMETRIC, Algorithm, Rule
from .encoding import b64url, json_object, unb64url
from .errors import BadSignature, JoseError, MalformedToken, UnacceptableKey

MIN_RSA, MAX_RSA = 2048, 4096
MAX_SET = 256 * 1024
MAX_KEYS = 100
_REQUIRED = {
    "RSA": ("e", "n"),
    "EC": ("crv", "x", "y"),
    "OKP": ("crv", "x"),
    "oct": ("k",),
}
_Public = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey | bytes
_Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


class PublicKey:
    """What verifies."""

    __slots__ = ("_key", "_kind", "_rule", "algorithm", "kid")

    def __init__(self, key: _Public, algorithm: Algorithm, kid: str | None = None) -> None:
        self._key, self.algorithm, self._rule = key, algorithm, RULES[algorithm]
        self._check_strength()
        self.kid = kid if kid is not None else self.thumbprint()

    def __repr__(self) -> str:
        return f"PublicKey(kid={self.kid!r}, algorithm={self.algorithm.value})"

    def _check_strength(self) -> None:
        key, rule = self._key, self._rule
        if isinstance(key, rsa.RSAPublicKey):
            exponent = key.public_numbers().e
            fits = rule.family in ("rsa-pkcs1", "rsa-pss")
            if not fits or not MIN_RSA <= key.key_size <= MAX_RSA or exponent < 3 or exponent % 2 == 0:
                raise UnacceptableKey(f"an RSA key has {MIN_RSA} to {MAX_RSA} bits and an odd exponent above 1")
            if _is_roca(key.public_numbers().n):
                raise UnacceptableKey("an RSA key with the ROCA fingerprint (CVE-2017-15361)")
        elif isinstance(key, ec.EllipticCurvePublicKey):
            if rule.curve is None or not isinstance(key.curve, rule.curve):
                raise UnacceptableKey(f"{self.algorithm.value} needs curve {rule.crv or 'of its own'}")
        elif isinstance(key, bytes):
            if rule.family != "hmac" or len(key) < rule.size:
                raise UnacceptableKey("an HMAC key is at least as long as its hash (RFC 7518 section 3.2)")
        elif rule.family != "okp":
            raise UnacceptableKey("an Ed25519 key is for EdDSA only")

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any]) -> PublicKey:
        """One algorithm per key: the `alg` member, or what kty and crv leave no choice about."""
        _check_use(jwk)
        algorithm = _algorithm_of(jwk)
        kid = jwk.get("kid")
        if kid is not None and (not isinstance(kid, str) or not kid):
            raise UnacceptableKey("kid is not a text")
        try:
            return cls(_load_public(jwk, RULES[algorithm]), algorithm, kid)
        except (ValueError, KeyError, TypeError, MalformedToken):
            raise UnacceptableKey("the key's members do not make a key") from None

    def verify(self, data: bytes, signature: bytes) -> None:
        """Raises `BadSignature`."""
        try:
            self._verify(data, signature)
        except InvalidSignature:
            raise BadSignature("the signature does not fit") from None

    def _verify(self, data: bytes, signature: bytes) -> None:
        key, rule = self._key, self._rule
        if isinstance(key, ec.EllipticCurvePublicKey):
            size = rule.size
            if len(signature) != 2 * size:
                raise BadSignature(f"an {self.algorithm.value} signature has exactly {2 * size} bytes")
            r, s = (
                int.from_bytes(signature[:size], "big"),
                int.from_bytes(signature[size:], "big"),
            )
            assert rule.hash is not None
            key.verify(encode_dss_signature(r, s), data, ec.ECDSA(rule.hash))
        elif isinstance(key, rsa.RSAPublicKey):
            assert rule.hash is not None
            key.verify(signature, data, _rsa_padding(rule), rule.hash)
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, data)
        elif not hmac.compare_digest(_hmac(key, data, rule), signature):
            raise BadSignature("the signature does not fit")

    def to_jwk(self) -> dict[str, Any]:
        """Public members only, with kid, alg and use. A symmetric key has no public form."""
        return {
            **self._members(),
            "kid": self.kid,
            "alg": self.algorithm.value,
            "use": "sig",
        }

    def thumbprint(self) -> str:
        """RFC 7638."""
        if isinstance(self._key, bytes):
            return thumbprint({"kty": "oct", "k": b64url(self._key).decode()})
        return thumbprint(self._members())

    def to_pem(self) -> str:
        """SubjectPublicKeyInfo."""
        if isinstance(self._key, bytes):
            raise UnacceptableKey("a symmetric key has no public form")
        return self._key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode()

    def _members(self) -> dict[str, Any]:
        key, rule = self._key, self._rule
        if isinstance(key, ec.EllipticCurvePublicKey):
            point = key.public_numbers()
            x, y = (b64url(n.to_bytes(rule.size, "big")).decode() for n in (point.x, point.y))
            return {"kty": "EC", "crv": rule.crv, "x": x, "y": y}
        if isinstance(key, rsa.RSAPublicKey):
            numbers = key.public_numbers()
            return {"kty": "RSA", "n": _uint(numbers.n), "e": _uint(numbers.e)}
        if isinstance(key, ed25519.Ed25519PublicKey):
            raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
            return {"kty": "OKP", "crv": "Ed25519", "x": b64url(raw).decode()}
        raise UnacceptableKey("a symmetric key has no public form")


class PrivateKey:
    """What signs."""

    __slots__ = ("_hash", "_key", "_rule", "_scheme", "algorithm", "kid", "public")

    def __init__(self, key: _Private, algorithm: Algorithm, kid: str | None = None) -> None:
        self._key, self.algorithm, self._rule = key, algorithm, RULES[algorithm]
        self.public = PublicKey(key.public_key(), algorithm, kid)
        self.kid = self.public.kid
        self._hash = self._rule.hash
        self._scheme: Any = (
            ec.ECDSA(self._hash) if self._rule.family == "ec" and self._hash else _rsa_padding(self._rule)
        )

    def __repr__(self) -> str:
        return f"PrivateKey(kid={self.kid!r}, algorithm={self.algorithm.value}, ...)"

    @classmethod
    def generate(cls, algorithm: Algorithm) -> PrivateKey:
        """A fresh key; its id is its thumbprint."""
        rule = RULES[algorithm]
        if rule.family == "ec":
            assert rule.curve is not None
            return cls(ec.generate_private_key(rule.curve()), algorithm)
        if rule.family == "okp":
            return cls(ed25519.Ed25519PrivateKey.generate(), algorithm)
        if rule.family in ("rsa-pkcs1", "rsa-pss"):
            return cls(rsa.generate_private_key(65537, MIN_RSA), algorithm)
        raise UnacceptableKey("a symmetric key is not a signing key here")

    @classmethod
    def from_pkcs8(cls, der: bytes, algorithm: Algorithm, kid: str | None = None) -> PrivateKey:
        """Read PKCS#8 DER."""
        key = serialization.load_der_private_key(der, None)
        if not isinstance(
            key,
            ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey,
        ):
            raise UnacceptableKey("neither an EC, an RSA nor an Ed25519 key")
        return cls(key, algorithm, kid)

    def to_pkcs8(self) -> bytes:
        """PKCS#8 DER, unencrypted: seal it before it goes anywhere."""
        return self._key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def sign(self, data: bytes) -> bytes:
        """The signature in JOSE's form (RFC 7518 section 3.4: r || s for ECDSA)."""
        key = self._key
        if isinstance(key, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(key.sign(data, self._scheme))
            size = self._rule.size
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return key.sign(data)
        assert self._hash is not None
        return key.sign(data, self._scheme, self._hash)


class KeySet(Mapping[str, PublicKey]):
    """Public keys by id, immutable (RFC 7517 section 5)."""

    def __init__(self, keys: Iterable[PublicKey]) -> None:
        listed = list(keys)
        self._keys = {key.kid: key for key in listed}
        if len(self._keys) != len(listed):
            raise UnacceptableKey("two keys of the set have one kid")

    @classmethod
    def parse(cls, unverified_raw: bytes) -> KeySet:
        """A set from elsewhere: symmetric, weak, unknown and encryption keys are left out.

        Raises `MalformedToken` or `UnacceptableKey` when the set as a whole cannot be trusted: not a
        set, too large, two keys of one kid.
        """
        if len(unverified_raw) > MAX_SET:
            raise MalformedToken(f"a JWK set has at most {MAX_SET} bytes")
        listed = json_object(unverified_raw).get("keys")
        if not isinstance(listed, list) or len(listed) > MAX_KEYS:
            raise MalformedToken(f"a JWK set lists at most {MAX_KEYS} keys")
        usable = []
        for jwk in listed:
            if not isinstance(jwk, dict) or jwk.get("kty") == "oct":
                continue
            try:
                usable.append(PublicKey.from_jwk(jwk))
            except JoseError:
                continue
        return cls(usable)

    def to_jwks(self) -> dict[str, Any]:
        """The published form."""
        return {"keys": [key.to_jwk() for key in self._keys.values()]}

    def __getitem__(self, kid: str) -> PublicKey:
        return self._keys[kid]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def _rsa_padding(rule: Rule) -> Any:
    if rule.family == "rsa-pss":
        assert rule.hash is not None
        return padding.PSS(padding.MGF1(rule.hash), rule.size)
    return padding.PKCS1v15()


def _hmac(key: bytes, data: bytes, rule: Rule) -> bytes:
    assert rule.hash is not None
    return hmac.digest(key, data, rule.hash.name)


def symmetric(secret: bytes, algorithm: Algorithm, kid: str | None = None) -> PublicKey:
    """An HMAC key; only where the caller lists an HS algorithm explicitly."""
    if algorithm not in SYMMETRIC:
        raise UnacceptableKey("not an HMAC algorithm")
    return PublicKey(secret, algorithm, kid)


