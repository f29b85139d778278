"""Share the state of rate limits between workers and nodes.

Commits do not wait for the disk: a power cut that loses some of it is harmless."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg

from ..service.ports import StorageUnavailable
from ..service.tokens.ports import Spending
from .postgres import Connection
from .sqlite import open_database

_ADD_SQLITE = (
    "INSERT INTO debt (tenant_id, subject, until) VALUES (?1, ?2, ?3 + ?4) ON CONFLICT (tenant_id, subject)"
    " DO UPDATE SET until = max(until, ?3) + ?4 RETURNING until"
)
_ADD_POSTGRES = (
    "INSERT INTO debt AS d (tenant_id, subject, until) VALUES ($1, $2, $3::float8 + $4::float8)"
    " ON CONFLICT (tenant_id, subject) DO UPDATE SET until = greatest(d.until, $3) + $4 RETURNING until"
)


class SqliteDebts:
    """Uses a thread of its own: blocking the pool's threads would delay tokens, which wait for the same lock."""

    def __init__(self, path: Path, turn: asyncio.Lock) -> None:
        self._path, self._turn = path, turn
        self._connection = open_database(path)
        self._connection.execute("PRAGMA synchronous=NORMAL")  # in WAL mode: a commit syncs nothing
        self._thread = ThreadPoolExecutor(1, "debts")

    async def add(self, spendings: Sequence[Spending]) -> Sequence[float]:
        """Add all of them in one transaction."""
        async with self._turn:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._add, spendings)

    def _add(self, spendings: Sequence[Spending]) -> list[float]:
        db = self._connection
        try:
            db.execute("BEGIN IMMEDIATE")
            ends = [float(db.execute(_ADD_SQLITE, _values(each)).fetchone()[0]) for each in spendings]
            db.execute("COMMIT")
        except sqlite3.Error as error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise StorageUnavailable(f"cannot write to {self._path}: {error}") from None
        return ends

    async def close(self) -> None:
        """Close the file."""
        self._thread.shutdown()
        self._connection.close()


class PostgresDebts:
    """One round trip in its own transaction; rows in order of their key, so that two nodes cannot deadlock."""

    def __init__(self, url: str) -> None:
        self._connection = Connection(url, synchronous_commit="off")

    async def add(self, spendings: Sequence[Spending]) -> Sequence[float]:
        """Add all of them, or none."""
        order = sorted(range(len(spendings)), key=lambda n: (spendings[n].tenant_id, spendings[n].subject))
        values = [_values(spendings[n]) for n in order]

        async def write(c: asyncpg.Connection[Any]) -> list[Any]:
            return list(await c.fetchmany(_ADD_POSTGRES, values))

        rows = await self._connection.use(write)
        ends = {n: float(row[0]) for n, row in zip(order, rows, strict=True)}
        return [ends[n] for n in range(len(spendings))]

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()


def _values(spending: Spending) -> tuple[str, str, float, float]:
    return spending.tenant_id, spending.subject, spending.begins, spending.cost
