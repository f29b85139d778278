"""The admin API's operations over devices by the thousand."""

from __future__ import annotations

from msgspec import Struct

from ...service.desk import Desk
from ...service.import_devices import DeviceBatch, RowResult, import_devices
from .routes import Reply, Request, Route

_D = "/api/v1/devices"
MAX_BATCH = 4 * 1024 * 1024
"""Bytes: a thousand rows with a key each are less than one."""


class ImportShape(Struct, frozen=True, kw_only=True):
    """One result a row, in their order. A secret is told again only for the bundle key that it was made with."""

    rows: list[RowResult]


class DeviceHandlers:
    """One object per worker."""

    def __init__(self, desk: Desk, bulk_key: bytes) -> None:
        self._desk, self._bulk_key = desk, bulk_key

    def routes(self) -> list[Route]:
        """What is under `/api/v1/devices`."""
        return [
            Route(method="POST", path=f"{_D}/import", scope="applications:write", summary="Register devices, up to a thousand at once, each judged for itself", handler=self.import_devices, body=DeviceBatch, reply=ImportShape, max_body=MAX_BATCH),
        ]  # fmt: skip

    async def import_devices(self, request: Request) -> Reply:
        """200, also when rows were refused: the answer says which, and why."""
        return Reply(ImportShape(rows=await import_devices(self._desk, request.caller, request.body, self._bulk_key)))
