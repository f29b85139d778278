"""Claim and release an application's serial number and its place in an enrolment group."""

from __future__ import annotations

from ...registry.errors import Conflict, Invalid
from ...registry.fleet.enrolment import EnrolmentGroup, check_serial
from ...registry.model import Application
from ..ports import Transaction

SERIAL = "serial"


async def settle(tx: Transaction, before: Application | None, after: Application) -> None:
    """Claim what `after` has and `before` had not, and release the rest. Raises `Invalid`, `Conflict`.

    One atomic statement takes the place in the group, so that concurrent requests cannot exceed its limit.
    """
    old_serial, old_group = (before.serial, before.group_id) if before is not None else (None, None)
    if after.serial != old_serial:
        await tx.release(after.tenant_id, after.client_id, SERIAL)
        if after.serial is not None:
            check_serial(after.serial)
            await tx.claim(after.tenant_id, SERIAL, after.serial, after.client_id)
    if after.group_id == old_group:
        return
    if after.group_id is not None:
        await _take_place(tx, after.tenant_id, after.group_id)
    if old_group is not None:
        await tx.leave_place(after.tenant_id, old_group)


async def leave(tx: Transaction, gone: Application) -> None:
    """Release its serial number and its place."""
    await tx.release(gone.tenant_id, gone.client_id)
    if gone.group_id is not None:
        await tx.leave_place(gone.tenant_id, gone.group_id)


async def _take_place(tx: Transaction, tenant_id: str, group_id: str) -> None:
    group: EnrolmentGroup | None = await tx.enrolment_groups.get(tenant_id, group_id)
    if group is None:
        raise Invalid(f"there is no enrolment group {group_id!r}", field="group_id")
    if not await tx.take_place(tenant_id, group_id, group.max_devices):
        raise Conflict(f"the enrolment group is full: it has {group.max_devices} devices", field="group_id")
