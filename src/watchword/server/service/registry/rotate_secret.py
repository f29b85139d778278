"""Rotate and revoke client secrets."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from ...audit.events import SecretRevoked, SecretRotated
from ...registry.errors import Conflict, Invalid, NotFound
from ...registry.model import SECRET_METHODS, Application, Secret
from ..desk import Caller, Desk, found
from .rights import check_may_change

MAX_OVERLAP = 90 * 86_400


class Rotated(Struct, frozen=True):
    """A rotation: the application, its new secret and the secret's text, and the older ones with their new ends."""

    application: Application
    secret: Secret
    text: str
    others: tuple[Secret, ...]
    """The older secrets that were live: `expires_at` says when each ends, in seconds since the epoch."""

    def __repr__(self) -> str:
        return "Rotated(...)"


async def rotate_secret(
    desk: Desk,
    caller: Caller,
    client_id: str,
    overlap: int,
    keep_old: int = 1,
    expires_at: int | None = None,
) -> Rotated:
    """Create a secret. Of the older ones, `keep_old` and the youngest that was used work for `overlap` seconds more.

    The others end now. A rotation that is repeated because its answer was lost leaves the secret in use alone. Of
    concurrent rotations, each hands out a secret that works until a later one supersedes it.
    """
    check_overlap(overlap)
    async with desk.transaction(caller) as tx:
        before: Application = found(await tx.applications.get(caller.tenant_id, client_id), "application")
        await check_may_change(tx, caller, before)
        if before.auth_method not in SECRET_METHODS:
            raise Conflict(f"this application proves itself by {before.auth_method}: it has keys and no secret")
        uses = await tx.last_uses(caller.tenant_id, [secret.id for secret in before.secrets])
        fresh, text = desk.new_secret(expires_at)
        rule = Overlap(overlap, keep_old)
        after, event = rotated(desk, caller, before, desk.kept_for(before, fresh, text), rule, uses)
        await tx.applications.replace(after)
        tx.record(caller.tenant_id, event)
    return Rotated(after, after.secrets[-1], text, _others(before, after, desk.clock()))


def check_overlap(overlap: int) -> None:
    """Raises `Invalid`."""
    if not 0 <= overlap <= MAX_OVERLAP:
        raise Invalid(f"use 0 to {MAX_OVERLAP} seconds", field="overlap")


class Overlap(Struct, frozen=True):
    """How many older secrets go on working, and for how many seconds."""

    seconds: int
    keep_old: int


def rotated(
    desk: Desk, caller: Caller, before: Application, fresh: Secret, rule: Overlap, uses: Mapping[str, int]
) -> tuple[Application, SecretRotated]:
    """The application with the new secret as its last one, and the event. `uses`: last uses by secret id."""
    now = desk.clock()
    ends = int(now) + rule.seconds
    living = [secret for secret in before.secrets if secret.live(now)]
    kept = _kept(living, rule, uses)
    old = tuple(replace(s, expires_at=min(ends, s.expires_at or ends)) for s in kept)
    event = SecretRotated(
        client_id=before.client_id, secret_id=fresh.id, others_expire_at=ends,
        superseded=tuple(s.id for s in living if s not in kept), **desk.said(caller),
    )  # fmt: skip
    return replace(before, secrets=(*old, fresh), version=before.version + 1), event


def _kept(living: list[Secret], rule: Overlap, uses: Mapping[str, int]) -> list[Secret]:
    """The youngest, and the youngest that was used: the application works with that one."""
    if not rule.seconds or not rule.keep_old:
        return []
    youngest = living[-rule.keep_old :]
    used = [secret for secret in living if secret.id in uses][-1:]
    return [secret for secret in living if secret in youngest or secret in used]


def _others(before: Application, after: Application, now: float) -> tuple[Secret, ...]:
    kept = {secret.id: secret for secret in after.secrets}
    living = [secret for secret in before.secrets if secret.live(now) or secret.id in kept]
    return tuple(kept.get(secret.id) or replace(secret, expires_at=int(now)) for secret in living)


async def revoke_secret(desk: Desk, caller: Caller, client_id: str, secret_id: str) -> Application:
    """Revoke one secret now. The last living secret cannot be revoked: disable or delete the application."""
    async with desk.store.transaction() as tx:
        before: Application = found(await tx.applications.get(caller.tenant_id, client_id), "application")
        await check_may_change(tx, caller, before)
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
