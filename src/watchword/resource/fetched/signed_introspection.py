"""Verify signed introspection answers (RFC 9701)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from watchword.jose import Algorithm, ClaimRefused, KeySet, verify_signature
from watchword.jose.compact import numeric_date

MEDIA_TYPE: Final = "application/token-introspection+jwt"
_TYPES: Final = frozenset({"token-introspection+jwt"})
FRESH: Final = 60.0
"""Seconds by which ``iat`` may lie behind or ahead: an answer from before a revocation must not be shown again."""


def read_signed(
    unverified_answer: bytes,
    keys: KeySet,
    *,
    issuer: str,
    client_id: str,
    algorithms: Collection[Algorithm],
    now: float,
) -> dict[str, Any]:
    """The member ``token_introspection`` of an answer that the issuer signed for this client, just now.

    Raises a `JoseError`: `UnknownKey` when another key set could help.
    """
    text = unverified_answer.decode("ascii", "replace")
    claims = verify_signature(text, keys, algorithms=algorithms, typ=_TYPES).claims
    if claims.get("iss") != issuer:
        raise ClaimRefused("iss", "the signed answer is another issuer's")
    audience = claims.get("aud")
    if client_id not in (audience if isinstance(audience, list) else [audience]):
        raise ClaimRefused("aud", "the signed answer was given to somebody else")
    issued = numeric_date(claims, "iat", required=True)
    if issued is None or abs(now - issued) > FRESH:
        raise ClaimRefused("iat", f"the signed answer is not of the last {FRESH:.0f} s by this machine's clock")
    answered = claims.get("token_introspection")
    if not isinstance(answered, dict):
        raise ClaimRefused("token_introspection", "token_introspection is missing or not an object")
    return answered
