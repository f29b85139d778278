"""The audit log in the database: checkpoints, reading, verifying, pruning."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from ...jose import Algorithm, BadSignature, PrivateKey
from ...jose.sealing import MasterKey
from ..audit.chain import GENESIS, Break, Row, row_hash
from . import schema

_PLACE = "audit_key"
_PAGE = 500


async def audit_key(engine: AsyncEngine, master: MasterKey) -> PrivateKey:
    """The key that signs checkpoints; made once, sealed under the master key."""
    from .open import read_meta, write_meta

    sealed = await read_meta(engine, _PLACE)
    if sealed is None:
        made = PrivateKey.generate(Algorithm.ES256)
        await write_meta(engine, _PLACE, master.seal(made.to_pkcs8(), _PLACE))
        sealed = await read_meta(engine, _PLACE)
        assert sealed is not None
    return PrivateKey.from_pkcs8(master.unseal(sealed, _PLACE), Algorithm.ES256, None)


class AuditLog:
    """Reads whole tenants in bounded pages; writes checkpoints."""

    def __init__(self, engine: AsyncEngine, key: PrivateKey, clock: Callable[[], float]) -> None:
        self._engine, self._key, self._clock = engine, key, clock
        self._bound: dict[str, tuple[int, str]] = {}

    async def bind(self, heads: Mapping[str, tuple[int, str]]) -> None:
        """Sign where every chain of this process stands, if one moved since the last time."""
        moved = {name: head for name, head in heads.items() if self._bound.get(name) != head}
        if not moved:
            return
        statement = msgspec.json.encode({"at": self._clock(), "heads": moved})
        signature = self._key.sign(statement)
        async with self._engine.begin() as connection:
            await connection.execute(sa.insert(schema.checkpoint).values(statement=statement, signature=signature))
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
            async with self._engine.connect() as connection:
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
        async with self._engine.connect() as connection:
            return [Row(*row) for row in (await connection.execute(query)).fetchall()]

    async def verify(self, tenant_id: str) -> tuple[int, list[Break]]:
        """How many rows were read, and every break: altered, missing, reordered, or not as a checkpoint says."""
        heads: dict[str, dict[int, str]] = await self._checkpointed(tenant_id)
        breaks: list[Break] = []
        count, chain, seq, head = 0, "", 0, GENESIS
        last: dict[str, int] = {}
        async for row in self.rows(tenant_id):
            count += 1
            if row.chain != chain:
                chain, seq, head = (
                    row.chain,
                    row.seq - 1 if row.seq == 1 else 0,
                    GENESIS,
                )
            if row.seq != seq + 1:
                breaks.append(
                    Break(
                        chain=chain,
                        seq=row.seq,
                        why=f"missing: expected row {seq + 1}, found row {row.seq}",
                    )
                )
            elif row_hash(head, row.tenant_id, row.chain, row.seq, row.at, row.payload) != row.hash:
                breaks.append(
                    Break(
                        chain=chain,
                        seq=row.seq,
                        why="altered or reordered: the hash does not fit the row",
                    )
                )
            signed = heads.get(chain, {}).get(row.seq)
            if signed is not None and signed != row.hash:
                breaks.append(
                    Break(
                        chain=chain,
                        seq=row.seq,
                        why="rewritten: the hash is not the one that was signed",
                    )
                )
            seq, head = row.seq, row.hash
            last[chain] = row.seq
        for name, signed_rows in heads.items():
            newest = max(signed_rows) if signed_rows else 0
            if newest > last.get(name, 0):
                breaks.append(
                    Break(
                        chain=name,
                        seq=newest,
                        why=f"missing: row {newest} was signed and is not here",
                    )
                )
        return count, breaks

    async def _checkpointed(self, tenant_id: str) -> dict[str, dict[int, str]]:
        heads: dict[str, dict[int, str]] = {}
        t = schema.checkpoint
        async with self._engine.connect() as connection:
            found = (
                await connection.execute(sa.select(t.c.id, t.c.statement, t.c.signature).order_by(t.c.id))
            ).fetchall()
        for id_, statement, signature in found:
            try:
                self._key.public.verify(bytes(statement), bytes(signature))
            except BadSignature:
                heads.setdefault(f"checkpoint {id_}", {})[1] = "its signature is wrong"
                continue
            for name, (seq, digest) in msgspec.json.decode(statement)["heads"].items():
                tenant, _, chain = name.partition("/")
                if tenant == tenant_id:
                    heads.setdefault(chain, {})[seq] = digest
        return heads
