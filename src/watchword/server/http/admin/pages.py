"""Lists, a page at a time: in order of name, behind a cursor that nobody can forge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ....jose.sealing import MasterKey
from ...registry.errors import Invalid
from ...service.desk import Desk
from .cursors import Cursors
from .routes import Request

LIST = ("limit", "cursor", "name")
"""The query of a list."""


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


def limit(query: Mapping[str, str], default: int) -> int:
    """How many are asked for. Raises `Invalid`."""
    text = query.get("limit", str(default))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= 500:
        raise Invalid("use 1 to 500", field="limit")
    return int(text)
