"""Make a new administrator on the server's host, when no credentials of one are left.

The way back in: whoever has the database and the master key may use it. The administration API gets back what would
keep an administrator out, and the audit log says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from ...audit.events import AdministratorRecovered, ApiUpdated, ApplicationCreated, TenantUpdated
from ...registry.errors import Invalid, NotFound
from ...registry.model import ADMIN_API, Api, Tenant
from ..desk import EVERYTHING, Caller, Desk, apis_of, audited_change
from ..ports import Transaction
from .create_tenant import FirstAdmin, Keep, admin_scopes, administrator, credential_events


async def recover_administrator(
    desk: Desk, slug: str, *, user: str, keep: Keep, jwks: Mapping[str, Any] | None = None
) -> FirstAdmin:
    """A new application with every administration scope of the tenant; `user` is who asked, on the host.

    Raises `NotFound` for a tenant that there is not, `Invalid` for keys that are none, or for a secret in a tenant
    whose profile forbids secrets, and what `keep` raises; then nothing is changed.
    """
    secret, text = desk.new_secret() if jwks is None else (None, "")
    async with desk.store.transaction() as tx:
        tenant = await _tenant(tx, slug)
        if tenant.profile and secret is not None:
            raise Invalid(f"tenant {slug} has the profile {tenant.profile}, without secrets: give a public key")
        caller = Caller(tenant.tenant_id, "system")
        said = desk.said(caller)
        api = await _usable_api(tx, desk, caller, tenant)
        admin = administrator(
            tenant, api, desk.new_id(), secret=secret, jwks=jwks, at=int(desk.clock()),
            description=f"Recovered on the server's host by {user}; holds every administration scope.",
        )  # fmt: skip
        await tx.applications.add(admin)
        tx.record(tenant.tenant_id, ApplicationCreated(client_id=admin.client_id, name=admin.name, **said))
        for event in credential_events(admin, **said):
            tx.record(tenant.tenant_id, event)
        tx.record(tenant.tenant_id, AdministratorRecovered(client_id=admin.client_id, user=user, **said))
        keep(admin.client_id, text)
    return FirstAdmin(tenant, admin.client_id, text)


async def _tenant(tx: Transaction, slug: str) -> Tenant:
    for tenant in await tx.tenants.page("", None, EVERYTHING):
        if tenant.slug == slug:
            return tenant
    raise NotFound(f"there is no tenant {slug}")


async def _usable_api(tx: Transaction, desk: Desk, caller: Caller, tenant: Tenant) -> Api:
    """The administration API, enabled and with every scope; the tenant enabled."""
    if not tenant.enabled:
        enabled = replace(tenant, enabled=True, version=tenant.version + 1)
        await tx.tenants.replace(enabled)
        told = audited_change(tenant, enabled)
        tx.record(tenant.tenant_id, TenantUpdated(slug=tenant.slug, **told, **desk.said(caller)))
    [before] = [one for one in (await apis_of(tx, tenant.tenant_id)).values() if one.identifier == ADMIN_API]
    known = {scope.name for scope in before.scopes}
    missing = tuple(scope for scope in admin_scopes(tenant.slug) if scope.name not in known)
    if before.enabled and not missing:
        return before
    after = replace(before, enabled=True, scopes=(*before.scopes, *missing), version=before.version + 1)
    await tx.apis.replace(after)
    tx.record(
        tenant.tenant_id,
        ApiUpdated(api_id=after.api_id, **audited_change(before, after), **desk.said(caller)),
    )
    return after
