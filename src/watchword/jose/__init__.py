"""Sign and verify JWTs, CWTs and DPoP proofs; read JWKs and certificates. No other package imports cryptography.

No JOSE library is strict enough alone, so the strict reader (the gate) of this package checks every token before its
signature is verified. The signatures themselves are `cryptography`'s. Algorithm lists are explicit; `now` is an
argument.
"""

from .algorithms import ACCESS_TOKEN_ALGORITHMS, POST_QUANTUM, Algorithm
from .compact import (
    Gate,
    Read,
    Signer,
    Unverified,
    Verified,
    check_claims,
    decode_unverified,
    numeric_date,
    read_unverified,
    verify_signature,
    verify_with_one_of,
)
from .errors import (
    BadSignature,
    ClaimRefused,
    JoseError,
    MalformedToken,
    UnacceptableHeader,
    UnacceptableKey,
    UnknownKey,
)
from .jwk import thumbprint
from .keys import KeySet, PrivateKey, PublicKey, symmetric

__all__ = [
    "ACCESS_TOKEN_ALGORITHMS",
    "POST_QUANTUM",
    "Algorithm",
    "BadSignature",
    "ClaimRefused",
    "Gate",
    "JoseError",
    "KeySet",
    "MalformedToken",
    "PrivateKey",
    "PublicKey",
    "Read",
    "Signer",
    "UnacceptableHeader",
    "UnacceptableKey",
    "UnknownKey",
    "Unverified",
    "Verified",
    "check_claims",
    "decode_unverified",
    "numeric_date",
    "read_unverified",
    "symmetric",
    "thumbprint",
    "verify_signature",
    "verify_with_one_of",
]
