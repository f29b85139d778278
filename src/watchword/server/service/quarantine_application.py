"""Put an application into quarantine, and let it out again."""

from __future__ import annotations

from msgspec.structs import replace

from ..audit.events import ApplicationQuarantined, ApplicationReleased
from ..registry import rules
from ..registry.errors import Conflict
from ..registry.model import Application, Quarantine
from ..registry.revocation import of_application
from .create_application import check_application
from .desk import Caller, Desk, check_version, found
from .ports import Transaction


async def quarantine_application(
    desk: Desk, caller: Caller, client_id: str, reason: str, expected: int | None = None
) -> Application:
    """No token by any grant, and those that it has are inactive, until it is released. Raises a `RegistryError`."""
    async with desk.store.transaction() as tx:
        before: Application = found(await tx.applications.get(caller.tenant_id, client_id), "application")
        check_version(before, expected)
        return await isolate(desk, tx, caller, before, reason)


async def release_application(desk: Desk, caller: Caller, client_id: str, expected: int | None = None) -> Application:
    """Out of quarantine, and otherwise as it was: a disabled one stays disabled. Raises a `RegistryError`."""
    async with desk.store.transaction() as tx:
        before: Application = found(await tx.applications.get(caller.tenant_id, client_id), "application")
        check_version(before, expected)
        return await let_out(desk, tx, caller, before)


async def isolate(desk: Desk, tx: Transaction, caller: Caller, before: Application, reason: str) -> Application:
    """`quarantine_application` as a part of a larger change. One that is in quarantine stays as it is."""
    rules.check_text(reason, "reason", 500)
    if before.client_id == caller.actor:
        raise Conflict("an administrator cannot put itself into quarantine; use another one's token for that")
    if before.quarantine is not None:
        return before
    kept = Quarantine(since=int(desk.clock()), reason=reason)
    after = replace(before, quarantine=kept, version=before.version + 1)
    await tx.applications.replace(after)
    tx.announce(caller.tenant_id, of_application(after, desk.clock()))
    event = ApplicationQuarantined(client_id=before.client_id, reason=reason, **desk.said(caller))
    tx.record(caller.tenant_id, event)
    return after


async def let_out(desk: Desk, tx: Transaction, caller: Caller, before: Application) -> Application:
    """`release_application` as a part of a larger change."""
    if before.quarantine is None:
        return before
    after = replace(before, quarantine=None, version=before.version + 1)
    await check_application(tx, after)
    await tx.applications.replace(after)
    tx.announce(caller.tenant_id, of_application(after, desk.clock()))
    tx.record(caller.tenant_id, ApplicationReleased(client_id=before.client_id, **desk.said(caller)))
    return after
