"""Prune the audit log in two steps, so that no lock is held long and an interruption does no harm.

First one short transaction signs the anchors (where each chain begins from now on) and records
`AuditPruned`. Then the rows that the anchors cover are deleted in batches, each a transaction of its
own; the next pruning also deletes what an interrupted one left.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ....jose import PrivateKey
from ...audit.events import Event
from ...audit.verification import Place, newest_anchors
from .. import schema
from ..failures import translated_errors
from ..open import for_reading
from ..registry import RegistryStore
from .checkpoints import CheckpointChain
from .statements import Anchor, anchors, checkpoints

_BATCH = 1_000
_CHECKPOINTS = 100  # a signature each, on the event loop
_PRUNE_LOCK = 0x7072756E65
_t = schema.audit


class AuditPruning:
    """Implements the port of `service/upkeep/prune_audit.py`."""

    def __init__(
        self,
        engine: AsyncEngine,
        store: RegistryStore,
        chain: CheckpointChain,
        key: PrivateKey,
        clock: Callable[[], float],
        batch: int = _BATCH,
    ) -> None:
        self._chain = chain
        self._reading, self._store, self._clock, self._batch = for_reading(engine), store, clock, batch
        self._anchors, self._checkpoints = anchors(key), checkpoints(key)

    async def give_up(self, before: float, event: Callable[[int], Event]) -> int:
        """Sign anchors after the rows older than `before`; each tenant's log gets `event(rows)`. Their number."""
        valid, given_up = await self._given_up()
        cuts, counts = await self._cuts(before, given_up)
        if not cuts:
            return 0
        async with self._store.transaction() as tx:
            if tx.dialect == "postgresql":
                await tx.run(sa.select(sa.func.pg_advisory_xact_lock(_PRUNE_LOCK)))
            if any(
                anchor is not None for _, anchor in await self._anchors.read(tx.connection, after=max(valid, default=0))
            ):
                return 0  # another worker has pruned at the same time
            anchor = Anchor(self._clock(), before, newest_anchors(given_up, cuts))
            await self._anchors.write(tx.connection, anchor)
            for tenant_id, rows in counts.items():
                tx.record(tenant_id, event(rows))
        return sum(counts.values())

    async def remove(self) -> AsyncGenerator[int, None]:
        """Delete the rows that the newest anchor covers, in batches; yields the number of rows of each batch."""
        valid, given_up = await self._given_up()
        for name, (last, _) in given_up.items():
            tenant_id, _, chain = name.partition("/")
            of_chain = (_t.c.tenant_id == tenant_id, _t.c.chain == chain)
            while (first := await self._value(sa.select(sa.func.min(_t.c.seq)).where(*of_chain))) is not None:
                if first > last:
                    break
                end = min(first + self._batch - 1, last)
                yield await self._delete(sa.delete(_t).where(*of_chain, _t.c.seq <= end))
        await self._delete(
            sa.delete(schema.anchor).where(schema.anchor.c.id.in_(valid[:-1]))
        )  # an anchor with a wrong signature stays: it is evidence
        await self._remove_checkpoints(given_up)

    async def _delete(self, statement: sa.Delete) -> int:
        async with self._store.transaction() as tx:
            return await tx.count(statement)

    async def _cuts(self, before: float, anchors: dict[str, Place]) -> tuple[dict[str, Place], dict[str, int]]:
        """The new anchors, and the number of rows to delete for each tenant."""
        cuts: dict[str, Place] = {}
        counts: dict[str, int] = {}
        async with translated_errors(60), self._reading.connect() as connection:
            for (tenant_id,) in (await connection.execute(sa.select(schema.tenant.c.id))).fetchall():
                old = (
                    sa.select(_t.c.chain, sa.func.max(_t.c.seq))
                    .where(_t.c.tenant_id == tenant_id, _t.c.at < before)
                    .group_by(_t.c.chain)
                )
                for chain, newest in (await connection.execute(old)).fetchall():
                    name = f"{tenant_id}/{chain}"
                    found = await self._cut(connection, tenant_id, chain, newest, before)
                    if found is not None and found[0] > anchors.get(name, (0, ""))[0]:
                        cuts[name] = found
                        covered = (_t.c.tenant_id == tenant_id, _t.c.chain == chain, _t.c.seq <= found[0])
                        rows = sa.select(sa.func.count()).select_from(_t).where(*covered)
                        counts[tenant_id] = counts.get(tenant_id, 0) + ((await connection.scalar(rows)) or 0)
        return cuts, counts

    @staticmethod
    async def _cut(connection: AsyncConnection, tenant_id: str, chain: str, newest: int, before: float) -> Place | None:
        """A chain's last old row with only old rows before it: times may be out of order after a clock was set back."""
        of_chain = (_t.c.tenant_id == tenant_id, _t.c.chain == chain)
        young = sa.select(sa.func.min(_t.c.seq)).where(*of_chain, _t.c.seq < newest, _t.c.at >= before)
        first_young = await connection.scalar(young)
        last = newest if first_young is None else first_young - 1
        row = (await connection.execute(sa.select(_t.c.seq, _t.c.hash).where(*of_chain, _t.c.seq == last))).first()
        return (row[0], row[1]) if row is not None else None

    async def _remove_checkpoints(self, given_up: dict[str, Place]) -> None:
        """Delete the oldest checkpoints, up to the first that covers rows which still exist."""

        def spent_in(heads: Mapping[str, Place]) -> bool:
            return all(seq <= given_up.get(name, (0, ""))[0] for name, (seq, _) in heads.items())

        await self._chain.prune(self._delete, lambda said: spent_in(said.heads))
        while True:
            async with translated_errors(), self._reading.connect() as connection:
                found = await self._checkpoints.read(connection, limit=_CHECKPOINTS)
            spent = 0
            for id_, said in found:
                if said is None or not spent_in(said.heads):
                    break
                spent = id_
            if not spent:
                return
            await self._delete(sa.delete(schema.checkpoint).where(schema.checkpoint.c.id <= spent))

    async def _given_up(self) -> tuple[list[int], dict[str, Place]]:
        """The ids of the validly signed anchors, and the row after which each chain begins."""
        valid, given_up = list[int](), dict[str, Place]()
        async with translated_errors(), self._reading.connect() as connection:
            for id_, anchor in await self._anchors.read(connection):
                if anchor is not None:
                    valid.append(id_)
                    given_up = newest_anchors(given_up, anchor.pruned)
        return valid, given_up

    async def _value(self, query: sa.Select[Any]) -> Any:
        async with translated_errors(), self._reading.connect() as connection:
            return await connection.scalar(query)
