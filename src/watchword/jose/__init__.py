"""The one door to cryptography: compact JWS, JWK sets, explicit algorithm lists; `now` is an argument.

No JOSE library is strict enough alone, so the gate here stands before every verification; the
signatures themselves are `cryptography`'s.
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
