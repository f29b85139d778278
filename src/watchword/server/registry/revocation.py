"""What APIs that verify by themselves must be told: tokens and applications that are no longer good."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from .model import MAX_LIFETIME, Application

EVERY_API = ""


class Revocation(Struct, frozen=True, kw_only=True):
    """The present state of one token or one application, for the APIs that it concerns.

    `ref` is a `jti` or a client id, `audience` an API's identifier or `EVERY_API`. A token of an application
    is good when that is `enabled` and the token was issued after `not_before_ms`; a token with a revocation of
    its own is not. Nothing is left to be said after `expires_at`, when the last token that it could be about
    has expired.
    """

    kind: Literal["token", "application"]
    ref: str
    audience: str = EVERY_API
    enabled: bool = False
    not_before_ms: int = 0
    expires_at: int


def of_token(token_id: str, audience: str | list[str], expires_at: int) -> list[Revocation]:
    """One for each API that the token was for; the others learn nothing."""
    listed = [audience] if isinstance(audience, str) else audience
    return [Revocation(kind="token", ref=token_id, audience=one, expires_at=expires_at) for one in listed]


def of_application(application: Application, now: float) -> Revocation:
    """For every API of the tenant: which of them its living tokens are for is in no record.

    A grant or a role may have been taken away after a token was issued for it.
    """
    return Revocation(
        kind="application",
        ref=application.client_id,
        enabled=application.active,
        not_before_ms=application.not_before_ms,
        expires_at=int(now) + MAX_LIFETIME,
    )
