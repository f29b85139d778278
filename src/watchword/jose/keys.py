"""Private keys, public keys and key sets; each key has one algorithm (RFC 7517, RFC 7518 section 3)."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from . import mldsa
from .algorithms import RULES, SYMMETRIC, Algorithm, Rule
from .encoding import b64url, json_object, raw_from_der
from .errors import BadSignature, JoseError, MalformedToken, UnacceptableKey
from .jwk import (
    MIN_RSA,
    PRIVATE_MEMBERS,
    RawPublic,
    check_fits,
    named_certificate,
    read_jwk,
    thumbprint,
    to_members,
)
from .weak_keys import check_is_composite

MAX_SET = 256 * 1024
MAX_KEYS = 100
_Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | mldsa.MlDsaPrivate


class PublicKey:
    """What verifies."""

    __slots__ = ("_check", "_key", "algorithm", "certificate", "kid")

    def __init__(self, key: RawPublic, algorithm: Algorithm, kid: str | None = None) -> None:
        check_fits(key, algorithm)
        self._key, self.algorithm = key, algorithm
        self._check = _check_of(key, algorithm)
        self.kid = kid if kid is not None else self.thumbprint()
        self.certificate = ""
        """The `x5t#S256` of the one certificate that this key may come in; empty: any."""

    def __repr__(self) -> str:
        return f"PublicKey(kid={self.kid!r}, algorithm={self.algorithm.value})"

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any], *, allow_symmetric: bool = False) -> PublicKey:
        """Read a JWK strictly: see `watchword.jose.jwk`. Raises `UnacceptableKey`.

        An `oct` key is refused unless the caller expects symmetric keys: a key set from elsewhere must never turn
        the verifier of a public key into an HMAC one (CVE-2022-29217).
        """
        key = cls(*read_jwk(jwk, allow_symmetric=allow_symmetric))
        key.certificate = named_certificate(jwk)
        return key

    @classmethod
    def from_pem(cls, pem: bytes) -> PublicKey:
        """Read a public key in PEM (SubjectPublicKeyInfo), by the rules for a JWK. Raises `UnacceptableKey`.

        The algorithm is the one usual for the kind of key, as in `PrivateKey.from_pem`.
        """
        try:
            key = serialization.load_pem_public_key(pem)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise UnacceptableKey("not a public key in PEM") from None
        if not isinstance(key, RawPublic) or isinstance(key, bytes):
            raise UnacceptableKey("neither an EC, an RSA, an Ed25519 nor an ML-DSA key")
        return cls.from_jwk({**to_members(key), "alg": _usual(key).value})

    def check_for_keeping(self) -> PublicKey:
        """The key itself, after the check that is too slow for a key that is used once. Raises `UnacceptableKey`."""
        if isinstance(self._key, rsa.RSAPublicKey):
            check_is_composite(self._key.public_numbers().n)
        return self

    def verify(self, data: bytes, signature: bytes) -> None:
        """Raises `BadSignature`."""
        try:
            self._check(data, signature)
        except InvalidSignature:
            raise BadSignature("the signature does not fit") from None

    def to_jwk(self) -> dict[str, Any]:
        """Public members only, with kid, alg and use. A symmetric key has no public form."""
        pinned = {"x5t#S256": self.certificate} if self.certificate else {}
        return {**to_members(self._key), "kid": self.kid, "alg": self.algorithm.value, "use": "sig", **pinned}

    def thumbprint(self) -> str:
        """RFC 7638."""
        if isinstance(self._key, bytes):
            return thumbprint({"kty": "oct", "k": b64url(self._key).decode()})
        return thumbprint(to_members(self._key))

    def to_pem(self) -> str:
        """SubjectPublicKeyInfo."""
        if isinstance(self._key, bytes):
            raise UnacceptableKey("a symmetric key has no public form")
        return self._key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode()


_OF_CURVE = {"secp256r1": Algorithm.ES256, "secp384r1": Algorithm.ES384, "secp521r1": Algorithm.ES512}


def _usual(key: RawPublic) -> Algorithm:
    if isinstance(key, ed25519.Ed25519PublicKey):
        return Algorithm.EdDSA
    if isinstance(key, rsa.RSAPublicKey):
        return Algorithm.RS256
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _OF_CURVE:
        return _OF_CURVE[key.curve.name]
    raise UnacceptableKey("use an EC key on a NIST curve, an RSA or an Ed25519 key; others as a JWK")


class PrivateKey:
    """What signs."""

    __slots__ = ("_key", "_sign", "algorithm", "kid", "public")

    def __init__(self, key: _Private, algorithm: Algorithm, kid: str | None = None) -> None:
        self.public = PublicKey(key.public_key(), algorithm, kid)
        self._key, self.algorithm, self.kid = key, algorithm, self.public.kid
        self._sign = _signing(key, RULES[algorithm])

    def __repr__(self) -> str:
        return f"PrivateKey(kid={self.kid!r}, algorithm={self.algorithm.value}, ...)"

    def __reduce__(self) -> str:
        # A pickle would reveal the private key unnoticed; `to_pkcs8` reveals it on purpose.
        raise TypeError("a private key is not pickled or copied")

    @classmethod
    def generate(cls, algorithm: Algorithm) -> PrivateKey:
        """A fresh key; its id is its thumbprint."""
        rule = RULES[algorithm]
        if rule.family == "ec":
            assert rule.curve is not None
            return cls(ec.generate_private_key(rule.curve()), algorithm)
        if rule.family == "okp":
            return cls(ed25519.Ed25519PrivateKey.generate(), algorithm)
        if rule.family == "ml-dsa":
            return cls(mldsa.generate(algorithm), algorithm)
        if rule.family in ("rsa-pkcs1", "rsa-pss"):
            return cls(rsa.generate_private_key(65537, MIN_RSA), algorithm)
        raise UnacceptableKey("a symmetric key is not a signing key here")

    @classmethod
    def from_pkcs8(cls, der: bytes, algorithm: Algorithm, kid: str | None = None) -> PrivateKey:
        """Read PKCS#8 DER, unencrypted, that `to_pkcs8` wrote and that was sealed since. Raises `UnacceptableKey`.

        The RSA key is not checked for primality again: that takes 70 ms at each change of a tenant.
        """
        try:
            key = serialization.load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # `from None`: the parser's message could quote the key.
            raise UnacceptableKey("not an unencrypted PKCS#8 key in DER") from None
        if not isinstance(key, _Private):
            raise UnacceptableKey("neither an EC, an RSA, an Ed25519 nor an ML-DSA key")
        return cls(key, algorithm, kid)

    @classmethod
    def from_pem(cls, pem: bytes, kid: str | None = None) -> PrivateKey:
        """Read PEM, unencrypted; the algorithm is the one usual for the kind of key. Raises `UnacceptableKey`."""
        try:
            key = serialization.load_pem_private_key(pem, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # `from None`: the parser's message could quote the key.
            raise UnacceptableKey("not an unencrypted private key in PEM") from None
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return cls(key, Algorithm.EdDSA, kid)
        if isinstance(key, rsa.RSAPrivateKey):
            return cls(key, Algorithm.RS256, kid)
        if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _OF_CURVE:
            return cls(key, _OF_CURVE[key.curve.name], kid)
        if isinstance(key, mldsa.MlDsaPrivate):
            return cls(key, mldsa.algorithm_of(key), kid)
        raise UnacceptableKey("neither an EC key on a NIST curve, an RSA, an Ed25519 nor an ML-DSA key")

    def to_pkcs8(self) -> bytes:
        """PKCS#8 DER, unencrypted: seal it before it goes anywhere."""
        return self._key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def to_pem(self) -> bytes:
        """The same as PEM, which `from_pem` reads: for a file that nobody else may read."""
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def sign(self, data: bytes) -> bytes:
        """The signature in JOSE's form (RFC 7518 section 3.4: r || s for ECDSA)."""
        return self._sign(data)


class KeySet(Mapping[str, PublicKey]):
    """Public keys by id, immutable (RFC 7517 section 5)."""

    def __init__(self, keys: Iterable[PublicKey]) -> None:
        listed = list(keys)
        self._keys = {key.kid: key for key in listed}
        if len(self._keys) != len(listed):
            raise UnacceptableKey("two keys of the set have one kid")

    @classmethod
    def parse(cls, unverified_raw: bytes) -> KeySet:
        """Read a key set from elsewhere; symmetric, weak, unknown, encryption and private keys are left out.

        Raises `MalformedToken` or `UnacceptableKey` when the set as a whole cannot be trusted: not a
        set, too large, two keys with one kid (even of different kinds: it is ambiguous).
        """
        if len(unverified_raw) > MAX_SET:
            raise MalformedToken(f"a JWK set has at most {MAX_SET} bytes")
        listed = json_object(unverified_raw).get("keys")
        if not isinstance(listed, list) or len(listed) > MAX_KEYS:
            raise MalformedToken(f"a JWK set lists at most {MAX_KEYS} keys")
        jwks = [jwk for jwk in listed if isinstance(jwk, dict)]
        kids = [kid for jwk in jwks if isinstance(kid := jwk.get("kid"), str)]
        if len(set(kids)) != len(kids):
            raise UnacceptableKey("two keys of the set have one kid")
        return cls(key for jwk in jwks if (key := _usable(jwk)) is not None)

    def to_jwks(self) -> dict[str, Any]:
        """The published form."""
        return {"keys": [key.to_jwk() for key in self._keys.values()]}

    def __getitem__(self, kid: str) -> PublicKey:
        return self._keys[kid]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"KeySet({list(self._keys)!r})"


def symmetric(secret: bytes, algorithm: Algorithm, kid: str | None = None) -> PublicKey:
    """An HMAC key; only where the caller lists an HS algorithm explicitly."""
    if algorithm not in SYMMETRIC:
        raise UnacceptableKey("not an HMAC algorithm")
    return PublicKey(secret, algorithm, kid)


def _usable(jwk: Mapping[str, Any]) -> PublicKey | None:
    # A published private key is compromised: everybody can sign with it.
    if PRIVATE_MEMBERS & jwk.keys():
        return None
    try:
        return PublicKey.from_jwk(jwk)
    except JoseError:
        return None


def _check_of(key: RawPublic, algorithm: Algorithm) -> Callable[[bytes, bytes], None]:
    """A function that raises unless the signature fits the data; made once per key, because every token runs it."""
    rule = RULES[algorithm]
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _ecdsa_check(key, algorithm, rule)
    if isinstance(key, rsa.RSAPublicKey):
        verify_rsa, scheme, hash = key.verify, _rsa_padding(rule), rule.hash
        assert hash is not None
        return lambda data, signature: verify_rsa(signature, data, scheme, hash)
    if isinstance(key, bytes):
        return _hmac_check(key, rule)
    verify = key.verify
    return lambda data, signature: verify(signature, data)


def _ecdsa_check(key: ec.EllipticCurvePublicKey, algorithm: Algorithm, rule: Rule) -> Callable[[bytes, bytes], None]:
    assert rule.hash is not None
    verify, scheme, size = key.verify, ec.ECDSA(rule.hash), rule.size

    def check(data: bytes, signature: bytes) -> None:
        if len(signature) != 2 * size:
            raise BadSignature(f"an {algorithm.value} signature has exactly {2 * size} bytes")
        r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
        verify(encode_dss_signature(r, s), data, scheme)

    return check


def _hmac_check(key: bytes, rule: Rule) -> Callable[[bytes, bytes], None]:
    def check(data: bytes, signature: bytes) -> None:
        # Constant time (CVE-2016-7036).
        if not hmac.compare_digest(_hmac(key, data, rule), signature):
            raise BadSignature("the signature does not fit")

    return check


def _signing(key: _Private, rule: Rule) -> Callable[[bytes], bytes]:
    """The function that signs with this key; made once per key, because every token runs it."""
    if isinstance(key, ed25519.Ed25519PrivateKey | mldsa.MlDsaPrivate):
        return key.sign
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return _ecdsa(key, _scheme(rule), rule.size)
    assert rule.hash is not None
    return _rsa(key, _scheme(rule), rule.hash)


def _ecdsa(key: ec.EllipticCurvePrivateKey, scheme: ec.ECDSA, size: int) -> Callable[[bytes], bytes]:
    make = key.sign
    return lambda data: raw_from_der(make(data, scheme), size)


def _rsa(
    key: rsa.RSAPrivateKey, scheme: padding.AsymmetricPadding, digest: hashes.HashAlgorithm
) -> Callable[[bytes], bytes]:
    make = key.sign
    return lambda data: make(data, scheme, digest)


def _scheme(rule: Rule) -> Any:
    if rule.family == "okp":
        return None
    if rule.family == "ec":
        assert rule.hash is not None
        return ec.ECDSA(rule.hash)
    return _rsa_padding(rule)


def _rsa_padding(rule: Rule) -> Any:
    if rule.family == "rsa-pss":
        assert rule.hash is not None
        # RFC 7518 section 3.5: the salt is exactly as long as the hash.
        return padding.PSS(padding.MGF1(rule.hash), rule.size)
    return padding.PKCS1v15()


def _hmac(key: bytes, data: bytes, rule: Rule) -> bytes:
    assert rule.hash is not None
    return hmac.digest(key, data, rule.hash.name)
