"""Store the lists of expected devices; one atomic statement takes a device off its list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ..registry.fleet.expected import ExpectedDevice
from .schema import expected_device as t
from .session import Session

_MEMBERS = (t.c.tenant_id, t.c.group_id, t.c.serial, t.c.key)


class Expected:
    """The expected devices, inside a transaction or a snapshot."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def find(self, tenant_id: str, serials: Sequence[str], keys: Sequence[str]) -> list[ExpectedDevice]:
        """Two look-ups, each by an index: with one OR query, neither database is sure to use both indexes."""
        found: dict[str, ExpectedDevice] = {}
        for column, values in ((t.c.serial, serials), (t.c.key, keys)):
            if values:
                query = sa.select(*_MEMBERS).where(t.c.tenant_id == tenant_id, column.in_(values))
                found |= {one.entry: one for one in await self._devices(query)}
        return list(found.values())

    async def page(self, tenant_id: str, group_id: str, after: str, limit: int) -> list[ExpectedDevice]:
        """In order of their entries, behind `after`."""
        query = sa.select(*_MEMBERS).where(t.c.tenant_id == tenant_id, t.c.group_id == group_id, t.c.entry > after)
        return await self._devices(query.order_by(t.c.entry).limit(limit))

    async def add(self, devices: Sequence[ExpectedDevice]) -> None:
        """Insert in order of the key, so that two concurrent lists cannot deadlock."""
        values = [
            {"tenant_id": d.tenant_id, "group_id": d.group_id, "entry": d.entry, "serial": d.serial, "key": d.key}
            for d in sorted(devices, key=lambda device: device.entry)
        ]
        await self._session.connection.execute(self._session.insert(t).on_conflict_do_nothing(), values)

    async def take(self, device: ExpectedDevice) -> bool:
        """Delete it; one statement decides between concurrent requests. False when it was not listed any more."""
        where = (t.c.tenant_id == device.tenant_id, t.c.entry == device.entry, t.c.group_id == device.group_id)
        return bool(await self._session.count(sa.delete(t).where(*where)))

    async def remove(self, tenant_id: str, group_id: str, entry: str = "") -> int:
        """Delete one entry, or all of a group; returns their number."""
        statement = sa.delete(t).where(t.c.tenant_id == tenant_id, t.c.group_id == group_id)
        return await self._session.count(statement.where(t.c.entry == entry) if entry else statement)

    async def _devices(self, query: sa.Select[Any]) -> list[ExpectedDevice]:
        return [ExpectedDevice(**row._mapping) for row in await self._session.run(query)]
