"""The operations over APIs."""

from __future__ import annotations

from ....service.desk import Desk, found
from ....service.keys.rotate_key import RotateKey
from ....service.registry.define_api import ApiChange, NewApi, create_api, delete_api, update_api
from .. import shapes
from ..pages import LIST, Pages
from ..routes import Reply, Request, Route

_APIS = "/api/v1/apis"
_ONE = f"{_APIS}/{{api_id}}"


class ApiHandlers:
    """The handlers; one object per worker."""

    def __init__(self, desk: Desk, pages: Pages, keys: RotateKey) -> None:
        self._desk, self._pages, self._keys = desk, pages, keys

    def routes(self) -> list[Route]:
        """The operations on `/api/v1/apis`."""
        return [
            Route(method="GET", path=_APIS, scope="apis:read", summary="List APIs", handler=self.list_apis, reply=shapes.ApiShape, query=LIST),
            Route(method="POST", path=_APIS, scope="apis:write", summary="Create an API", handler=self.create_api, body=NewApi, reply=shapes.ApiShape, status=201),
            Route(method="GET", path=_ONE, scope="apis:read", summary="Show an API", handler=self.show_api, reply=shapes.ApiShape),
            Route(method="PATCH", path=_ONE, scope="apis:write", summary="Change an API", handler=self.update_api, body=ApiChange, reply=shapes.ApiShape),
            Route(method="DELETE", path=_ONE, scope="apis:write", summary="Delete an API", handler=self.delete_api, status=204),
        ]  # fmt: skip

    async def list_apis(self, request: Request) -> Reply:
        """A page, ordered by identifier."""
        page, following = await self._pages.page(request, "apis", lambda a: (a.identifier, a.api_id))
        return Reply(shapes.Page(items=[shapes.api_shape(a) for a in page], next=following))

    async def create_api(self, request: Request) -> Reply:
        """Answer 201 with what was made."""
        a = await create_api(self._desk, self._keys, request.caller, request.body)
        return Reply(shapes.api_shape(a), 201, a.version, f"{_APIS}/{a.api_id}")

    async def show_api(self, request: Request) -> Reply:
        """Answer with an ETag."""
        async with self._desk.store.snapshot() as tx:
            a = found(
                await tx.apis.get(request.caller.tenant_id, request.path["api_id"]),
                "API",
            )
        return Reply(shapes.api_shape(a), version=a.version)

    async def update_api(self, request: Request) -> Reply:
        """Change it, if its version is the one of If-Match."""
        a = await update_api(
            self._desk,
            self._keys,
            request.caller,
            request.path["api_id"],
            request.body,
            request.expected,
        )
        return Reply(shapes.api_shape(a), version=a.version)

    async def delete_api(self, request: Request) -> Reply:
        """Answer 204."""
        await delete_api(self._desk, request.caller, request.path["api_id"], request.expected)
        return Reply(status=204)
