"""Create, change and delete enrolment groups."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import asdict, replace

from ...audit.fleet_events import EnrolmentGroupCreated, EnrolmentGroupDeleted, EnrolmentGroupUpdated
from ...registry.certificates import MAX_GROUP_ANCHORS, read_anchors
from ...registry.errors import Conflict, Invalid
from ...registry.fleet.enrolment import Approval, EnrolmentGroup, EnrolmentPolicy, Way, check_group
from ...registry.model import AuthMethod, Grant, Kind
from ...registry.rate_limit import RateLimit
from ..desk import Caller, Desk, apis_of, audited_change, changed_fields, check_version, found, roles_of
from ..ports import Transaction
from ..registry.change_application import given


class NewEnrolmentGroup(EnrolmentPolicy, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of a new enrolment group."""


class EnrolmentGroupChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields that can be changed; absent fields keep their value (RFC 7396). Its devices do not change.

    `rate_limit` applies to its devices at once.
    """

    name: str | UnsetType = UNSET
    kind: Kind | UnsetType = UNSET
    auth_methods: tuple[AuthMethod, ...] | UnsetType = UNSET
    grants: tuple[Grant, ...] | UnsetType = UNSET
    role_ids: tuple[str, ...] | UnsetType = UNSET
    labels: dict[str, str] | UnsetType = UNSET
    name_pattern: str | UnsetType = UNSET
    max_devices: int | UnsetType | None = UNSET
    expires_at: int | UnsetType | None = UNSET
    secret_lifetime: int | UnsetType | None = UNSET
    require_bound: bool | UnsetType = UNSET
    ways: tuple[Way, ...] | UnsetType = UNSET
    rate_limit: RateLimit | UnsetType | None = UNSET
    only_expected: bool | UnsetType = UNSET
    approval: Approval | UnsetType = UNSET
    anchors: str | UnsetType = UNSET
    certificate_lifetime: int | UnsetType = UNSET


async def create_enrolment_group(desk: Desk, caller: Caller, wanted: NewEnrolmentGroup) -> EnrolmentGroup:
    """Raises `Invalid`, and `Conflict` when the name exists."""
    now = int(desk.clock())
    _check_anchors(wanted.anchors, now)
    group = EnrolmentGroup(tenant_id=caller.tenant_id, group_id=desk.new_id(), created_at=now, **asdict(wanted))
    async with desk.transaction(caller) as tx:
        await _check(tx, group)
        await tx.enrolment_groups.add(group)
        event = EnrolmentGroupCreated(group_id=group.group_id, name=group.name, **desk.said(caller))
        tx.record(caller.tenant_id, event)
    return group


async def update_enrolment_group(
    desk: Desk, caller: Caller, group_id: str, change: EnrolmentGroupChange, expected: int | None = None
) -> EnrolmentGroup:
    """Checked on its final state; applies to later enrolments. Raises a `RegistryError`."""
    fields = given(change)
    async with desk.store.transaction() as tx:
        before: EnrolmentGroup = found(await tx.enrolment_groups.get(caller.tenant_id, group_id), "enrolment group")
        check_version(before, expected)
        after = replace(before, **fields)
        changed = changed_fields(before, after)
        if not changed:
            return before
        if "anchors" in changed:
            _check_anchors(after.anchors, int(desk.clock()))
        after = replace(after, version=before.version + 1)
        await _check(tx, after)
        await tx.enrolment_groups.replace(after)
        told = audited_change(before, after)
        tx.record(caller.tenant_id, EnrolmentGroupUpdated(group_id=group_id, **told, **desk.said(caller)))
    return after


async def delete_enrolment_group(desk: Desk, caller: Caller, group_id: str, expected: int | None = None) -> None:
    """Delete an empty group: its devices have to be moved or deleted before. Raises `Conflict`."""
    async with desk.store.transaction() as tx:
        before: EnrolmentGroup = found(await tx.enrolment_groups.get(caller.tenant_id, group_id), "enrolment group")
        check_version(before, expected)
        devices = await tx.places(caller.tenant_id, [group_id])
        if devices.get(group_id):
            raise Conflict(
                f"{devices[group_id]} devices are in it: move them to another group or delete them; "
                "or set expires_at, so that nobody enrols any more"
            )
        await tx.codes.withdraw(caller.tenant_id, group_id)
        await tx.expected.remove(caller.tenant_id, group_id)
        await tx.pending.drop(caller.tenant_id, group_id)
        await tx.enrolment_groups.remove(replace(before, version=before.version + 1))
        tx.record(caller.tenant_id, EnrolmentGroupDeleted(group_id=group_id, **desk.said(caller)))


def _check_anchors(pem: str, now: int) -> None:
    """Checked only when they are given: an anchor that has expired since must not block other changes."""
    if pem and len(read_anchors(pem, now, "anchors")) > MAX_GROUP_ANCHORS:
        raise Invalid(f"a group has at most {MAX_GROUP_ANCHORS} trust anchors", field="anchors")


async def _check(tx: Transaction, group: EnrolmentGroup) -> None:
    check_group(group, await apis_of(tx, group.tenant_id), await roles_of(tx, group.tenant_id))
