"""The operations over applications: list, create, show, change and delete."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from ....registry.model import Application
from ....service.desk import Desk, found
from ....service.registry.change_application import ApplicationChange, delete_application, update_application
from ....service.registry.create_application import NewApplication, create_application
from .. import shapes
from ..pages import LIST, Pages
from ..routes import Reply, Request, Route

SecretUse = Callable[[str, Sequence[str]], Awaitable[dict[str, int]]]
"""(tenant id, ids of secrets) -> when each was last used, seconds since the epoch."""
APPLICATIONS = "/api/v1/applications"
ONE = f"{APPLICATIONS}/{{client_id}}"


class ApplicationHandlers:
    """The handlers; one object per worker."""

    def __init__(self, desk: Desk, pages: Pages, secret_use: SecretUse) -> None:
        self._desk, self._pages, self._used = desk, pages, secret_use

    def routes(self) -> list[Route]:
        """The operations on `/api/v1/applications`."""
        return [
            Route(method="GET", path=APPLICATIONS, scope="applications:read", summary="List applications", handler=self.list_applications, reply=shapes.ApplicationShape, query=LIST),
            Route(method="POST", path=APPLICATIONS, scope="applications:write", summary="Register an application; its secret is shown once", handler=self.create_application, body=NewApplication, reply=shapes.NewApplicationShape, status=201),
            Route(method="GET", path=ONE, scope="applications:read", summary="Show an application", handler=self.show_application, reply=shapes.ApplicationShape),
            Route(method="PATCH", path=ONE, scope="applications:write", summary="Change an application", handler=self.update_application, body=ApplicationChange, reply=shapes.ApplicationShape),
            Route(method="DELETE", path=ONE, scope="applications:write", summary="Delete an application", handler=self.delete_application, status=204),
        ]  # fmt: skip

    async def list_applications(self, request: Request) -> Reply:
        """A page, ordered by name."""
        page, following = await self._pages.page(request, "applications", lambda a: (a.name, a.client_id))
        used = await self._used(request.caller.tenant_id, [s.id for a in page for s in a.secrets])
        return Reply(shapes.Page(items=[shapes.application_shape(a, used) for a in page], next=following))

    async def create_application(self, request: Request) -> Reply:
        """Answer 201 with the secret, which is shown this once."""
        made, text = await create_application(self._desk, request.caller, request.body)
        shape = shapes.NewApplicationShape(**shapes.application_fields(made, {}), client_secret=text)  # type: ignore[arg-type]
        return Reply(shape, 201, made.version, f"{APPLICATIONS}/{made.client_id}")

    async def show_application(self, request: Request) -> Reply:
        """Answer with an ETag."""
        async with self._desk.store.snapshot() as tx:
            a = found(
                await tx.applications.get(request.caller.tenant_id, request.path["client_id"]),
                "application",
            )
        return await self.reply(request, a)

    async def update_application(self, request: Request) -> Reply:
        """Change it, if its version is the one of If-Match."""
        a = await update_application(
            self._desk,
            request.caller,
            request.path["client_id"],
            request.body,
            request.expected,
        )
        return await self.reply(request, a)

    async def delete_application(self, request: Request) -> Reply:
        """Answer 204."""
        await delete_application(self._desk, request.caller, request.path["client_id"], request.expected)
        return Reply(status=204)

    async def reply(self, request: Request, a: Application) -> Reply:
        """One application, with the times of last use of its secrets and an ETag."""
        used = await self._used(request.caller.tenant_id, [s.id for s in a.secrets])
        return Reply(shapes.application_shape(a, used), version=a.version)
