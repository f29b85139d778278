"""Put an application into quarantine, or release it."""

from __future__ import annotations

from msgspec.structs import replace

from ...audit.events import ApplicationQuarantined, ApplicationReleased
from ...registry import rules
from ...registry.application_rules import Surroundings, check_application
from ...registry.errors import Conflict
from ...registry.model import Application, Quarantine
from ...registry.revocation import of_application
from ..desk import Caller, Desk, check_version, found, surroundings_of
from ..ports import Transaction
from .rights import check_may_change


async def quarantine_application(
    desk: Desk, caller: Caller, client_id: str, reason: str, expected: int | None = None
) -> Application:
    """The application gets no tokens, and its tokens are inactive, until it is released. Raises a `RegistryError`."""
    async with desk.store.transaction() as tx:
        before: Application = found(await tx.applications.get(caller.tenant_id, client_id), "application")
        check_version(before, expected)
        return await isolate(desk, tx, caller, before, reason)


async def release_application(desk: Desk, caller: Caller, client_id: str, expected: int | None = None) -> Application:
    """End the quarantine; a disabled application stays disabled. Raises a `RegistryError`."""
    async with desk.store.transaction() as tx:
        before: Application = found(await tx.applications.get(caller.tenant_id, client_id), "application")
        check_version(before, expected)
        return await let_out(desk, tx, caller, before)


async def isolate(desk: Desk, tx: Transaction, caller: Caller, before: Application, reason: str) -> Application:
    """`quarantine_application` as a part of a larger change."""
    await check_may_change(tx, caller, before)
    after = isolated(desk, caller, before, reason)
    if after is not before:
        await tx.applications.replace(after)
        record_quarantine(tx, desk, caller, after)
    return after


def isolated(desk: Desk, caller: Caller, before: Application, reason: str) -> Application:
    """The record in quarantine; unchanged if it is already. Raises `Invalid`, `Conflict`."""
    rules.check_text(reason, "reason", 500)
    if before.client_id == caller.actor:
        raise Conflict("an administrator cannot put itself into quarantine; use another one's token for that")
    if before.quarantine is not None:
        return before
    kept = Quarantine(since=int(desk.clock()), reason=reason)
    return replace(before, quarantine=kept, version=before.version + 1)


async def let_out(desk: Desk, tx: Transaction, caller: Caller, before: Application) -> Application:
    """`release_application` as a part of a larger change."""
    await check_may_change(tx, caller, before)
    after = released(before, await surroundings_of(tx, caller.tenant_id))
    if after is not before:
        await tx.applications.replace(after)
        record_quarantine(tx, desk, caller, after)
    return after


def released(before: Application, around: Surroundings) -> Application:
    """The record out of quarantine. Raises `Invalid`, `Conflict`."""
    if before.quarantine is None:
        return before
    after = replace(before, quarantine=None, version=before.version + 1)
    check_application(after, around)
    return after


def record_quarantine(tx: Transaction, desk: Desk, caller: Caller, after: Application) -> None:
    """Record the change in the audit log, and announce it to the APIs."""
    said = desk.said(caller)
    tx.announce(caller.tenant_id, of_application(after, desk.clock()))
    if after.quarantine is None:
        tx.record(caller.tenant_id, ApplicationReleased(client_id=after.client_id, **said))
    else:
        reason = after.quarantine.reason
        tx.record(caller.tenant_id, ApplicationQuarantined(client_id=after.client_id, reason=reason, **said))
