"""Post-quantum ML-DSA keys (FIPS 204) in JOSE (RFC 9964): `kty` AKP, and one algorithm for each key size.

`cryptography` implements it, but not on every platform. Where its OpenSSL lacks ML-DSA, creating, reading or using such
a key raises `UnacceptableKey`; everything else works.
"""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import mldsa

from .algorithms import Algorithm
from .errors import UnacceptableKey

MlDsaPublic = mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey
MlDsaPrivate = mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey
_PUBLIC: dict[Algorithm, type[MlDsaPublic]] = {
    Algorithm.ML_DSA_44: mldsa.MLDSA44PublicKey,
    Algorithm.ML_DSA_65: mldsa.MLDSA65PublicKey,
    Algorithm.ML_DSA_87: mldsa.MLDSA87PublicKey,
}
_PRIVATE: dict[Algorithm, type[MlDsaPrivate]] = {
    Algorithm.ML_DSA_44: mldsa.MLDSA44PrivateKey,
    Algorithm.ML_DSA_65: mldsa.MLDSA65PrivateKey,
    Algorithm.ML_DSA_87: mldsa.MLDSA87PrivateKey,
}


def _offered() -> bool:
    try:
        mldsa.MLDSA44PublicKey.from_public_bytes(bytes(1312))
    except UnsupportedAlgorithm:
        return False
    return True


OFFERED = _offered()
"""Whether the library of this machine can do it."""


def generate(algorithm: Algorithm) -> MlDsaPrivate:
    """A fresh key. Raises `UnacceptableKey` where there is no ML-DSA."""
    try:
        return _PRIVATE[algorithm].generate()
    except UnsupportedAlgorithm:
        raise UnacceptableKey("the cryptography library of this machine has no ML-DSA") from None


def load_public(raw: bytes, algorithm: Algorithm) -> MlDsaPublic:
    """From the bytes of `pub`. Raises ValueError for another length, `UnsupportedAlgorithm` without ML-DSA."""
    return _PUBLIC[algorithm].from_public_bytes(raw)


def algorithm_of(key: MlDsaPublic | MlDsaPrivate) -> Algorithm:
    """The one algorithm that a key is for."""
    tables = (*_PUBLIC.items(), *_PRIVATE.items())
    return next(algorithm for algorithm, kind in tables if isinstance(key, kind))
