"""Sign checkpoints of this process's audit chains, and of what processes that ended have left unsigned."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import sqlalchemy as sa
import structlog
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncEngine

from ...audit.chain import GENESIS, Row, row_hash, row_mac
from ...audit.verification import LATEST, Place
from .. import schema
from ..failures import translated_errors
from ..open import for_reading
from .checkpoints import CheckpointChain, TakenBack
from .epoch import EpochUnreadable

_EVERY = 600.0
"""Seconds between two looks for rows that others have left. With `_MARGIN` it is less than `LATEST`."""
_MARGIN = 600.0
"""Seconds by which a row may be older than a checkpoint that does not have it: clocks differ, and commits take time."""
assert _EVERY + _MARGIN < LATEST
_PAGE = 500
_t = schema.audit
_log: Any = structlog.get_logger("watchword.audit")


class _Tail(Struct, frozen=True):
    """The young rows of one chain."""

    tenant_id: str
    chain: str
    first: int
    last: int

    @property
    def name(self) -> str:
        return f"{self.tenant_id}/{self.chain}"


class AuditSigning:
    """One object per process."""

    def __init__(self, engine: AsyncEngine, chain: CheckpointChain, key: bytes, clock: Callable[[], float]) -> None:
        self._reading, self._chain, self._key, self._clock = for_reading(engine), chain, key, clock
        self._bound: dict[str, Place] = {}
        self._looked: float | None = None
        self._warned = ""

    async def bind(self, heads: Mapping[str, Place]) -> None:
        """Sign the chains of this process that have grown, and, at the start and then seldom, what others left.

        Signs nothing on a database that is older than what was signed already: the log says so each time.
        """
        try:
            due, now = self._is_due(), self._clock()
            left = await self._left(heads, now) if due else {}
            moved = {name: head for name, head in heads.items() if self._bound.get(name) != head}
            if moved or left:
                await self._chain.sign({**left, **moved})
            else:
                await self._chain.follow()
        except (TakenBack, EpochUnreadable) as error:
            _log.error("the audit log is not signed", why=str(error))
            return
        self._bound.update(moved)
        self._looked = now if due else self._looked
        self._warn()

    def _is_due(self) -> bool:
        return self._looked is None or not 0 <= self._clock() - self._looked < _EVERY

    def _warn(self) -> None:
        why = self._chain.epoch.why_not
        if why and why != self._warned:
            _log.warning("the audit epoch cannot be written", file=str(self._chain.epoch.path), why=why)
        self._warned = why

    async def _left(self, own: Mapping[str, Place], now: float) -> dict[str, Place]:
        """The heads of chains whose newest rows no checkpoint covers, and that are not this process's own."""
        newest = await self._newest_at()
        since = min(newest, now if self._looked is None else self._looked) - _MARGIN if newest is not None else None
        covered = await self._covered(since) if since is not None else {}
        left: dict[str, Place] = {}
        async for tail in self._tails(since):
            if tail.name in own or tail.last <= covered.get(tail.name, 0):
                continue
            start = max(tail.first, covered.get(tail.name, 0) + 1)
            head = await self._head(tail) if since is None else await self._authentic(tail, start)
            if head is not None:
                left[tail.name] = head
        if left:
            _log.info("signing what other processes left", chains=len(left))
        return left

    async def _newest_at(self) -> float | None:
        """The time of the newest checkpoint that names rows; None: the first checkpoint adopts the log as it is."""
        found = None
        async for row in self._chain.read(since=float("-inf")):
            said = self._chain.opened(row)
            found = said.at if said is not None and said.heads else 0.0
            if found:
                break
        return found

    async def _covered(self, since: float) -> dict[str, int]:
        covered: dict[str, int] = {}
        async for row in self._chain.read(since=since):
            said = self._chain.opened(row)
            for name, (seq, _) in (said.heads if said is not None else {}).items():
                covered[name] = max(seq, covered.get(name, 0))
        return covered

    async def _tails(self, since: float | None) -> AsyncIterator[_Tail]:
        async with translated_errors(60), self._reading.connect() as connection:
            for (tenant_id,) in (await connection.execute(sa.select(schema.tenant.c.id))).fetchall():
                query = sa.select(_t.c.chain, sa.func.min(_t.c.seq), sa.func.max(_t.c.seq)).where(
                    _t.c.tenant_id == tenant_id
                )
                if since is not None:
                    query = query.where(_t.c.at >= since)
                for chain, first, last in (await connection.execute(query.group_by(_t.c.chain))).fetchall():
                    yield _Tail(tenant_id, chain, first, last)

    async def _head(self, tail: _Tail) -> Place | None:
        rows = [row async for row in self._rows(tail, tail.last - 1)]
        return (rows[-1].seq, rows[-1].hash) if rows else None

    async def _authentic(self, tail: _Tail, start: int) -> Place | None:
        """The last row from `start` on up to which every row has its MAC and follows the row before it."""
        before = GENESIS if start == 1 else ""
        head: Place | None = None
        async for row in self._rows(tail, start - 2):
            linked = not before or row_hash(before, row.tenant_id, row.chain, row.seq, row.at, row.payload) == row.hash
            if row.seq >= start:
                if row.mac is None:
                    break  # a node of an older version signs its own
                if not linked or row_mac(self._key, row.hash) != row.mac:
                    _log.error("a row of the audit log is forged or was changed", chain=row.chain, row=row.seq)
                    break
                head = (row.seq, row.hash)
            before = row.hash
        return head

    async def _rows(self, tail: _Tail, after: int) -> AsyncIterator[Row]:
        of_chain = (_t.c.tenant_id == tail.tenant_id, _t.c.chain == tail.chain, _t.c.seq <= tail.last)
        while True:
            query = sa.select(_t).where(*of_chain, _t.c.seq > after).order_by(_t.c.seq).limit(_PAGE)
            async with translated_errors(60), self._reading.connect() as connection:
                found = [Row(*row) for row in (await connection.execute(query)).fetchall()]
            for row in found:
                yield row
            if len(found) < _PAGE:
                return
            after = found[-1].seq
