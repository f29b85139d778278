"""Verify another issuer's JWT about a caller: its issuer, audience and lifetime.

RFC 7523 section 3 with a foreign `iss`; for kind spiffe a JWT-SVID, whose trust domain takes the place of `iss`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from msgspec import Struct

from ...jose import Algorithm, ClaimRefused, KeySet, Read, check_claims, verify_with_one_of
from ..registry.spiffe import MAX_ID, trust_domain
from ..registry.trusted_issuer import TrustedIssuer
from .proof_jwt import ReplayMark, Window, check_life, replay_mark

HEADER = frozenset({"alg", "kid", "typ", "x5t", "x5t#S256"})
TYPES = frozenset({"JWT", "JOSE"})
"""Access tokens (`at+jwt`), proofs and all other types were signed for another purpose."""
MAX_TRIES = 10


class Listener(Struct, frozen=True):
    """The receiver of the JWT: our issuer and its rules; none of it comes from the caller."""

    issuer: str
    """Our issuer: the required audience, unless the trusted issuer has other ones configured."""
    now: float
    leeway: float


def verified_claims(unverified_statement: Read, keys: KeySet, algorithms: Collection[str]) -> Mapping[str, Any]:
    """The claims of a JWT that one of the keys signed; the claims are not checked yet. Raises a `JoseError`."""
    allowed = [Algorithm(name) for name in algorithms]
    verified, _ = verify_with_one_of(
        unverified_statement, keys, algorithms=allowed, members=HEADER, typ=TYPES, tries=MAX_TRIES
    )
    return verified.claims


def check_statement(claims: Mapping[str, Any], issuer: TrustedIssuer, listener: Listener) -> None:
    """Check issuer, audience and time. Raises `ClaimRefused`."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= MAX_ID:
        raise ClaimRefused("sub", f"sub is missing, or no text of 1 to {MAX_ID} characters")
    said_by = trust_domain(subject) if issuer.kind == "spiffe" else claims.get("iss")
    audiences = issuer.audiences or (listener.issuer,)
    check_claims(
        {**claims, "iss": said_by}, issuer=issuer.issuer, audience=audiences, now=listener.now, leeway=listener.leeway
    )
    if claims["aud"] not in (*audiences, *([each] for each in audiences)):
        raise ClaimRefused("aud", "aud has another value beside ours (rfc7523bis section 4)")
    if "iat" not in claims and issuer.kind != "spiffe":
        raise ClaimRefused("iat", "iat is missing")
    aged = {name: claims[name] for name in ("exp", "iat") if name in claims}
    check_life(aged, listener.now, Window(listener.leeway, issuer.max_life))


def statement_marks(claims: Mapping[str, Any], issuer: TrustedIssuer, window: Window) -> tuple[ReplayMark, ...]:
    """The replay marks of a JWT that is accepted once. Raises `ClaimRefused` when it has no `jti`."""
    if not issuer.single_use:
        return ()
    return (replay_mark("statement", issuer.issuer_id, claims, claims["exp"], window),)
