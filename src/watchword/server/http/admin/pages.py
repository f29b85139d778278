"""Lists, a page at a time: in order of name, behind a cursor that nobody can forge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ....jose.sealing import MasterKey
from ...registry.errors import Invalid
from ...registry.fleet.expected import ExpectedDevice
from ...registry.fleet.pending import PendingEnrolment, State
from ...registry.model import Application
from ...service.desk import Desk
from .cursors import Cursors
from .routes import Request

LIST = ("limit", "cursor", "name")
"""The query of a list."""
_DIGITS = 18
"""`int` refuses thousands of them with an error of its own."""


class Pages:
    """One per worker."""

    def __init__(self, desk: Desk, master: MasterKey) -> None:
        self._desk, self._cursors = desk, Cursors(master)

    async def page(
        self, request: Request, kind: str, key: Callable[[Any], tuple[str, str]]
    ) -> tuple[list[Any], str | None]:
        """The records, and the cursor of the page behind them. Raises `Invalid`."""
        tenant_id, wanted = request.caller.tenant_id, limit(request.query, 50)
        name = request.query.get("name", "")
        cursor = request.query.get("cursor")
        after = self._cursors.read(cursor, tenant_id, kind, name) if cursor else None
        async with self._desk.store.snapshot() as tx:
            page = await getattr(tx, kind).page(tenant_id, after, wanted + 1, name)
        following = self._cursors.write(key(page[wanted - 1]), tenant_id, kind, name) if len(page) > wanted else None
        return page[:wanted], following

    async def having(self, request: Request, tags: Sequence[str]) -> tuple[list[Application], str | None]:
        """The applications that have all of these tags, by client id, and the next page's cursor. Raises `Invalid`."""
        tenant_id, wanted = request.caller.tenant_id, limit(request.query, 50)
        after = self.behind(request.query.get("cursor"), tenant_id, "tagged", *tags)
        async with self._desk.store.snapshot() as look:
            ids = await look.fleet.find(tenant_id, tags, after, wanted + 1)
            page = await look.fleet.named(tenant_id, ids[:wanted])
        last = ids[wanted - 1] if len(ids) > wanted else None
        return page, self.following(last, tenant_id, "tagged", *tags)

    def behind(self, unverified_cursor: str | None, *of: str) -> str:
        """The id behind which a walk in order of ids goes on, empty at its beginning. Raises `Invalid`."""
        return self._cursors.read(unverified_cursor, *of)[1] if unverified_cursor else ""

    def following(self, last: str | None, *of: str) -> str | None:
        """The cursor of what stands behind the id `last`; None at the end."""
        return self._cursors.write(("", last), *of) if last is not None else None

    async def expected(self, request: Request, group_id: str) -> tuple[list[ExpectedDevice], str | None]:
        """The devices that a group expects, by entry, and the next page's cursor. Raises `Invalid`."""
        tenant_id, wanted = request.caller.tenant_id, limit(request.query, 50)
        cursor = request.query.get("cursor")
        after = self._cursors.read(cursor, tenant_id, "expected", group_id)[1] if cursor else ""
        async with self._desk.store.snapshot() as look:
            page = await look.expected.page(tenant_id, group_id, after, wanted + 1)
        last = page[wanted - 1].entry if len(page) > wanted else None
        following = self._cursors.write(("", last), tenant_id, "expected", group_id) if last is not None else None
        return page[:wanted], following

    async def pending(self, request: Request, state: State, group_id: str) -> tuple[list[PendingEnrolment], str | None]:
        """The devices that wait, or were decided on, the oldest first. Raises `Invalid`."""
        tenant_id, wanted = request.caller.tenant_id, limit(request.query, 50)
        cursor, of = request.query.get("cursor"), ("pending", state, group_id)
        after = self._cursors.read(cursor, tenant_id, *of) if cursor else None
        now = int(self._desk.clock())
        async with self._desk.store.snapshot() as look:
            page = await look.pending.of_state(tenant_id, state, group_id, now, after, wanted + 1)
        last = page[wanted - 1] if len(page) > wanted else None
        place = (f"{last.requested_at:012}", last.pending_id) if last is not None else None
        return page[:wanted], self._cursors.write(place, tenant_id, *of) if place is not None else None


def limit(query: Mapping[str, str], default: int) -> int:
    """How many are asked for, judged as the number that is used. Raises `Invalid`."""
    text = query.get("limit", str(default))
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS or not 1 <= int(text) <= 500:
        raise Invalid("use 1 to 500", field="limit")
    return int(text)
