"""Rotate and revoke client secrets."""

from __future__ import annotations

from msgspec.structs import replace

from ...audit.events import SecretRevoked, SecretRotated
from ...registry.errors import Conflict, Invalid, NotFound
from ...registry.model import SECRET_METHODS, Application, Secret
from ..desk import Caller, Desk, found

MAX_OVERLAP = 90 * 86_400


async def rotate_secret(
    desk: Desk,
    caller: Caller,
    client_id: str,
    overlap: int,
    keep_old: int = 1,
    expires_at: int | None = None,
) -> tuple[Application, Secret, str]:
    """Create a new secret; the `keep_old` newest older ones work for `overlap` seconds more, the others end now.

    Each of several concurrent rotations returns a secret that works until a later rotation replaces it.
    """
    check_overlap(overlap)
    async with desk.transaction(caller) as tx:
        before: Application = found(await tx.applications.get(caller.tenant_id, client_id), "application")
        if before.auth_method not in SECRET_METHODS:
            raise Conflict(f"this application proves itself by {before.auth_method}: it has keys and no secret")
        fresh, text = desk.new_secret(expires_at)
        after, event = rotated(desk, caller, before, desk.kept_for(before, fresh, text), overlap, keep_old)
        await tx.applications.replace(after)
        tx.record(caller.tenant_id, event)
    return after, after.secrets[-1], text


def check_overlap(overlap: int) -> None:
    """Raises `Invalid`."""
    if not 0 <= overlap <= MAX_OVERLAP:
        raise Invalid(f"use 0 to {MAX_OVERLAP} seconds", field="overlap")


def rotated(
    desk: Desk, caller: Caller, before: Application, fresh: Secret, overlap: int, keep_old: int
) -> tuple[Application, SecretRotated]:
    """The record with the new secret."""
    now = desk.clock()
    ends = int(now) + overlap
    living = [secret for secret in before.secrets if secret.live(now)]
    kept = living[-keep_old:] if overlap and keep_old else []
    old = tuple(replace(s, expires_at=min(ends, s.expires_at or ends)) for s in kept)
    event = SecretRotated(
        client_id=before.client_id, secret_id=fresh.id, others_expire_at=ends,
        superseded=tuple(s.id for s in living if s not in kept), **desk.said(caller),
    )  # fmt: skip
    return replace(before, secrets=(*old, fresh), version=before.version + 1), event


async def revoke_secret(desk: Desk, caller: Caller, client_id: str, secret_id: str) -> Application:
    """Revoke one secret now. The last living secret cannot be revoked: disable or delete the application."""
    async with desk.store.transaction() as tx:
        before: Application = found(await tx.applications.get(caller.tenant_id, client_id), "application")
        rest = tuple(secret for secret in before.secrets if secret.id != secret_id)
        if len(rest) == len(before.secrets):
            raise NotFound("there is no such secret")
        if not any(secret.live(desk.clock()) for secret in rest):
            raise Conflict("this is the last secret that works: rotate it with overlap 0, or disable the application")
        after = replace(before, secrets=rest, version=before.version + 1)
        await tx.applications.replace(after)
        tx.record(
            caller.tenant_id,
            SecretRevoked(client_id=client_id, secret_id=secret_id, **desk.said(caller)),
        )
    return after
