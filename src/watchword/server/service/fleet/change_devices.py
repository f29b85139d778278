"""Bulk changes: disable, enable, quarantine, release or rotate thousands of devices, by the rules of a single change.

A batch is one transaction with its audit events and its feed entries. After a lost answer the caller repeats the
request: changed devices stay as they are, and the same bundle key gets the same secrets again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

from msgspec import Struct

from ...registry import rules
from ...registry.application_rules import Surroundings
from ...registry.errors import Invalid, RegistryError
from ...registry.fleet.enrolment import EnrolmentGroup, check_serial
from ...registry.fleet.ports import FleetReads
from ...registry.model import SECRET_METHODS, Application
from ...registry.tags import group_tag, label_tag, tags_of
from ..desk import Caller, Desk, surroundings_of
from ..ports import Snapshot, Transaction
from ..registry.change_application import ApplicationChange, changed_application, record_change
from ..registry.membership import SERIAL
from ..registry.quarantine_application import isolated, record_quarantine, released
from ..registry.rights import Rights
from ..registry.rotate_secret import Overlap, check_overlap, rotated
from .bundle_secrets import of_rotation, secret_key

MAX_BATCH = 1_000
_PATIENCE = 30.0
"""Seconds for one batch: no token waits for it, but batches wait for each other."""
_BREATH = 25
"""Devices between two turns of the event loop, so that tokens are issued meanwhile."""
Action = Literal["disable", "enable", "quarantine", "release", "rotate"]
Outcome = Literal["changed", "unchanged", "skipped", "refused", "missing"]


class DeviceChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to do with the devices that have all of these `labels` and are in `group` (by name), or with `serials`.

    `limit` is of one batch. `reason` is for quarantine; `overlap`, seconds for which the older secret still works, and
    `bundle_key`, 32 random bytes in base64url that are made once, for rotate.
    """

    action: Action
    labels: dict[str, str] = {}
    group: str | None = None
    serials: tuple[str, ...] = ()
    limit: int = 250
    cursor: str | None = None
    dry_run: bool = False
    reason: str = ""
    overlap: int = 86_400
    bundle_key: str | None = None

    def selection(self) -> list[str]:
        """A text that is the same for the same selection."""
        labels = [part for name in sorted(self.labels) for part in (name, self.labels[name])]
        return [self.action, self.group or "", *labels]


class DeviceResult(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The result for one device; `reason` is for `skipped` and `refused`."""

    client_id: str
    serial: str
    outcome: Outcome
    client_secret: str = ""
    field: str = ""
    reason: str = ""

    def __repr__(self) -> str:
        return f"DeviceResult({self.client_id}, {self.outcome})"


class Batch(Struct, frozen=True):
    """The results of a batch; `last` is the client id after which the next batch begins, None at the end.

    `selected` is the number of all selected devices, for a dry run.
    """

    results: list[DeviceResult]
    last: str | None
    selected: int | None = None


class _Changed(Struct, frozen=True):
    before: Application
    after: Application
    record: Callable[[Transaction], None]
    """Records the audit event."""


class _Known(Struct, frozen=True):
    """What the devices of a batch are checked against."""

    around: Surroundings
    lives: dict[str, int | None]
    """The lifetime of secrets in seconds, by enrolment group."""
    secret_key: bytes | None
    keep_old: int
    uses: Mapping[str, int]
    """The last uses of the devices' secrets, by secret id."""
    rights: Rights
    """What the caller holds: devices that hold more are refused."""


class _Selected(Struct, frozen=True):
    devices: list[Application]
    missing: list[str]
    last: str | None
    count: int | None


async def change_devices(
    desk: Desk, caller: Caller, change: DeviceChange, after: str, bulk_key: bytes, keep_old: int
) -> Batch:
    """Change the devices of the batch after the client id `after`; an error of one device does not stop the others.

    Raises `Invalid` for a contradictory change.
    """
    key = secret_key(change.bundle_key, bulk_key, caller.tenant_id)
    _check(change)
    if change.dry_run:
        async with desk.store.snapshot() as look:
            batch, _ = await _judged(desk, look, caller, change, after, key, keep_old)
        return batch
    async with desk.store.transaction(_PATIENCE) as tx:
        batch, changes = await _judged(desk, tx, caller, change, after, key, keep_old)
        await tx.fleet.replace([(each.before, each.after) for each in changes])
        for each in changes:
            each.record(tx)
    return batch


def _check(change: DeviceChange) -> None:
    chosen = bool(change.labels) or change.group is not None
    if chosen == bool(change.serials):
        raise Invalid("say which: by labels, a group or both, or by serial numbers", field="serials")
    if len(change.serials) > MAX_BATCH:
        raise Invalid(f"send at most {MAX_BATCH} serial numbers", field="serials")
    rules.check_unique(change.serials, "serials")
    if not 1 <= change.limit <= MAX_BATCH:
        raise Invalid(f"use 1 to {MAX_BATCH}", field="limit")
    rules.check_labels(change.labels, "labels")
    if change.group is not None:
        rules.check_name(change.group, "group")
    rules.check_text(change.reason, "reason", 500)
    check_overlap(change.overlap)
    if change.action == "rotate" and change.bundle_key is None and not change.dry_run:
        why = "new secrets are told once: send 32 random bytes, the same until all is done"
        raise Invalid(why, field="bundle_key")


async def _judged(
    desk: Desk, look: Snapshot, caller: Caller, change: DeviceChange, after: str, key: bytes | None,
    keep_old: int,
) -> tuple[Batch, list[_Changed]]:  # fmt: skip
    found = await _selected(look, caller.tenant_id, change, after)
    around = await surroundings_of(look, caller.tenant_id)
    lives = await _lives(look, caller.tenant_id, found.devices) if change.action == "rotate" else {}
    secrets = [secret.id for each in found.devices for secret in each.secrets] if change.action == "rotate" else []
    uses, rights = await look.last_uses(caller.tenant_id, secrets), await Rights.seen(look, caller)
    known = _Known(around, lives, key, keep_old, uses, rights)
    results: list[DeviceResult] = []
    changes: list[_Changed] = []
    for number, before in enumerate(found.devices):
        try:
            result, changed = _judge(desk, caller, change, known, before)
        except RegistryError as refusal:
            result, changed = _result(before, "refused", reason=refusal.public, field=refusal.field or ""), None
        results.append(result)
        if changed is not None:
            changes.append(changed)
        if number % _BREATH == 0:
            await asyncio.sleep(0)
    results += [DeviceResult(client_id="", serial=serial, outcome="missing") for serial in found.missing]
    return Batch(results, found.last, found.count), changes


async def _selected(
    look: FleetReads, tenant_id: str, change: DeviceChange, after: str
) -> _Selected:  # fmt: skip
    if change.serials:
        held = await look.fleet.holding(tenant_id, SERIAL, [each for each in change.serials if _possible(each)])
        devices = await look.fleet.named(tenant_id, sorted(each.client_id for each in held.values()))
        devices = [each for each in devices if each.serial in held]  # a serial number may have moved until the lock
        there = {each.serial for each in devices}
        return _Selected(devices, [serial for serial in change.serials if serial not in there], None, len(devices))
    tags = await tags_for(look, tenant_id, change.labels, change.group)
    ids = await look.fleet.find(tenant_id, tags, after, change.limit)
    devices = [each for each in await look.fleet.named(tenant_id, ids) if tags_of(each).issuperset(tags)]
    count = await look.fleet.count(tenant_id, tags) if change.dry_run and not after else None
    return _Selected(devices, [], ids[-1] if len(ids) == change.limit else None, count)


def _possible(unverified_serial: str) -> bool:
    """Whether any device can have this serial number; others cannot be looked up in every database."""
    try:
        check_serial(unverified_serial)
    except Invalid:
        return False
    return True


async def tags_for(look: FleetReads, tenant_id: str, labels: dict[str, str], group_name: str | None) -> list[str]:
    """The tags of the selected devices. Raises `Invalid` for an unknown group."""
    tags = [label_tag(name, value) for name, value in labels.items()]
    if group_name is None:
        return tags
    group: EnrolmentGroup | None = await look.enrolment_groups.find(tenant_id, group_name)
    if group is None:
        raise Invalid(f"there is no enrolment group {group_name[:200]!r}", field="group")
    return [group_tag(group.group_id), *tags]


async def _lives(
    look: FleetReads, tenant_id: str, devices: Sequence[Application]
) -> dict[str, int | None]:  # fmt: skip
    lives: dict[str, int | None] = {}
    for group_id in sorted({each.group_id for each in devices if each.group_id is not None}):
        group: EnrolmentGroup | None = await look.enrolment_groups.get(tenant_id, group_id)
        lives[group_id] = group.secret_lifetime if group is not None else None
    return lives


def _judge(
    desk: Desk, caller: Caller, change: DeviceChange, known: _Known, before: Application
) -> tuple[DeviceResult, _Changed | None]:
    """Raises a `RegistryError`."""
    known.rights.check(before)
    if before.kind != "device" and not change.serials and change.group is None:
        return _result(before, "skipped", reason=f"it is a {before.kind}, and labels alone reach devices only"), None
    if change.action == "rotate":
        return _rotated(desk, caller, change, known, before)
    if change.action in ("quarantine", "release"):
        isolates = change.action == "quarantine"
        after = isolated(desk, caller, before, change.reason) if isolates else released(before, known.around)
        record: Callable[[Transaction], None] = partial(record_quarantine, desk=desk, caller=caller, after=after)
    else:
        enabled = change.action == "enable"
        wanted = ApplicationChange(enabled=enabled)
        same = before.enabled == enabled
        after = before if same else changed_application(desk, caller, before, wanted, known.around)
        record = partial(record_change, desk=desk, caller=caller, before=before, after=after)
    if after is before:
        return _result(before, "unchanged"), None
    return _result(before, "changed"), _Changed(before, after, record)


def _rotated(
    desk: Desk, caller: Caller, change: DeviceChange, known: _Known, before: Application
) -> tuple[DeviceResult, _Changed | None]:
    if before.auth_method not in SECRET_METHODS:
        return _result(before, "skipped", reason=f"it proves itself by {before.auth_method}: it has no secret"), None
    if known.secret_key is None:
        return _result(before, "changed"), None
    life = known.lives.get(before.group_id or "")
    expires_at = int(desk.clock()) + life if life is not None else None
    fresh, text = desk.new_secret(expires_at, of_rotation(known.secret_key, before.client_id))
    if any(secret.digest == fresh.digest and secret.live(desk.clock()) for secret in before.secrets):
        return _result(before, "unchanged", client_secret="" if change.dry_run else text), None
    rule = Overlap(change.overlap, known.keep_old)
    after, event = rotated(desk, caller, before, desk.kept_for(before, fresh, text), rule, known.uses)
    changed = _Changed(before, after, lambda tx: tx.record(caller.tenant_id, event))
    return _result(before, "changed", client_secret="" if change.dry_run else text), changed


def _result(
    device: Application, outcome: Outcome, *, client_secret: str = "", reason: str = "", field: str = ""
) -> DeviceResult:
    return DeviceResult(
        client_id=device.client_id, serial=device.serial or "", outcome=outcome, client_secret=client_secret,
        field=field, reason=reason,
    )  # fmt: skip
