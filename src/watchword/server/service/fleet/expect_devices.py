"""Add expected devices to a group's list, up to thousands at once, and remove them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from ...audit.fleet_events import DevicesExpected, ExpectedDevicesRemoved
from ...registry.errors import Invalid, NotFound
from ...registry.fleet.expected import ExpectedDevice, read_expected
from ...registry.fleet.ports import FleetReads, FleetRecords
from ..desk import Caller, Desk, found
from ..ports import Contention
from ..registry.membership import SERIAL
from .enrolment_entry import ENROLMENT, mark_of_key

MAX_ROWS = 1_000
_PATIENCE = 30.0
_BREATH = 25
"""Rows between two turns of the event loop, so that tokens are issued meanwhile."""
Outcome = Literal["added", "exists", "enrolled", "refused"]


class ExpectedRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device: a serial number, a public key (JWK, or its RFC 7638 thumbprint), or both; then both have to match."""

    serial: str | None = None
    jwk: dict[str, Any] | None = None
    thumbprint: str | None = None


class ExpectedBatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rows of a request."""

    rows: tuple[ExpectedRow, ...]


class ExpectedResult(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The result for the row number `row`, counted from 0; `enrolled`: the device has enrolled already."""

    row: int
    outcome: Outcome
    field: str = ""
    reason: str = ""


Judged = list[tuple[ExpectedDevice | None, ExpectedResult]]


async def expect_devices(desk: Desk, caller: Caller, group_id: str, batch: ExpectedBatch) -> list[ExpectedResult]:
    """A result for each row; the valid ones are added in one transaction. Repeating the batch changes nothing.

    Raises `Invalid` for a malformed batch, `NotFound`, `Contention` when a concurrent request has the same devices.
    """
    if not 1 <= len(batch.rows) <= MAX_ROWS:
        raise Invalid(f"send 1 to {MAX_ROWS} rows", field="rows")
    read = await _read(caller.tenant_id, group_id, batch.rows)
    async with desk.store.transaction(_PATIENCE) as tx:
        found(await tx.enrolment_groups.get(caller.tenant_id, group_id), "enrolment group")
        judged = await _judged(desk, tx, caller.tenant_id, read)
        new = [device for device, result in judged if device is not None and result.outcome == "added"]
        if new:
            await _add(tx, new)
            tx.record(caller.tenant_id, DevicesExpected(group_id=group_id, count=len(new), **desk.said(caller)))
    return [result for _, result in judged]


async def withdraw_expected(desk: Desk, caller: Caller, group_id: str, entry: str = "") -> None:
    """Remove one device from the list, or all of the group. Raises `NotFound`."""
    async with desk.store.transaction() as tx:
        found(await tx.enrolment_groups.get(caller.tenant_id, group_id), "enrolment group")
        count = await tx.expected.remove(caller.tenant_id, group_id, entry)
        if entry and not count:
            raise NotFound("the group's list has no such entry: serial:NUMBER or key:THUMBPRINT")
        if count:
            event = ExpectedDevicesRemoved(group_id=group_id, count=count, entry=entry, **desk.said(caller))
            tx.record(caller.tenant_id, event)


async def _read(tenant_id: str, group_id: str, rows: Sequence[ExpectedRow]) -> Judged:
    """Read before anything is locked: parsing keys is most of the work. Of duplicate rows the first counts."""
    judged: Judged = []
    seen: set[str] = set()
    for number, row in enumerate(rows):
        result = ExpectedResult(row=number, outcome="added")
        try:
            serial, key = read_expected(row.serial, row.jwk, row.thumbprint)
            names = {f"serial:{serial}"} if serial is not None else set()
            names |= {f"key:{key}"} if key is not None else set()
            if names & seen:
                raise Invalid("its serial number or key stands twice in the list", field="serial")
            seen |= names
            judged.append((ExpectedDevice(tenant_id=tenant_id, group_id=group_id, serial=serial, key=key), result))
        except Invalid as refusal:
            judged.append((None, _refused(result, refusal.field or "", refusal.public)))
        if number % _BREATH == 0:
            await asyncio.sleep(0)
    return judged


async def _judged(desk: Desk, tx: FleetReads, tenant_id: str, read: Judged) -> Judged:
    """Compare with the list and with enrolled devices, so that a repeated batch does not admit a deleted device."""
    devices = [device for device, _ in read if device is not None]
    serials = [device.serial for device in devices if device.serial is not None]
    marks = {device.key: mark_of_key(desk, device.key) for device in devices if device.key is not None}
    listed = await tx.expected.find(tenant_id, serials, list(marks))
    by_serial = {one.serial: one for one in listed if one.serial is not None}
    by_key = {one.key: one for one in listed if one.key is not None}
    here = await tx.fleet.holding(tenant_id, SERIAL, serials)
    known = await tx.fleet.holding(tenant_id, ENROLMENT, list(marks.values()))

    def judge(device: ExpectedDevice, result: ExpectedResult) -> ExpectedResult:
        if device.serial in here or marks.get(device.key or "") in known:
            return replace(result, outcome="enrolled")
        others = [one for one in (by_serial.get(device.serial or ""), by_key.get(device.key or "")) if one is not None]
        if not others:
            return result
        if all(one == device for one in others):
            return replace(result, outcome="exists")
        return _refused(result, "serial", "it is listed with another key or serial number, or in another group")

    return [(device, result if device is None else judge(device, result)) for device, result in read]


def _refused(result: ExpectedResult, field: str, reason: str) -> ExpectedResult:
    return replace(result, outcome="refused", field=field, reason=reason)


async def _add(tx: FleetRecords, new: Sequence[ExpectedDevice]) -> None:
    """Insert, and raise `Contention` when a concurrent request has added the same devices; a retry finds them."""
    await tx.expected.add(new)
    serials = [device.serial for device in new if device.serial is not None]
    listed = await tx.expected.find(new[0].tenant_id, serials, [device.key for device in new if device.key is not None])
    if {device.entry: device for device in listed} != {device.entry: device for device in new}:
        raise Contention("another list has the same devices")
