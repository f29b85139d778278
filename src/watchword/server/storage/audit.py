"""Read and verify the audit log, and sign checkpoints of its hash chains."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from ...jose import PrivateKey
from ..audit.chain import Break, Row
from ..audit.verification import Place, Signed, Verification, newest_anchors
from . import schema
from .checkpoints import Checkpoint, anchors, checkpoints
from .failures import translated_errors
from .open import for_reading

_PAGE = 500


class AuditLog:
    """Reads whole tenants in bounded pages; writes checkpoints."""

    def __init__(self, engine: AsyncEngine, key: PrivateKey, clock: Callable[[], float]) -> None:
        self._engine, self._reading, self._clock = engine, for_reading(engine), clock
        self._checkpoints, self._anchors = checkpoints(key), anchors(key)
        self._bound: dict[str, Place] = {}

    async def bind(self, heads: Mapping[str, Place]) -> None:
        """Sign a checkpoint of the chains of this process that have grown since the last checkpoint."""
        moved = {name: head for name, head in heads.items() if self._bound.get(name) != head}
        if not moved:
            return
        async with translated_errors(), self._engine.begin() as connection:
            await self._checkpoints.write(connection, Checkpoint(self._clock(), moved))
        self._bound.update(moved)

    async def rows(self, tenant_id: str, *, by_time: bool = False, since: float = 0.0) -> AsyncIterator[Row]:
        """All rows of a tenant, by chain or by time."""
        t = schema.audit
        order = (t.c.at, t.c.chain, t.c.seq) if by_time else (t.c.chain, t.c.seq)
        after: tuple[Any, ...] | None = None
        while True:
            query = sa.select(t).where(t.c.tenant_id == tenant_id, t.c.at >= since).order_by(*order).limit(_PAGE)
            if after is not None:
                query = query.where(sa.tuple_(*order) > sa.tuple_(*(sa.literal(value) for value in after)))
            async with translated_errors(), self._reading.connect() as connection:
                found = (await connection.execute(query)).fetchall()
            for row in found:
                yield Row(*row)
            if len(found) < _PAGE:
                return
            last = Row(*found[-1])
            after = (last.at, last.chain, last.seq) if by_time else (last.chain, last.seq)

    async def recent(self, tenant_id: str, limit: int) -> list[Row]:
        """The newest rows, newest first."""
        t = schema.audit
        query = sa.select(t).where(t.c.tenant_id == tenant_id).order_by(t.c.at.desc(), t.c.seq.desc()).limit(limit)
        async with translated_errors(), self._reading.connect() as connection:
            return [Row(*row) for row in (await connection.execute(query)).fetchall()]

    async def verify(self, tenant_id: str) -> tuple[int, list[Break]]:
        """The number of rows read, and every break: rows altered, missing, reordered, or not as a checkpoint says.

        Events that are written meanwhile are not missing: the checkpoints are read first. Rows that are
        pruned meanwhile would be, so a verification that found breaks looks again at the anchors, once.
        """
        signed, forged = await self._signed(tenant_id)
        count, breaks = await self._walk(tenant_id, signed)
        if breaks:
            again, forged = await self._signed(tenant_id)
            if again.anchors != signed.anchors:
                count, breaks = await self._walk(tenant_id, again)
        return count, [*forged, *breaks]

    async def _walk(self, tenant_id: str, signed: Signed) -> tuple[int, list[Break]]:
        found = Verification(signed)
        async for row in self.rows(tenant_id):
            found.read(row)
        return found.count, found.finish()

    async def _signed(self, tenant_id: str) -> tuple[Signed, list[Break]]:
        """What the validly signed checkpoints and anchors say, and a break for each with a wrong signature."""
        signed = Signed({}, {})
        async with translated_errors(60), self._reading.connect() as connection:
            bound = await self._checkpoints.read(connection)
            pruned = await self._anchors.read(connection)
        for _, checkpoint in bound:
            for chain, (seq, digest) in _of(checkpoint.heads if checkpoint else {}, tenant_id).items():
                signed.heads.setdefault(chain, {})[seq] = digest
        for _, anchor in pruned:
            signed.anchors.update(newest_anchors(signed.anchors, _of(anchor.pruned if anchor else {}, tenant_id)))
        forged = [("checkpoint", id_) for id_, said in bound if said is None]
        forged += [("anchor", id_) for id_, said in pruned if said is None]
        why = "its signature is wrong: it is forged, or was changed"
        return signed, [Break(chain=f"{kind} {id_}", seq=id_, why=why) for kind, id_ in forged]


def _of(places: Mapping[str, Place], tenant_id: str) -> dict[str, Place]:
    """The places of one tenant, by chain."""
    prefix = f"{tenant_id}/"
    return {name.removeprefix(prefix): place for name, place in places.items() if name.startswith(prefix)}
