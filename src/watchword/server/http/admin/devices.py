"""The admin API's operations over devices by the thousand."""

from __future__ import annotations

from msgspec import Struct

from ...registry.errors import Invalid
from ...registry.tags import label_tag
from ...service.desk import Desk
from ...service.import_devices import DeviceBatch, RowResult, import_devices
from . import shapes
from .handlers import SecretUse
from .pages import Pages
from .routes import Reply, Request, Route

_D = "/api/v1/devices"
MAX_BATCH = 4 * 1024 * 1024
"""Bytes: a thousand rows with a key each are less than one."""


class ImportShape(Struct, frozen=True, kw_only=True):
    """One result a row, in their order. A secret is told again only for the bundle key that it was made with."""

    rows: list[RowResult]


class DeviceHandlers:
    """One object per worker."""

    def __init__(self, desk: Desk, pages: Pages, secret_use: SecretUse, bulk_key: bytes) -> None:
        self._desk, self._pages, self._used, self._bulk_key = desk, pages, secret_use, bulk_key

    def routes(self) -> list[Route]:
        """What is under `/api/v1/devices`."""
        return [
            Route(method="GET", path=_D, scope="applications:read", summary="List what has a label, NAME=VALUE", handler=self.list_devices, reply=shapes.ApplicationShape, query=("limit", "cursor", "label")),
            Route(method="POST", path=f"{_D}/import", scope="applications:write", summary="Register devices, up to a thousand at once, each judged for itself", handler=self.import_devices, body=DeviceBatch, reply=ImportShape, max_body=MAX_BATCH),
        ]  # fmt: skip

    async def list_devices(self, request: Request) -> Reply:
        """By client id, of any kind; all of the tenant without a label."""
        label = request.query.get("label")
        page, following = await self._pages.having(request, [] if label is None else [_tag(label)])
        used = await self._used(request.caller.tenant_id, [secret.id for a in page for secret in a.secrets])
        return Reply(shapes.Page(items=[shapes.application_shape(a, used) for a in page], next=following))

    async def import_devices(self, request: Request) -> Reply:
        """200, also when rows were refused: the answer says which, and why."""
        return Reply(ImportShape(rows=await import_devices(self._desk, request.caller, request.body, self._bulk_key)))


def _tag(label: str) -> str:
    name, equals, value = label.partition("=")
    if not equals or not name:
        raise Invalid("write NAME=VALUE", field="label")
    return label_tag(name, value)
