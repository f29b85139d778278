"""Delete a tenant: its endpoints answer 404, its tokens are inactive, its slug is never used again."""

from __future__ import annotations

from msgspec.structs import replace

from ..audit.events import TenantDeleted
from ..registry.model import Tenant
from .desk import Caller, Desk, found


async def delete_tenant(desk: Desk, caller: Caller, slug: str) -> None:
    """Recorded in the deleted tenant's log and in the caller's. Raises `NotFound`."""
    async with desk.store.transaction() as tx:
        tenant: Tenant = found(await tx.tenants.find("", slug), "tenant")
        at = int(desk.clock())
        await tx.tenants.remove(replace(tenant, enabled=False, deleted_at=at, version=tenant.version + 1))
        for tenant_id in {tenant.tenant_id, caller.tenant_id}:
            tx.record(tenant_id, TenantDeleted(slug=slug, **desk.said(caller)))
