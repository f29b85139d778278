"""The operations over roles."""

from __future__ import annotations

from ....service.desk import Desk, found
from ....service.registry.define_role import NewRole, RoleChange, create_role, delete_role, update_role
from .. import shapes
from ..pages import LIST, Pages
from ..routes import Reply, Request, Route

_ROLES = "/api/v1/roles"
_ONE = f"{_ROLES}/{{role_id}}"


class RoleHandlers:
    """The handlers; one object per worker."""

    def __init__(self, desk: Desk, pages: Pages) -> None:
        self._desk, self._pages = desk, pages

    def routes(self) -> list[Route]:
        """The operations on `/api/v1/roles`."""
        return [
            Route(method="GET", path=_ROLES, scope="apis:read", summary="List roles", handler=self.list_roles, reply=shapes.RoleShape, query=LIST),
            Route(method="POST", path=_ROLES, scope="apis:write", summary="Create a role", handler=self.create_role, body=NewRole, reply=shapes.RoleShape, status=201),
            Route(method="GET", path=_ONE, scope="apis:read", summary="Show a role", handler=self.show_role, reply=shapes.RoleShape),
            Route(method="PATCH", path=_ONE, scope="apis:write", summary="Change a role", handler=self.update_role, body=RoleChange, reply=shapes.RoleShape),
            Route(method="DELETE", path=_ONE, scope="apis:write", summary="Delete a role", handler=self.delete_role, status=204),
        ]  # fmt: skip

    async def list_roles(self, request: Request) -> Reply:
        """A page, ordered by name."""
        page, following = await self._pages.page(request, "roles", lambda r: (r.name, r.role_id))
        return Reply(shapes.Page(items=[shapes.role_shape(r) for r in page], next=following))

    async def create_role(self, request: Request) -> Reply:
        """Answer 201 with what was made."""
        r = await create_role(self._desk, request.caller, request.body)
        return Reply(shapes.role_shape(r), 201, r.version, f"{_ROLES}/{r.role_id}")

    async def show_role(self, request: Request) -> Reply:
        """Answer with an ETag."""
        async with self._desk.store.snapshot() as tx:
            r = found(
                await tx.roles.get(request.caller.tenant_id, request.path["role_id"]),
                "role",
            )
        return Reply(shapes.role_shape(r), version=r.version)

    async def update_role(self, request: Request) -> Reply:
        """Change it, if its version is the one of If-Match."""
        r = await update_role(
            self._desk,
            request.caller,
            request.path["role_id"],
            request.body,
            request.expected,
        )
        return Reply(shapes.role_shape(r), version=r.version)

    async def delete_role(self, request: Request) -> Reply:
        """Answer 204."""
        await delete_role(self._desk, request.caller, request.path["role_id"], request.expected)
        return Reply(status=204)
