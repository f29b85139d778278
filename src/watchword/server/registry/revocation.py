"""Revocation entries for APIs that verify tokens offline: revoked tokens, and changed applications."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from .model import MAX_LIFETIME, Application

EVERY_API = ""


class Revocation(Struct, frozen=True, kw_only=True):
    """The present state of one token or one application, for the APIs that it concerns.

    `ref` is a `jti` or a client id, `audience` an API's identifier or `EVERY_API`. A token of an application
    is valid when the application is `enabled` and the token was issued after `not_before_ms`; a token with a
    revocation of its own is not. After `expires_at` the entry is not needed: the last affected token has expired.
    """

    kind: Literal["token", "application"]
    ref: str
    audience: str = EVERY_API
    enabled: bool = False
    not_before_ms: int = 0
    expires_at: int


def of_token(token_id: str, audience: str | list[str], expires_at: int) -> list[Revocation]:
    """One entry for each API that the token was for; other APIs do not get it."""
    listed = [audience] if isinstance(audience, str) else audience
    return [Revocation(kind="token", ref=token_id, audience=one, expires_at=expires_at) for one in listed]


def of_application(application: Application, now: float) -> Revocation:
    """One entry for all APIs of the tenant, because the audiences of living tokens are not stored.

    Its present grants are not enough: a grant may have been removed after a token was issued.
    """
    return Revocation(
        kind="application",
        ref=application.client_id,
        enabled=application.active,
        not_before_ms=application.not_before_ms,
        expires_at=int(now) + MAX_LIFETIME,
    )
