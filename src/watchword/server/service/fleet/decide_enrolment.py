"""Approve or deny a device that waits for approval."""

from __future__ import annotations

from msgspec.structs import replace

from ...audit.fleet_events import EnrolmentApproved, EnrolmentDenied
from ...registry.errors import Conflict
from ...registry.fleet.pending import COLLECTS, PendingEnrolment
from ...registry.fleet.ports import FleetReads
from ..desk import Caller, Desk, found


async def approve_enrolment(desk: Desk, caller: Caller, pending_id: str) -> PendingEnrolment:
    """The device is enrolled when it asks again. Raises `NotFound`; `Conflict` for a denied or expired request."""
    async with desk.store.transaction() as tx:
        before = await _pending(tx, caller, pending_id)
        if before.state == "approved":
            return before
        if before.state == "denied":
            raise Conflict("it was denied, and that is final: register the device by hand, if it may come after all")
        if not before.live(desk.clock()):
            raise Conflict("nobody decided in time: it is here again when the device asks again")
        after = replace(
            before, state="approved", decided_by=caller.actor, expires_at=int(desk.clock()) + COLLECTS,
            version=before.version + 1,
        )  # fmt: skip
        await tx.pending.replace(after)
        event = EnrolmentApproved(pending_id=pending_id, group_id=before.group_id, **desk.said(caller))
        tx.record(caller.tenant_id, event)
    return after


async def deny_enrolment(desk: Desk, caller: Caller, pending_id: str) -> PendingEnrolment:
    """Every further request of the device is denied. Raises `NotFound`, also when it is enrolled already."""
    async with desk.store.transaction() as tx:
        before = await _pending(tx, caller, pending_id)
        if before.state == "denied":
            return before
        after = replace(before, state="denied", decided_by=caller.actor, version=before.version + 1)
        await tx.pending.replace(after)
        event = EnrolmentDenied(pending_id=pending_id, group_id=before.group_id, **desk.said(caller))
        tx.record(caller.tenant_id, event)
    return after


async def _pending(tx: FleetReads, caller: Caller, pending_id: str) -> PendingEnrolment:
    one: PendingEnrolment = found(await tx.pending.get(caller.tenant_id, pending_id), "enrolment that waits")
    return one
