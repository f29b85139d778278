"""The approval queue: devices of groups with approval wait until an administrator decides."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from ....jose.certificate_header import Presented
from ...audit.fleet_events import EnrolmentRequested
from ...protocol.approval import ask_again_in
from ...protocol.enrolment import EnrolmentRequest, admitted, check_expected
from ...protocol.errors import SlowDown
from ...registry.errors import Conflict
from ...registry.fleet.enrolment import EnrolmentGroup
from ...registry.fleet.pending import MAX_WAITING, WAITS, PendingEnrolment
from ...registry.fleet.ports import FleetRecords
from ...registry.secret_text import digest
from ..desk import Caller, Desk
from ..ports import Contention, Transaction
from ..registry.create_application import check_application
from .enrolment_entry import Entry, claim_once, listed_for, ticket_of

QUEUE_FULL = 600
"""Seconds until a device may ask again when the queue is full."""


class Waiting(Struct, frozen=True):
    """The device waits for approval. `ask_again_in` is seconds, `expires_at` seconds since the epoch."""

    ticket: str
    """The text with which the device asks again; empty for devices that authenticate each time."""
    ask_again_in: int
    expires_at: int

    def __repr__(self) -> str:
        return f"Waiting({self.ask_again_in})"


class Asked(Struct, frozen=True):
    """The context of an enrolment request, beside its body."""

    presented: Presented | None = None
    source: str = ""
    request_id: str = ""


class ApprovalQueue:
    """The part of `EnrolDevice`'s transaction for groups with approval."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def approved(self, tx: Transaction, entry: Entry) -> bool:
        """Whether an administrator has approved it; locks the row until the end. Raises `Contention`."""
        seen = entry.pending
        if seen is None:
            return False
        pending = await tx.pending.get(seen.tenant_id, seen.pending_id)
        if pending is None or pending.version != seen.version:
            raise Contention("it was decided or collected meanwhile")
        return pending.state == "approved" and pending.live(self._desk.clock())

    async def collect(self, tx: Transaction, entry: Entry, client_id: str) -> None:
        """Use the code, or delete the waiting request, which used the code before; its ticket still gets the answer."""
        pending = entry.pending
        if pending is None:
            await self._use_code(tx, entry)
            return
        await tx.pending.drop(pending.tenant_id, pending.group_id, pending.pending_id)
        if pending.ticket:
            await claim_once(tx, pending.tenant_id, pending.ticket, client_id)

    async def ask(
        self, tx: Transaction, group: EnrolmentGroup, entry: Entry, own_key: str, wanted: EnrolmentRequest, asked: Asked
    ) -> Waiting:
        """Add the device to the queue. A device against the policy is rejected at once, without using its code."""
        desk, now, before = self._desk, int(self._desk.clock()), entry.pending
        device = check_expected(group, await listed_for(tx, entry), entry.serial, entry.key)
        serial = (device.serial if device is not None else None) or entry.serial
        await check_application(tx, admitted(group, replace(wanted, serial=serial), desk.new_id(), now))
        if await tx.pending.count_waiting(group.tenant_id, group.group_id, now) >= MAX_WAITING:
            raise SlowDown(QUEUE_FULL, rule="approval")
        ticket = digest(desk.pepper, ticket_of(desk, entry.mark).encode()) if entry.way == "code" else ""
        made = PendingEnrolment(
            tenant_id=group.tenant_id, pending_id=desk.new_id(), group_id=group.group_id, mark=entry.mark,
            ticket=ticket, way=entry.way, serial=serial, key=entry.key, own_key=own_key, source=asked.source,
            requested_at=now, expires_at=now + WAITS,
        )  # fmt: skip
        if before is not None:
            made = replace(made, pending_id=before.pending_id, version=before.version + 1)
            await tx.pending.replace(made)
        else:
            await self._use_code(tx, entry)
            await _add(tx, made)
        event = EnrolmentRequested(
            pending_id=made.pending_id, group_id=made.group_id, way=made.way, serial=made.serial,
            **desk.said(Caller(group.tenant_id, "system", asked.request_id)),
        )  # fmt: skip
        tx.record(group.tenant_id, event)
        return self.waiting(made)

    def waiting(self, pending: PendingEnrolment) -> Waiting:
        """The answer to a waiting device."""
        ticket = ticket_of(self._desk, pending.mark) if pending.ticket else ""
        return Waiting(ticket, ask_again_in(pending, self._desk.clock()), pending.expires_at)

    async def _use_code(self, tx: FleetRecords, entry: Entry) -> None:
        if entry.code and not await tx.codes.use(entry.tenant_id, entry.code, int(self._desk.clock())):
            raise Contention("the code was used up or withdrawn meanwhile")


async def _add(tx: FleetRecords, made: PendingEnrolment) -> None:
    try:
        await tx.pending.add(made)
    except Conflict:
        raise Contention("another request of this device came first") from None
