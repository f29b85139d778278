"""The table of signature algorithms: family, hash and curve of each (RFC 7518 section 3.1, RFC 8037, RFC 9964)."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct

Family = Literal["ec", "rsa-pkcs1", "rsa-pss", "okp", "ml-dsa", "hmac"]


class Algorithm(StrEnum):
    """A signature algorithm (JWS `alg`). There is no `none`."""

    ES256 = "ES256"
    RS256 = "RS256"
    PS256 = "PS256"
    EdDSA = "EdDSA"
    ES384 = "ES384"
    ES512 = "ES512"
    RS384 = "RS384"
    RS512 = "RS512"
    PS384 = "PS384"
    PS512 = "PS512"
    HS256 = "HS256"
    HS384 = "HS384"
    HS512 = "HS512"
    ML_DSA_44 = "ML-DSA-44"
    ML_DSA_65 = "ML-DSA-65"
    ML_DSA_87 = "ML-DSA-87"


FULLY_SPECIFIED = {"Ed25519": Algorithm.EdDSA}
"""Other names of our algorithms (RFC 9864): `EdDSA` is Ed25519 here, and no other curve."""
ACCESS_TOKEN_ALGORITHMS = frozenset({Algorithm.ES256, Algorithm.RS256, Algorithm.PS256, Algorithm.EdDSA})
"""The algorithms for access tokens: public-key ones only, so that an API that verifies cannot also sign."""
POST_QUANTUM = frozenset({Algorithm.ML_DSA_44, Algorithm.ML_DSA_65, Algorithm.ML_DSA_87})
"""FIPS 204 with an empty context and no pre-hash (RFC 9964 section 4). They are accepted only where they are listed."""
SYMMETRIC = frozenset({Algorithm.HS256, Algorithm.HS384, Algorithm.HS512})


class Rule(Struct, frozen=True):
    """How one algorithm works.

    `size` is the length of one EC coordinate, of an HMAC key's minimum, or of an ML-DSA public key.
    """

    family: Family
    hash: hashes.HashAlgorithm | None
    size: int = 0
    curve: type[ec.EllipticCurve] | None = None
    crv: str = ""


RULES: dict[Algorithm, Rule] = {
    Algorithm.ES256: Rule("ec", hashes.SHA256(), 32, ec.SECP256R1, "P-256"),
    Algorithm.ES384: Rule("ec", hashes.SHA384(), 48, ec.SECP384R1, "P-384"),
    Algorithm.ES512: Rule("ec", hashes.SHA512(), 66, ec.SECP521R1, "P-521"),
    Algorithm.RS256: Rule("rsa-pkcs1", hashes.SHA256()),
    Algorithm.RS384: Rule("rsa-pkcs1", hashes.SHA384()),
    Algorithm.RS512: Rule("rsa-pkcs1", hashes.SHA512()),
    Algorithm.PS256: Rule("rsa-pss", hashes.SHA256(), 32),
    Algorithm.PS384: Rule("rsa-pss", hashes.SHA384(), 48),
    Algorithm.PS512: Rule("rsa-pss", hashes.SHA512(), 64),
    Algorithm.EdDSA: Rule("okp", None, 32, None, "Ed25519"),
    Algorithm.ML_DSA_44: Rule("ml-dsa", None, 1312),
    Algorithm.ML_DSA_65: Rule("ml-dsa", None, 1952),
    Algorithm.ML_DSA_87: Rule("ml-dsa", None, 2592),
    Algorithm.HS256: Rule("hmac", hashes.SHA256(), 32),
    Algorithm.HS384: Rule("hmac", hashes.SHA384(), 48),
    Algorithm.HS512: Rule("hmac", hashes.SHA512(), 64),
}
