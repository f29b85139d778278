"""Set the lifetime and the custom claims of a tenant's App ID tokens."""

from __future__ import annotations

from msgspec.structs import replace

from ...audit.events import TenantUpdated
from ...registry.appid import check_claims, check_lifetime
from ...registry.model import ClaimMapping, Tenant
from ..desk import Caller, Desk, audited_change, changed_fields, found


async def configure_appid(desk: Desk, caller: Caller, lifetime: int, claims: tuple[ClaimMapping, ...]) -> Tenant:
    """Existing tokens do not change. Raises `Invalid`."""
    check_lifetime(lifetime)
    check_claims(claims)
    async with desk.store.transaction() as tx:
        before: Tenant = found(await tx.tenants.get("", caller.tenant_id), "tenant")
        after = replace(before, appid_lifetime=lifetime, appid_claims=claims)
        fields = changed_fields(before, after)
        if not fields:
            return before
        after = replace(after, version=before.version + 1)
        await tx.tenants.replace(after)
        told = audited_change(before, after)
        tx.record(caller.tenant_id, TenantUpdated(slug=after.slug, **told, **desk.said(caller)))
    return after
