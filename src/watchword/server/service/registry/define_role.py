"""Create, change and delete roles."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from ...audit.events import RoleCreated, RoleDeleted, RoleUpdated
from ...registry import rules
from ...registry.admin_rights import check_never_administers
from ...registry.model import Grant, Role
from ..desk import EVERYTHING, Caller, Desk, apis_of, audited_change, changed_fields, check_version, found
from ..ports import Transaction
from .change_application import given
from .rights import check_may_change


class NewRole(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of a new role."""

    name: str
    description: str = ""
    access: tuple[Grant, ...] = ()


class RoleChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields that can be changed."""

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    access: tuple[Grant, ...] | UnsetType = UNSET


async def _check(tx: Transaction, role: Role) -> None:
    rules.check_name(role.name)
    rules.check_text(role.description, "description")
    rules.check_grants(role.access, await apis_of(tx, role.tenant_id), "access")


async def _check_groups(tx: Transaction, role: Role) -> None:
    """No enrolment group has a role that administers, also not one that administers only now. Raises `Invalid`."""
    apis = await apis_of(tx, role.tenant_id)
    for group in await tx.enrolment_groups.page(role.tenant_id, None, EVERYTHING):
        if role.role_id in group.role_ids:
            check_never_administers((), (role.role_id,), {role.role_id: role}, apis, ("access", "access"))


async def create_role(desk: Desk, caller: Caller, wanted: NewRole) -> Role:
    """Raises `Invalid`, `Conflict`."""
    role = Role(
        tenant_id=caller.tenant_id, role_id=desk.new_id(), name=wanted.name, description=wanted.description,
        access=wanted.access, created_at=int(desk.clock()),
    )  # fmt: skip
    async with desk.transaction(caller) as tx:
        await _check(tx, role)
        await check_may_change(tx, caller, role)
        await tx.roles.add(role)
        tx.record(
            caller.tenant_id,
            RoleCreated(role_id=role.role_id, name=role.name, **desk.said(caller)),
        )
    return role


async def update_role(
    desk: Desk,
    caller: Caller,
    role_id: str,
    change: RoleChange,
    expected: int | None = None,
) -> Role:
    """Checked on its final state."""
    async with desk.store.transaction() as tx:
        before: Role = found(await tx.roles.get(caller.tenant_id, role_id), "role")
        check_version(before, expected)
        after = replace(before, **given(change))
        fields = changed_fields(before, after)
        if not fields:
            return before
        after = replace(after, version=before.version + 1)
        await _check(tx, after)
        await check_may_change(tx, caller, before, after)
        await _check_groups(tx, after)
        await tx.roles.replace(after)
        tx.record(
            caller.tenant_id,
            RoleUpdated(role_id=role_id, **audited_change(before, after), **desk.said(caller)),
        )
    return after


async def delete_role(desk: Desk, caller: Caller, role_id: str, expected: int | None = None) -> None:
    """Applications with this role lose its scopes."""
    async with desk.store.transaction() as tx:
        before: Role = found(await tx.roles.get(caller.tenant_id, role_id), "role")
        check_version(before, expected)
        await check_may_change(tx, caller, before)
        await tx.roles.remove(replace(before, version=before.version + 1))
        tx.record(caller.tenant_id, RoleDeleted(role_id=role_id, **desk.said(caller)))
