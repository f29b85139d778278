"""Delete a tenant: its endpoints answer 404, its tokens are inactive, its slug is never reused."""

from __future__ import annotations

from msgspec.structs import replace

from ...audit.events import TenantDeleted
from ...registry.model import Tenant
from ..desk import Caller, Desk, found


async def delete_tenant(desk: Desk, caller: Caller, slug: str) -> None:
    """Recorded in both tenants' audit logs; the caller's client id only in its own tenant's. Raises `NotFound`."""
    async with desk.store.transaction() as tx:
        tenant: Tenant = found(await tx.tenants.find("", slug), "tenant")
        at = int(desk.clock())
        await tx.tenants.remove(replace(tenant, enabled=False, deleted_at=at, version=tenant.version + 1))
        tx.record(caller.tenant_id, TenantDeleted(slug=slug, **desk.said(caller)))
        tx.record(tenant.tenant_id, TenantDeleted(slug=slug, at=desk.clock(), request_id=caller.request_id))
