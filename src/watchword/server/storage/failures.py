"""Translate database errors into the two exceptions of the port, for both drivers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import SQLAlchemyError

from ..service.ports import PATIENCE, Contention, StorageUnavailable

_CONTENTION = ("40001", "40P01")
"""Serialization failure and deadlock: PostgreSQL has rolled back, and the transaction can be retried."""

_AFTERWARDS = 0.5
"""Seconds to end a connection whose last statement still runs; after them nobody waits for it."""


@asynccontextmanager
async def translated_errors(patience: float = PATIENCE) -> AsyncIterator[None]:
    """Raises `StorageUnavailable` for a database that is away or too slow, `Contention` for a lost race."""
    try:
        async with asyncio.timeout(patience + _AFTERWARDS), asyncio.timeout(patience):
            yield
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        text = f"{type(error).__name__}: {error}".split("\n")[0]
        lost_a_race = getattr(getattr(error, "orig", None), "sqlstate", None) in _CONTENTION
        raise (Contention(text) if lost_a_race else StorageUnavailable(text)) from None
