"""For APIs: verify an access token and require a scope (RFC 9068, RFC 6750).

``Verifier(issuer, audience="https://payments.example").verify(token, scope="payments:charge")`` gives
`Claims` or raises; `watchword.resource.asgi.RequireToken` does it for a whole ASGI application.
"""

from watchword.resource.claims import Claims
from watchword.resource.client_certificate import TrustedProxy
from watchword.resource.dpop import Dpop, ProofMemory, ProofsInMemory, ProofUsed, ShownProof
from watchword.resource.errors import (
    AccessRefused,
    Forbidden,
    InsufficientScope,
    IntrospectionUnavailable,
    KeysUnavailable,
    NonceNeeded,
    ProofInvalid,
    RequestInvalid,
    RevocationsUnknown,
    StatusUnknown,
    TokenInvalid,
    TokenMissing,
    TooManyProofs,
    TransactionForbidden,
    TransactionInvalid,
    TransactionMissing,
    Unavailable,
)
from watchword.resource.fetched.fetch import Fetch
from watchword.resource.fetched.introspection import Introspection
from watchword.resource.fetched.status_list import StatusLists
from watchword.resource.issuer import Issuer
from watchword.resource.refusal import Answer, challenge, refusal
from watchword.resource.transaction_tokens import Transaction, TransactionTokens
from watchword.resource.verifier import Verifier

__all__ = [
    "AccessRefused",
    "Answer",
    "Claims",
    "Dpop",
    "Fetch",
    "Forbidden",
    "InsufficientScope",
    "Introspection",
    "IntrospectionUnavailable",
    "Issuer",
    "KeysUnavailable",
    "NonceNeeded",
    "ProofInvalid",
    "ProofMemory",
    "ProofUsed",
    "ProofsInMemory",
    "RequestInvalid",
    "RevocationsUnknown",
    "ShownProof",
    "StatusLists",
    "StatusUnknown",
    "TokenInvalid",
    "TokenMissing",
    "TooManyProofs",
    "Transaction",
    "TransactionForbidden",
    "TransactionInvalid",
    "TransactionMissing",
    "TransactionTokens",
    "TrustedProxy",
    "Unavailable",
    "Verifier",
    "challenge",
    "refusal",
]
