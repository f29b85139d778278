"""The admin API's operations over devices by the thousand."""

from __future__ import annotations

from msgspec import Struct

from ....registry.errors import Invalid
from ....service.desk import Desk
from ....service.fleet.change_devices import DeviceChange, DeviceResult, change_devices, tags_for
from ....service.fleet.import_devices import DeviceBatch, RowResult, import_devices
from ....service.registry.membership import SERIAL
from .. import shapes
from ..pages import Pages
from ..registry.applications import SecretUse
from ..routes import Reply, Request, Route

_D = "/api/v1/devices"
MAX_BATCH = 4 * 1024 * 1024
"""Bytes: a thousand rows with a key each are less than one."""


class ImportShape(Struct, frozen=True, kw_only=True):
    """One result a row, in their order. A secret is told again only for the bundle key that it was made with."""

    rows: list[RowResult]


class ChangeShape(Struct, frozen=True, kw_only=True):
    """One batch: `next` is the cursor of the one behind it, null at the end.

    `selected`, of a dry run's first batch, is how many have these labels and are in this group.
    """

    rows: list[DeviceResult]
    next: str | None
    selected: int | None


class DeviceHandlers:
    """One object per worker."""

    def __init__(self, desk: Desk, pages: Pages, secret_use: SecretUse, bulk_key: bytes, max_old_secrets: int) -> None:
        self._desk, self._pages, self._used, self._bulk_key = desk, pages, secret_use, bulk_key
        self._keep_old = max_old_secrets

    def routes(self) -> list[Route]:
        """What is under `/api/v1/devices`."""
        return [
            Route(method="GET", path=_D, scope="applications:read", summary="List what has a label, NAME=VALUE, is in a group, or has a serial number", handler=self.list_devices, reply=shapes.ApplicationShape, query=("limit", "cursor", "label", "group", "serial")),
            Route(method="POST", path=f"{_D}/bulk", scope="applications:write", summary="Disable, enable, quarantine, release or rotate devices, a batch at a time", handler=self.change_devices, body=DeviceChange, reply=ChangeShape, max_body=MAX_BATCH),
            Route(method="POST", path=f"{_D}/import", scope="applications:write", summary="Register devices, up to a thousand at once, each judged for itself", handler=self.import_devices, body=DeviceBatch, reply=ImportShape, max_body=MAX_BATCH),
        ]  # fmt: skip

    async def list_devices(self, request: Request) -> Reply:
        """By client id, of any kind; all of the tenant when nothing narrows it."""
        query, tenant_id = request.query, request.caller.tenant_id
        serial, labels, following = query.get("serial"), _labels(query.get("label")), None
        async with self._desk.store.snapshot() as look:
            held = await look.fleet.holding(tenant_id, SERIAL, [serial]) if serial is not None else {}
            tags = await tags_for(look, tenant_id, labels, query.get("group"))
        page = [*held.values()]
        if serial is None:
            page, following = await self._pages.having(request, tags)
        used = await self._used(tenant_id, [secret.id for a in page for secret in a.secrets])
        return Reply(shapes.Page(items=[shapes.application_shape(a, used) for a in page], next=following))

    async def change_devices(self, request: Request) -> Reply:
        """200, also when devices were refused: the answer says which, and why."""
        caller, change = request.caller, request.body
        walk = (caller.tenant_id, "bulk", *change.selection())
        after = self._pages.behind(change.cursor, *walk)
        batch = await change_devices(self._desk, caller, change, after, self._bulk_key, self._keep_old)
        following = self._pages.following(batch.last, *walk)
        return Reply(ChangeShape(rows=batch.results, next=following, selected=batch.selected))

    async def import_devices(self, request: Request) -> Reply:
        """200, also when rows were refused: the answer says which, and why."""
        return Reply(ImportShape(rows=await import_devices(self._desk, request.caller, request.body, self._bulk_key)))


def _labels(unverified_label: str | None) -> dict[str, str]:
    if unverified_label is None:
        return {}
    name, equals, value = unverified_label.partition("=")
    if not equals or not name:
        raise Invalid("write NAME=VALUE", field="label")
    return {name: value}
