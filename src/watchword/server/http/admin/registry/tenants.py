"""The operations over tenants, for administrators of the default tenant."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from ....registry.errors import Invalid
from ....service.desk import EVERYTHING, Desk
from ....service.registry.change_tenant import TenantChange, update_tenant
from ....service.registry.create_tenant import DEFAULT, CreateTenant
from ....service.registry.delete_tenant import delete_tenant
from .. import shapes
from ..routes import Reply, Request, Route


class NewTenant(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tenant to create."""

    slug: str
    name: str


class TenantHandlers:
    """The handlers; one object per worker."""

    def __init__(self, desk: Desk, create_tenant: CreateTenant, issuer_of: Callable[[str], str]) -> None:
        self._desk, self._tenants, self._issuer_of = desk, create_tenant, issuer_of

    def routes(self) -> list[Route]:
        """The operations on `/api/v1/tenants`."""
        return [
            Route(method="GET", path="/api/v1/tenants", scope="tenants:read", summary="List tenants", handler=self.list_tenants, reply=shapes.TenantShape, default_tenant_only=True),
            Route(method="POST", path="/api/v1/tenants", scope="tenants:write", summary="Create a tenant and its administrator", handler=self.create_tenant, body=NewTenant, reply=shapes.NewTenantShape, status=201, default_tenant_only=True),
            Route(method="PATCH", path="/api/v1/tenants/{slug}", scope="tenants:write", summary="Change a tenant, such as its profile", handler=self.update_tenant, body=TenantChange, reply=shapes.TenantShape, default_tenant_only=True),
            Route(method="DELETE", path="/api/v1/tenants/{slug}", scope="tenants:write", summary="Delete a tenant", handler=self.delete_tenant, status=204, default_tenant_only=True),
        ]  # fmt: skip

    async def list_tenants(self, request: Request) -> Reply:
        """All tenants, ordered by slug."""
        async with self._desk.store.snapshot() as tx:
            tenants = await tx.tenants.page("", None, EVERYTHING)
        return Reply(shapes.Page(items=[shapes.TenantShape(**shapes.tenant_fields(t)) for t in tenants]))  # type: ignore[arg-type]

    async def create_tenant(self, request: Request) -> Reply:
        """Answer 201 with the secret of its first administrator, which is shown this once."""
        first = await self._tenants(request.body.slug, request.body.name, request.caller)
        shape = shapes.NewTenantShape(
            **shapes.tenant_fields(first.tenant),  # type: ignore[arg-type]
            issuer=self._issuer_of(first.tenant.slug), client_id=first.client_id, client_secret=first.client_secret,
        )  # fmt: skip
        return Reply(shape, 201)

    async def update_tenant(self, request: Request) -> Reply:
        """Answer with the changed tenant."""
        changed = await update_tenant(self._desk, request.caller, request.path["slug"], request.body, request.expected)
        shape = shapes.TenantShape(**shapes.tenant_fields(changed))  # type: ignore[arg-type]
        return Reply(shape, version=changed.version)

    async def delete_tenant(self, request: Request) -> Reply:
        """Answer 204."""
        if request.path["slug"] == DEFAULT:
            raise Invalid("the default tenant administers the others and stays", field="slug")
        await delete_tenant(self._desk, request.caller, request.path["slug"])
        return Reply(status=204)
