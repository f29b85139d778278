"""Write and read the chain of checkpoints, and compare the database with the epoch.

Writers take turns: a checkpoint names the one before it. A process signs nothing on a database that has lost a
checkpoint which the process, or the epoch beside the master key, has seen: a new signature would hide the gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ...audit.chain import GENESIS
from ...audit.checkpoints import CheckpointHere, SignedHeads, opened, written
from ...audit.verification import Place
from .. import schema
from ..failures import translated_errors
from ..open import for_reading
from .epoch import Epoch

_LOCK = 0x617564_6974
_PAGE = 500
_t = schema.audit_checkpoint


class TakenBack(Exception):
    """The database is older than what was signed, or another one; the text says what to do."""


class ForgedCheckpoint(TakenBack):
    """The newest checkpoint was not signed by this server."""


class CheckpointChain:
    """One object per process."""

    def __init__(self, engine: AsyncEngine, key: bytes, epoch: Epoch, clock: Callable[[], float]) -> None:
        self._engine, self._reading, self.key, self._clock = engine, for_reading(engine), key, clock
        self.epoch = epoch
        self._seen: Place | None = None

    async def sign(self, heads: Mapping[str, Place], *, first: int = 1) -> None:
        """Add a checkpoint. `first`: the checkpoints before it are to be pruned. Raises `TakenBack`."""
        known = await self._known()
        async with self._turn() as connection:
            newest = await _newest(connection)
            await _must_contain(connection, newest, known, self.key)
            before = opened(self.key, newest) if newest is not None else None
            number, digest = newest.place if newest is not None else (0, GENESIS)
            said = SignedHeads(
                number=number + 1, previous=digest, at=self._clock(), heads=dict(heads),
                first=max(first, before.first if before is not None else 1),
            )  # fmt: skip
            place = await self._insert(connection, said)
        await self._see(place)

    async def accept(self) -> tuple[Place | None, Place] | None:
        """Go on from a restored database: sign which checkpoints were lost. None: it is not older than the epoch.

        Returns the newest checkpoint of the database, and that of the epoch.
        """
        known = await self._known()
        async with self._turn() as connection:
            newest = await _newest(connection)
            try:
                await _must_contain(connection, newest, known, self.key)
            except ForgedCheckpoint:
                raise
            except TakenBack:
                pass
            else:
                return None
            assert known is not None
            before = opened(self.key, newest) if newest is not None else None
            here = newest.place if newest is not None else (0, GENESIS)
            number = max(known[0], here[0]) + 1
            first = before.first if before is not None else number
            said = SignedHeads(number=number, previous=known[1], at=self._clock(), first=first, resumes=here)
            place = await self._insert(connection, said)
        await self._see(place)
        return here if here[0] else None, known

    async def behind(self) -> Place | None:
        """Compare the database with the newest known checkpoint, and return that. Raises `TakenBack`."""
        known = await self._known()
        async with translated_errors(), self._reading.connect() as connection:
            await _must_contain(connection, await _newest(connection), known, self.key)
        return known

    async def follow(self) -> None:
        """Learn which checkpoints others have signed. Raises `TakenBack`."""
        known = await self._known()
        async with translated_errors(), self._reading.connect() as connection:
            newest = await _newest(connection)
            await _must_contain(connection, newest, known, self.key)
        if newest is not None and newest.place != self._seen and opened(self.key, newest) is not None:
            await self._see(newest.place)

    async def read(self, *, since: float | None = None) -> AsyncIterator[CheckpointHere]:
        """All, oldest first; with `since` the newest back to the first that was signed before that time."""
        order = _t.c.number if since is None else _t.c.number.desc()
        after: int | None = None
        while True:
            query = sa.select(_t).order_by(order).limit(_PAGE)
            if after is not None:
                query = query.where(_t.c.number > after if since is None else _t.c.number < after)
            async with translated_errors(60), self._reading.connect() as connection:
                found = [_row(row) for row in await connection.execute(query)]
            for row in found:
                yield row
                if since is not None and ((said := opened(self.key, row)) is None or said.at < since):
                    return
            if len(found) < _PAGE:
                return
            after = found[-1].number

    async def prune(self, delete: Callable[[sa.Delete], Any], spent: Callable[[SignedHeads], bool]) -> None:
        """Delete the oldest checkpoints of which all rows are pruned; a new checkpoint says so first."""
        first = 0
        newest = 0
        async for row in self.read():
            newest = row.number
            said = opened(self.key, row)
            if said is None or not spent(said):
                break
            first = row.number
        if not first or first == newest:
            return
        await self.sign({}, first=first + 1)
        await delete(sa.delete(_t).where(_t.c.number <= first))

    def opened(self, row: CheckpointHere) -> SignedHeads | None:
        """What a checkpoint says; None if it is forged."""
        return opened(self.key, row)

    async def _known(self) -> Place | None:
        """The newest checkpoint that this process or the file has seen. Raises `EpochUnreadable`."""
        kept = await asyncio.to_thread(self.epoch.read)
        return max((place for place in (kept, self._seen) if place is not None), default=None)

    async def _see(self, place: Place) -> None:
        self._seen = place
        await asyncio.to_thread(self.epoch.advance, place)

    async def _insert(self, connection: AsyncConnection, said: SignedHeads) -> Place:
        row = written(self.key, said)
        await connection.execute(sa.insert(_t).values(number=row.number, statement=row.statement, mac=row.mac))
        return row.place

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[AsyncConnection]:
        """A write transaction in which no other process adds a checkpoint."""
        async with translated_errors(), self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            yield connection


def _row(row: Any) -> CheckpointHere:
    number, statement, mac = row
    return CheckpointHere(number, bytes(statement), bytes(mac))


async def _newest(connection: AsyncConnection) -> CheckpointHere | None:
    row = (await connection.execute(sa.select(_t).order_by(_t.c.number.desc()).limit(1))).first()
    return _row(row) if row is not None else None


async def _must_contain(
    connection: AsyncConnection, newest: CheckpointHere | None, known: Place | None, key: bytes
) -> None:
    """Raises `TakenBack` if the database lacks the known checkpoint, or has another one in its place."""
    said = opened(key, newest) if newest is not None else None
    if newest is not None and said is None:
        raise ForgedCheckpoint(
            f"checkpoint {newest.number} of the audit log is forged or was changed: see `watchword audit verify`, "
            f"then delete it from the table audit_checkpoint"
        )
    if known is None:
        return
    if newest is None or newest.number < known[0]:
        has = f"ends with checkpoint {newest.number}" if newest is not None else "has no checkpoint"
        raise TakenBack(f"the database was cut or is an old copy: its audit log {has}, {known[0]} was signed already")
    if said is not None and known[0] < said.first:
        return
    found = (await connection.execute(sa.select(_t).where(_t.c.number == known[0]))).first()
    if found is None or _row(found).place != known:
        raise TakenBack(
            f"the database is another copy: its audit log has another checkpoint {known[0]} than was signed"
        )
