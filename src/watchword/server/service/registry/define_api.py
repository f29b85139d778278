"""Create, change and delete APIs."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from ...audit.events import ApiCreated, ApiDeleted, ApiUpdated, RoleUpdated
from ...registry import details_types, rules
from ...registry.admin_rights import check_admin_api
from ...registry.errors import Conflict, Invalid
from ...registry.model import ADMIN_API, Api, DetailsType, Grant, Role, Scope, Tenant, TokenSettings
from ...registry.profiles import PROFILES, api_gap
from ..desk import Caller, Desk, audited_change, changed_fields, check_version, found, roles_of
from ..keys.rotate_key import RotateKey
from ..ports import Transaction
from .change_application import given


class NewApi(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of a new API."""

    identifier: str
    name: str
    scopes: tuple[Scope, ...] = ()
    tokens: TokenSettings = TokenSettings()
    introspectors: tuple[str, ...] = ()
    require_bound: bool = False
    signed_introspection: bool = False
    details_types: tuple[DetailsType, ...] = ()


class ApiChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields that can be changed; the identifier cannot, because tokens contain it."""

    name: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    scopes: tuple[Scope, ...] | UnsetType = UNSET
    tokens: TokenSettings | UnsetType = UNSET
    introspectors: tuple[str, ...] | UnsetType = UNSET
    require_bound: bool | UnsetType = UNSET
    signed_introspection: bool | UnsetType = UNSET
    details_types: tuple[DetailsType, ...] | UnsetType = UNSET


def _check(api: Api) -> None:
    rules.check_identifier(api.identifier)
    rules.check_name(api.name)
    rules.check_token_settings(api.tokens)
    rules.check_unique((scope.name for scope in api.scopes), "scopes")
    for scope in api.scopes:
        rules.check_scope_name(scope.name)
        rules.check_text(scope.description, "scopes")
    details_types.check_types(api.details_types)
    rules.check_unique(api.introspectors, "introspectors")
    for client_id in api.introspectors:
        rules.check_client_id(client_id)


async def _check_profile(tx: Transaction, api: Api) -> None:
    tenant: Tenant = found(await tx.tenants.get("", api.tenant_id), "tenant")
    gap = api_gap(PROFILES[tenant.profile], api) if api.enabled else ""
    if gap:
        raise Invalid(f"under the profile {tenant.profile} of this tenant {gap}", field="tokens.algorithm")


async def create_api(desk: Desk, keys: RotateKey, caller: Caller, wanted: NewApi) -> Api:
    """Also creates a signing key of its algorithm, if the tenant has none. Raises `Invalid`, `Conflict`."""
    async with desk.transaction(caller) as tx:
        return await add_api(desk, keys, tx, caller, wanted)


async def add_api(desk: Desk, keys: RotateKey, tx: Transaction, caller: Caller, wanted: NewApi) -> Api:
    """`create_api` as a part of a larger change."""
    api = Api(
        tenant_id=caller.tenant_id, api_id=desk.new_id(), identifier=wanted.identifier, name=wanted.name,
        scopes=wanted.scopes, tokens=wanted.tokens, introspectors=wanted.introspectors,
        require_bound=wanted.require_bound, signed_introspection=wanted.signed_introspection,
        details_types=wanted.details_types,
        created_at=int(desk.clock()),
    )  # fmt: skip
    _check(api)
    await _check_profile(tx, api)
    await tx.apis.add(api)
    tx.record(
        caller.tenant_id,
        ApiCreated(api_id=api.api_id, identifier=api.identifier, **desk.said(caller)),
    )
    await keys.ensure(tx, caller.tenant_id, api.tokens.algorithm, caller.actor)
    return api


async def update_api(
    desk: Desk,
    keys: RotateKey,
    caller: Caller,
    api_id: str,
    change: ApiChange,
    expected: int | None = None,
) -> Api:
    """A removed scope is removed from every role; grants keep its name without effect."""
    async with desk.store.transaction() as tx:
        before: Api = found(await tx.apis.get(caller.tenant_id, api_id), "API")
        check_version(before, expected)
        return await change_api(desk, keys, tx, caller, before, change)


async def change_api(
    desk: Desk, keys: RotateKey, tx: Transaction, caller: Caller, before: Api, change: ApiChange
) -> Api:
    """`update_api` as a part of a larger change."""
    after = replace(before, **given(change))
    fields = changed_fields(before, after)
    if not fields:
        return before
    _check(after)
    if before.identifier == ADMIN_API:
        check_admin_api(before, after)
    await _check_profile(tx, after)
    after = replace(after, version=before.version + 1)
    await tx.apis.replace(after)
    await _drop_from_roles(desk, tx, caller, after)
    tx.record(
        caller.tenant_id,
        ApiUpdated(api_id=after.api_id, **audited_change(before, after), **desk.said(caller)),
    )
    await keys.ensure(tx, caller.tenant_id, after.tokens.algorithm, caller.actor)
    return after


async def delete_api(desk: Desk, caller: Caller, api_id: str, expected: int | None = None) -> None:
    """Its grants and role entries end. Watchword's own administration API cannot be deleted."""
    async with desk.store.transaction() as tx:
        before: Api = found(await tx.apis.get(caller.tenant_id, api_id), "API")
        check_version(before, expected)
        await remove_api(desk, tx, caller, before)


async def remove_api(desk: Desk, tx: Transaction, caller: Caller, before: Api) -> None:
    """`delete_api` as a part of a larger change."""
    if before.identifier == ADMIN_API:
        raise Conflict("Watchword's own API cannot be deleted")
    await _drop_from_roles(desk, tx, caller, replace(before, scopes=()))
    await tx.apis.remove(replace(before, version=before.version + 1))
    tx.record(caller.tenant_id, ApiDeleted(api_id=before.api_id, **desk.said(caller)))


async def _drop_from_roles(desk: Desk, tx: Transaction, caller: Caller, api: Api) -> None:
    """Remove scopes that the API does not offer from all roles."""
    for role in (await roles_of(tx, api.tenant_id)).values():
        access = tuple(entry for entry in (_narrowed(entry, api) for entry in role.access) if entry.scopes)
        if access != role.access:
            mended: Role = replace(role, access=access, version=role.version + 1)
            await tx.roles.replace(mended)
            told = audited_change(role, mended)
            tx.record(api.tenant_id, RoleUpdated(role_id=role.role_id, **told, **desk.said(caller)))


def _narrowed(entry: Grant, api: Api) -> Grant:
    if entry.api_id != api.api_id:
        return entry
    return Grant(
        api_id=entry.api_id,
        scopes=tuple(name for name in entry.scopes if name in api.scope_names()),
    )
