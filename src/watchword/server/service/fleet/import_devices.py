"""Import up to thousands of devices in one request; a repeated request after a lost answer gets the answer again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from msgspec import Struct
from msgspec.structs import replace

from ...audit.events import ApplicationCreated, SecretCreated
from ...protocol.errors import without_frames
from ...registry import client_keys
from ...registry.application_rules import Surroundings, check_application
from ...registry.errors import Conflict, Invalid, RegistryError
from ...registry.fleet.enrolment import EnrolmentGroup, check_serial
from ...registry.model import SECRET_METHODS, Application, AuthMethod, ClientKey, Grant
from ..desk import Caller, Desk, changed_fields, surroundings_of
from ..ports import Contention, Snapshot, Transaction
from ..registry.client_key_changes import record_keys
from ..registry.membership import SERIAL
from .bundle_secrets import of_import, secret_key

MAX_ROWS = 1_000
_PATIENCE = 30.0
"""Seconds for one batch: no token waits for it, but batches wait for each other."""
_BREATH = 25
"""Rows between two turns of the event loop, so that tokens are issued meanwhile."""
Outcome = Literal["created", "exists", "differs", "refused"]
_COMPARED = frozenset({"name", "kind", "auth_method", "grants", "role_ids", "labels", "group_id", "require_bound"})


class DeviceRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One device. Either `group`, the name of an enrolment group, or `grants` and `role_ids` give it its scopes.

    `jwks` is its public key; without one it gets a secret. `labels` override those of the group.
    """

    serial: str
    name: str = ""
    group: str | None = None
    grants: tuple[Grant, ...] = ()
    role_ids: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    auth_method: str | None = None
    jwks: dict[str, Any] | None = None


class DeviceBatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rows of a request. `bundle_key`: 32 random bytes (base64url) of the caller, the same for the whole list.

    Secrets are derived from it and from a key of the server: neither alone is enough, and the same batch gets
    the same secrets again.
    """

    rows: tuple[DeviceRow, ...]
    bundle_key: str | None = None
    dry_run: bool = False


class RowResult(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The result for the row number `row`, counted from 0; `reason` is for `refused` and `differs`."""

    row: int
    serial: str
    outcome: Outcome
    client_id: str = ""
    client_secret: str = ""
    field: str = ""
    reason: str = ""

    def __repr__(self) -> str:
        return f"RowResult({self.row}, {self.outcome})"


class _Known(Struct, frozen=True):
    """What the rows of a batch are checked against."""

    around: Surroundings
    groups: Mapping[str, EnrolmentGroup]
    room: dict[str, int | None]
    devices: Mapping[str, Application]
    secret_key: bytes | None
    now: int


async def import_devices(desk: Desk, caller: Caller, batch: DeviceBatch, bulk_key: bytes) -> list[RowResult]:
    """A result for each row. Valid rows are created in one transaction; an error in one row does not stop the others.

    Raises `Invalid` for a malformed batch, `Contention` when a concurrent import has the same devices.
    """
    key = secret_key(batch.bundle_key, bulk_key, caller.tenant_id)
    if not 1 <= len(batch.rows) <= MAX_ROWS:
        raise Invalid(f"send 1 to {MAX_ROWS} rows", field="rows")
    keys = await _keys_of(batch.rows, int(desk.clock()))
    if batch.dry_run:
        async with desk.store.snapshot() as look:
            results, _ = await _judged(desk, look, caller, batch.rows, keys, key)
        return [replace(result, client_id="", client_secret="") for result in results]
    async with desk.store.transaction(_PATIENCE) as tx:
        results, made = await _judged(desk, tx, caller, batch.rows, keys, key)
        await _create(desk, tx, caller, made)
    return results


async def _keys_of(rows: Sequence[DeviceRow], now: int) -> list[tuple[ClientKey, ...] | Invalid]:
    """Parse the keys before anything is locked: this is most of the work."""
    found: list[tuple[ClientKey, ...] | Invalid] = []
    for number, row in enumerate(rows):
        try:
            found.append(client_keys.read_keys(row.jwks, now) if row.jwks is not None else ())
        except Invalid as refusal:
            found.append(without_frames(refusal))
        if number % _BREATH == 0:
            await asyncio.sleep(0)
    return found


async def _judged(
    desk: Desk, look: Transaction | Snapshot, caller: Caller, rows: Sequence[DeviceRow],
    keys: Sequence[tuple[ClientKey, ...] | Invalid], key: bytes | None,
) -> tuple[list[RowResult], list[Application]]:  # fmt: skip
    known = await _known(look, caller.tenant_id, rows, key, int(desk.clock()))
    results: list[RowResult] = []
    made: dict[str, Application] = {}
    for number, (row, given) in enumerate(zip(rows, keys, strict=True)):
        try:
            if isinstance(given, Invalid):
                raise given
            if row.serial in made:
                raise Invalid("this serial number stands twice in the list", field="serial")
            result, new = _row(desk, caller, known, row, given)
            if new is not None:
                made[row.serial] = new
        except RegistryError as refusal:
            result = RowResult(
                row=number, serial=row.serial, outcome="refused", field=refusal.field or "", reason=refusal.public
            )
        results.append(replace(result, row=number))
        if number % _BREATH == 0:
            await asyncio.sleep(0)
    return results, list(made.values())


async def _known(
    look: Transaction | Snapshot, tenant_id: str, rows: Sequence[DeviceRow], key: bytes | None, now: int
) -> _Known:
    around = await surroundings_of(look, tenant_id)
    groups: dict[str, EnrolmentGroup] = {}
    for name in sorted({row.group for row in rows if row.group}):
        group = await look.enrolment_groups.find(tenant_id, name)
        if group is not None:
            groups[name] = group
    taken = await look.places(tenant_id, [group.group_id for group in groups.values()])
    room = {
        group.group_id: None if group.max_devices is None else group.max_devices - taken.get(group.group_id, 0)
        for group in groups.values()
    }
    devices = await look.fleet.holding(tenant_id, SERIAL, [row.serial for row in rows])
    return _Known(around, groups, room, devices, key, now)


def _row(
    desk: Desk, caller: Caller, known: _Known, row: DeviceRow, keys: tuple[ClientKey, ...]
) -> tuple[RowResult, Application | None]:
    """The result of a row, and the application if it is new. Raises a `RegistryError`."""
    check_serial(row.serial)
    there = known.devices.get(row.serial)
    group = _group(known, row)
    wanted = _wanted(desk, caller, known, row, group, keys, there)
    text = ""
    if there is None or there.auth_method == wanted.auth_method:
        wanted, text = _with_secret(desk, known, group, wanted, there is not None)
    if there is not None:
        return _compared(row, there, wanted, text), None
    check_application(wanted, known.around)
    if group is not None:
        _take_room(known, group)
    result = RowResult(
        row=0, serial=row.serial, outcome="created", client_id=wanted.client_id, client_secret=text
    )  # fmt: skip
    return result, wanted


def _group(known: _Known, row: DeviceRow) -> EnrolmentGroup | None:
    if row.group is None:
        return None
    if row.grants or row.role_ids:
        raise Invalid("name a group, or grants and roles: the group says what its devices may", field="group")
    group = known.groups.get(row.group)
    if group is None:
        raise Invalid(f"there is no enrolment group {row.group[:200]!r}", field="group")
    return group


def _wanted(
    desk: Desk, caller: Caller, known: _Known, row: DeviceRow, group: EnrolmentGroup | None,
    keys: tuple[ClientKey, ...], there: Application | None,
) -> Application:  # fmt: skip
    client_id = there.client_id if there is not None else desk.new_id()
    blank = Application(
        tenant_id=caller.tenant_id, client_id=client_id, name=row.name or row.serial, kind="device", serial=row.serial,
        auth_method=_method(row, group), keys=keys, grants=row.grants, role_ids=row.role_ids, labels=row.labels,
        created_at=known.now,
    )  # fmt: skip
    if group is None:
        return blank
    return replace(
        blank, name=row.name or group.device_name(row.serial, client_id), kind=group.kind, group_id=group.group_id,
        grants=group.grants, role_ids=group.role_ids, labels={**group.labels, **row.labels},
        require_bound=group.require_bound,
    )  # fmt: skip


def _method(row: DeviceRow, group: EnrolmentGroup | None) -> AuthMethod:
    """The authentication method: the row's own, or the one that fits its credentials. Raises `Invalid`."""
    known: tuple[AuthMethod, ...] = get_args(AuthMethod)
    allowed = group.auth_methods if group is not None else known
    fitting = ("private_key_jwt",) if row.jwks is not None else SECRET_METHODS
    wanted = row.auth_method or next((name for name in allowed if name in fitting), "")
    for name in allowed:
        if name == wanted:
            return name
    if row.auth_method:
        raise Invalid(f"use one of {', '.join(allowed)}", field="auth_method")
    raise Invalid(f"this group takes {', '.join(allowed)}: say which, and bring what it needs", field="auth_method")


def _with_secret(
    desk: Desk, known: _Known, group: EnrolmentGroup | None, wanted: Application, there: bool
) -> tuple[Application, str]:
    """The record with the derived secret, if its method uses one. Raises `Invalid`."""
    if wanted.auth_method not in SECRET_METHODS:
        return wanted, ""
    if known.secret_key is None:
        if there:
            return wanted, ""
        raise Invalid("it needs a secret: import it into a bundle, or give its public key", field="bundle_key")
    life = group.secret_lifetime if group is not None else None
    made_of = of_import(known.secret_key, wanted.serial or "")
    kept, text = desk.new_secret(known.now + life if life is not None else None, made_of)
    return replace(wanted, secrets=(desk.kept_for(wanted, kept, text),)), text


def _compared(row: DeviceRow, there: Application, wanted: Application, text: str) -> RowResult:
    """Compare a row with its existing device. Only the same bundle key gets the secret again."""
    fields = [name for name in changed_fields(there, wanted) if name in _COMPARED]
    if [key.jwk for key in there.keys] != [key.jwk for key in wanted.keys]:
        fields.append("jwks")
    digests = {secret.digest for secret in wanted.secrets}
    same = any(secret.digest in digests and secret.live(wanted.created_at) for secret in there.secrets)
    said = RowResult(row=0, serial=row.serial, outcome="exists", client_id=there.client_id)
    if fields:
        reason = f"there is such a device, and it is another one in {', '.join(fields)}"
        return replace(said, outcome="differs", field=fields[0], reason=reason)
    return replace(said, client_secret=text if same else "")


def _take_room(known: _Known, group: EnrolmentGroup) -> None:
    left = known.room[group.group_id]
    if left is None:
        return
    if left <= 0:
        raise Conflict(f"the enrolment group is full: it has {group.max_devices} devices", field="group_id")
    known.room[group.group_id] = left - 1


async def _create(desk: Desk, tx: Transaction, caller: Caller, made: Sequence[Application]) -> None:
    """Create all of them. Raises `Contention` when a concurrent import has the same devices; a retry finds them."""
    tenant_id, said = caller.tenant_id, desk.said(caller)
    if await tx.fleet.claim(tenant_id, SERIAL, {str(each.serial): each.client_id for each in made}):
        raise Contention("another import has the same serial numbers")
    members: dict[str, int] = {}
    for each in made:
        if each.group_id is not None:
            members[each.group_id] = members.get(each.group_id, 0) + 1
    for group_id, count in sorted(members.items()):
        group: EnrolmentGroup | None = await tx.enrolment_groups.get(tenant_id, group_id)
        if group is None or not await tx.take_place(tenant_id, group_id, group.max_devices, count):
            raise Contention("the enrolment group filled up meanwhile")
    await tx.fleet.add(made)
    for each in made:
        tx.record(tenant_id, ApplicationCreated(client_id=each.client_id, name=each.name, **said))
        for secret in each.secrets:
            event = SecretCreated(client_id=each.client_id, secret_id=secret.id, expires_at=secret.expires_at, **said)
            tx.record(tenant_id, event)
        record_keys(tx, desk, caller, replace(each, keys=()), each)
