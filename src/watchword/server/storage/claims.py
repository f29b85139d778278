"""Claim a value for one application of a tenant, and count how many applications an enrolment group has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ..registry.errors import Conflict
from . import schema
from .session import Session


class Claims(Session):
    """Values that one application of a tenant has, such as a serial number or a key."""

    async def claim(self, tenant_id: str, kind: str, value: str, holder: str) -> None:
        """The primary key decides between concurrent requests; the later ones get a `Conflict`."""
        values = {"tenant_id": tenant_id, "kind": kind, "value": value, "holder": holder}
        if not await self.count(self.insert(schema.claim).values(**values).on_conflict_do_nothing()):
            raise Conflict(f"there is an application of this {kind} already", field=kind)

    async def release(self, tenant_id: str, holder: str, kind: str = "") -> None:
        """Delete all claims of an application, or those of one kind."""
        t = schema.claim
        statement = sa.delete(t).where(t.c.tenant_id == tenant_id, t.c.holder == holder)
        await self.count(statement.where(t.c.kind == kind) if kind else statement)

    async def holder(self, tenant_id: str, kind: str, value: str) -> str | None:
        """The client id of the application that has claimed the value."""
        t = schema.claim
        query = sa.select(t.c.holder).where(t.c.tenant_id == tenant_id, t.c.kind == kind, t.c.value == value)
        rows = await self.run(query)
        return str(rows[0][0]) if rows else None


class Places(Session):
    """How many applications each enrolment group has, counted in a row of its own."""

    async def take_place(self, tenant_id: str, group_id: str, limit: int | None, count: int = 1) -> bool:
        """One atomic statement adds and compares with the limit."""
        if limit is not None and count > limit:
            return False
        t = schema.place
        statement = self.insert(t).values(tenant_id=tenant_id, group_id=group_id, taken=count)
        statement = statement.on_conflict_do_update(
            index_elements=["tenant_id", "group_id"],
            set_={"taken": t.c.taken + count},
            where=t.c.taken + count <= limit if limit is not None else None,
        )
        return bool(await self.count(statement))

    async def leave_place(self, tenant_id: str, group_id: str) -> None:
        """Subtract one."""
        t = schema.place
        where = (t.c.tenant_id == tenant_id, t.c.group_id == group_id)
        await self.count(sa.update(t).where(*where).values(taken=t.c.taken - 1))

    async def places(self, tenant_id: str, group_ids: Sequence[str]) -> dict[str, int]:
        """The number of applications by group; empty groups are absent."""
        t = schema.place
        query = sa.select(t.c.group_id, t.c.taken).where(t.c.tenant_id == tenant_id, t.c.group_id.in_(group_ids))
        rows: Sequence[Any] = await self.run(query)
        return {str(row[0]): int(row[1]) for row in rows if row[1]}
