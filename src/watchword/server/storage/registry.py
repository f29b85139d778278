"""Open transactions over the registry, keep this worker's audit chains, and purge expired rows.

`turn` lets a worker's own transaction and its group commit take turns instead of polling each other's file lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from ..audit.chain import Chains, Row
from ..registry.fleet.enrolment import REPEAT_WITHIN
from ..registry.fleet.pending import KEPT
from ..service.ports import PATIENCE, Change, RequestMark, StorageUnavailable
from . import schema
from .answers import KEEP_ANSWERS
from .failures import translated_errors
from .transaction import RegistryTransaction

KEEP_MARKS = 3_600
"""Seconds that a replay mark is kept after it expires, in case the clock is set back (decision 0020)."""


class RegistryStore:
    """Opens transactions, and keeps the heads of the audit chains that they extend."""

    def __init__(
        self,
        engine: AsyncEngine,
        reading: AsyncEngine,
        turn: asyncio.Lock,
        clock: Callable[[], float],
        chains: Chains,
    ) -> None:
        self._engine, self._reading, self._turn, self._clock, self._chains = engine, reading, turn, clock, chains
        self.heads = chains.heads
        self.heed: Callable[[Sequence[Change]], None] = lambda changes: None
        """Updates this worker's own view right after a commit; set by the composition root."""
        self._gate = asyncio.Lock()
        """Only one change at a time waits for the turn, so that a commit of tokens waits for one, and not for all."""

    @asynccontextmanager
    async def transaction(
        self, patience: float = PATIENCE, mark: RequestMark | None = None
    ) -> AsyncIterator[RegistryTransaction]:
        """Commits before it returns, within `patience` seconds. `mark` is its first row.

        Raises `StorageUnavailable` when the database is away, `Contention` when a retry is enough, `CarriedOut`.
        """
        changes: list[Change] = []
        rows: list[Row] = []
        try:
            async with translated_errors(patience), self._gate, self._turn, self._engine.begin() as connection:
                tx = RegistryTransaction(connection)
                if mark is not None:
                    await tx.mark(mark, int(self._clock()))
                yield tx
                rows = self._chains.rows(tx.events, self._clock())
                changes = await tx.finish(rows)
        except StorageUnavailable:
            self._chains.begin_anew()
            raise
        self._chains.advance(rows)
        self.heed(changes)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[RegistryTransaction]:
        """A read-only transaction. Neither waits for writers nor blocks them. Raises `StorageUnavailable`."""
        async with translated_errors(), self._reading.connect() as connection:
            yield RegistryTransaction(connection, writes=False)

    async def secret_use(self, tenant_id: str, secret_ids: Sequence[str]) -> dict[str, int]:
        """When each of these secrets was last used; secrets that were never used are absent."""
        t = schema.secret_use
        query = sa.select(t.c.secret_id, t.c.last_used_at).where(
            t.c.tenant_id == tenant_id, t.c.secret_id.in_(secret_ids)
        )
        async with translated_errors(), self._reading.connect() as connection:
            return {row[0]: row[1] for row in (await connection.execute(query)).fetchall()}

    async def purge(self, now: float) -> None:
        """Delete expired rows, one table a transaction, so that no lock is held long."""
        old_feed = sa.select(sa.func.max(schema.change.c.seq)).scalar_subquery() - 100_000
        for statement in (
            sa.delete(schema.revoked).where(schema.revoked.c.expires_at < int(now) - 60),
            sa.delete(schema.revocation).where(schema.revocation.c.expires_at < int(now) - 60),
            sa.delete(schema.status_entry).where(schema.status_entry.c.expires_at < int(now)),
            sa.delete(schema.opaque_token).where(schema.opaque_token.c.expires_at < int(now) - 60),
            sa.delete(schema.replay_mark).where(schema.replay_mark.c.expires_at < int(now) - KEEP_MARKS),
            sa.delete(schema.idempotency_key).where(schema.idempotency_key.c.at < int(now) - KEEP_ANSWERS),
            sa.delete(schema.enrolment_code).where(schema.enrolment_code.c.expires_at < int(now) - REPEAT_WITHIN),
            sa.delete(schema.debt).where(schema.debt.c.until < now - 60),
            sa.delete(schema.pending_enrolment).where(
                schema.pending_enrolment.c.expires_at < int(now) - KEPT, schema.pending_enrolment.c.state != "denied"
            ),
            sa.delete(schema.change).where(schema.change.c.seq < old_feed),
        ):
            async with translated_errors(), self._gate, self._turn, self._engine.begin() as connection:
                await connection.execute(statement)
