"""Build the claims of access tokens and transaction tokens."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from .access import Access

_encoder = msgspec.json.Encoder()


class AccessTokenClaims(Struct, frozen=True, omit_defaults=True):
    """RFC 9068 section 2.2. `aud` is a string when there is one audience."""

    iss: str
    sub: str
    aud: str | tuple[str, ...]
    client_id: str
    exp: int
    iat: int
    jti: str
    scope: str
    cnf: dict[str, str] | None = None
    """The confirmation of a bound token (RFC 7800 section 3.1)."""
    status: dict[str, Any] | None = None
    """The reference to a status list for its revocation (draft-ietf-oauth-status-list-21 section 6.2)."""
    may_act: dict[str, str] | None = None
    act: dict[str, Any] | None = None
    subject_tokens: tuple[str, ...] = ()
    """A private claim: see `access.Exchanged`."""
    authorization_details: tuple[dict[str, Any], ...] = ()


def access_token_claims(
    access: Access, issuer: str, now: int, token_id: str, status: dict[str, Any] | None = None
) -> AccessTokenClaims:
    """Pure: the same arguments give the same claims."""
    audience, exchanged, expires_at = access.audience, access.exchanged, now + access.settings.lifetime
    return AccessTokenClaims(
        issuer,
        access.subject,
        audience[0] if len(audience) == 1 else audience,
        access.subject if exchanged is None else exchanged.actor,
        expires_at if exchanged is None else min(expires_at, exchanged.expires_at),
        now,
        token_id,
        " ".join(access.scopes),
        access.confirmation,
        status,
        {"sub": access.may_act} if access.may_act else None,
        None if exchanged is None else exchanged.act,
        () if exchanged is None else exchanged.subject_tokens,
        access.details,
    )


def encode(claims: object) -> bytes:
    """The JSON that is signed."""
    return _encoder.encode(claims)


def encode_members(claims: dict[str, Any]) -> bytes:
    """Claims whose names the tenant chooses, as JSON."""
    return _encoder.encode(claims)


def token_id(now: float, random_hex: str) -> str:
    """A `jti` that begins with its time in milliseconds, so that a cut-off can tell tokens of one second apart."""
    return f"{int(now * 1000):012x}{random_hex}"


def issued_ms(unverified_token_id: str) -> int | None:
    """The milliseconds in our `jti`; None for any other text."""
    try:
        return int(unverified_token_id[:12], 16) if len(unverified_token_id) == 32 else None
    except ValueError:
        return None
