"""Store the answers of requests with an `Idempotency-Key`, beside the marks that their transactions have written."""

from __future__ import annotations

import asyncio

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from ..service.ports import KeptAnswer, RequestMark
from .failures import translated_errors
from .schema import idempotency_key as t

KEEP_ANSWERS = 86_400
"""Seconds after which a mark and its answer are deleted; a repeated request is then a new one."""


class StoredAnswers:
    """`turn` is the lock of this worker's writers, as for the registry."""

    def __init__(self, engine: AsyncEngine, reading: AsyncEngine, turn: asyncio.Lock) -> None:
        self._engine, self._reading, self._turn = engine, reading, turn

    async def find(self, mark: RequestMark) -> KeptAnswer | None:
        """What is stored under this key. Raises `StorageUnavailable`."""
        query = sa.select(t.c.fingerprint, t.c.at, t.c.answer).where(*_of(mark))
        async with translated_errors(), self._reading.connect() as connection:
            row = (await connection.execute(query)).first()
        return KeptAnswer(bytes(row[0]), int(row[1]), None if row[2] is None else bytes(row[2])) if row else None

    async def keep(self, mark: RequestMark, sealed: bytes) -> bool:
        """Add the answer. Raises `StorageUnavailable`."""
        statement = sa.update(t).where(*_of(mark)).values(answer=sealed)
        async with translated_errors(), self._turn, self._engine.begin() as connection:
            return bool((await connection.execute(statement)).rowcount)


def _of(mark: RequestMark) -> tuple[sa.ColumnElement[bool], ...]:
    return t.c.tenant_id == mark.tenant_id, t.c.actor == mark.actor, t.c.key == mark.key
