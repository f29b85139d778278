"""Run the SQL statements of one transaction, and collect what they write to the change feed.

The tables of a transaction (`table`, `fleet`, `codes` ...) get a `Session` and know nothing of the transaction itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection


class Session:
    """One transaction's connection; `writes` is False for a snapshot, which locks no rows."""

    def __init__(self, connection: AsyncConnection, *, writes: bool = True) -> None:
        self.connection, self.writes = connection, writes
        self.dialect = connection.dialect.name
        self.feed: dict[tuple[str, str, str], None] = {}

    async def run(self, statement: sa.Executable) -> Sequence[sa.Row[Any]]:
        """Execute; the rows, if it has any."""
        result = await self.connection.execute(statement)
        return result.fetchall() if result.returns_rows else []

    async def count(self, statement: sa.Update | sa.Delete | sa.Insert) -> int:
        """Execute; how many rows it touched."""
        return int((await self.connection.execute(statement)).rowcount)

    def insert(self, table: sa.Table) -> Any:
        """The INSERT of this database's dialect, which has ON CONFLICT."""
        return pg_insert(table) if self.dialect == "postgresql" else sqlite_insert(table)

    def changed(self, tenant_id: str, kind: str, id: str) -> None:
        """Add an entry to the change feed, so that every worker drops its cached copy."""
        tenant_id = id if kind == "tenant" else tenant_id
        self.feed[tenant_id, kind, id] = None
