"""The admin API's operations over the devices that are expected."""

from __future__ import annotations

from msgspec import Struct

from ....registry.fleet.expected import ExpectedDevice
from ....service.desk import Desk
from ....service.fleet.expect_devices import ExpectedBatch, ExpectedResult, expect_devices, withdraw_expected
from .. import shapes
from ..pages import Pages
from ..routes import Reply, Request, Route
from .devices import MAX_BATCH

_E = "/api/v1/enrolment-groups/{group_id}/expected"


class ExpectedDeviceShape(Struct, frozen=True, kw_only=True):
    """A device that may still come; `key` is its public key's thumbprint (RFC 7638)."""

    entry: str
    serial: str | None
    key: str | None


class ExpectedResultsShape(Struct, frozen=True, kw_only=True):
    """One result a row, in their order."""

    rows: list[ExpectedResult]


class ExpectedHandlers:
    """One object per worker."""

    def __init__(self, desk: Desk, pages: Pages) -> None:
        self._desk, self._pages = desk, pages

    def routes(self) -> list[Route]:
        """What is under `/api/v1/enrolment-groups/{group_id}/expected`."""
        return [
            Route(method="GET", path=_E, scope="applications:read", summary="List the devices that a group still expects", handler=self.list_expected, reply=ExpectedDeviceShape, query=("limit", "cursor")),
            Route(method="POST", path=_E, scope="applications:write", summary="Expect devices, up to a thousand at once, by serial number or key", handler=self.expect, body=ExpectedBatch, reply=ExpectedResultsShape, max_body=MAX_BATCH),
            Route(method="DELETE", path=_E, scope="applications:write", summary="Expect nobody any more", handler=self.withdraw_all, status=204),
            Route(method="DELETE", path=f"{_E}/{{entry}}", scope="applications:write", summary="Expect one device no more", handler=self.withdraw, status=204),
        ]  # fmt: skip

    async def list_expected(self, request: Request) -> Reply:
        """By entry; who has come is not there any more."""
        page, following = await self._pages.expected(request, request.path["group_id"])
        return Reply(shapes.Page(items=[_shape(one) for one in page], next=following))

    async def expect(self, request: Request) -> Reply:
        """200, also when rows were refused: the answer says which, and why."""
        group_id = request.path["group_id"]
        return Reply(
            ExpectedResultsShape(rows=await expect_devices(self._desk, request.caller, group_id, request.body))
        )

    async def withdraw_all(self, request: Request) -> Reply:
        """204."""
        await withdraw_expected(self._desk, request.caller, request.path["group_id"])
        return Reply(status=204)

    async def withdraw(self, request: Request) -> Reply:
        """204."""
        await withdraw_expected(self._desk, request.caller, request.path["group_id"], request.path["entry"])
        return Reply(status=204)


def _shape(one: ExpectedDevice) -> ExpectedDeviceShape:
    return ExpectedDeviceShape(entry=one.entry, serial=one.serial, key=one.key)
