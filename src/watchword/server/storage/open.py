"""Open a database: check its schema and its master key, then hand out the ports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from ...jose.sealing import MasterKey
from ..service.ports import Journal, Reader, StorageUnavailable
from . import postgres, schema, sqlite
from .registry import RegistryStore

SCHEMA_VERSION = "0003"
_KEY_CHECK = b"watchword master key check v1"


class StartRefused(Exception):
    """The server must not start on this database; the text says what to do."""


class Storage(Struct, frozen=True):
    """The ports of one open database."""

    engine: AsyncEngine
    store: RegistryStore
    reader: Reader
    journal: Journal

    async def close(self) -> None:
        """Let go of everything."""
        await self.journal.close()
        await self.reader.close()
        await self.engine.dispose()


def make_engine(url: str) -> AsyncEngine:
    """The SQLAlchemy engine of either database."""
    return sqlite.engine(sqlite_path(url)) if url.startswith("sqlite:") else postgres.engine(url)


def sqlite_path(url: str) -> Path:
    """The file of a sqlite URL."""
    return Path(url.removeprefix("sqlite:///"))


async def open_storage(url: str, clock: Callable[[], float], new_chain: Callable[[], str]) -> Storage:
    """Raises `StorageUnavailable`."""
    engine = make_engine(url)
    turn = asyncio.Lock()
    if url.startswith("sqlite:"):
        path = sqlite_path(url)
        reader: Reader = sqlite.SqliteReader(path)
        journal: Journal = sqlite.SqliteJournal(path, turn)
    else:
        # PostgreSQL has many writers: no turns are needed beyond one for each connection.
        reader, journal = postgres.PostgresReader(url), postgres.PostgresJournal(url)
    store = RegistryStore(engine, turn, clock, new_chain)
    return Storage(engine, store, reader, journal)


async def read_meta(engine: AsyncEngine, key: str) -> bytes | None:
    """One value of the meta table."""
    try:
        async with engine.connect() as connection:
            found = await connection.execute(sa.select(schema.meta.c.value).where(schema.meta.c.key == key))
            row = found.first()
    except SQLAlchemyError as error:
        raise StorageUnavailable(str(error).split("\n")[0]) from None
    return bytes(row[0]) if row else None


async def write_meta(engine: AsyncEngine, key: str, value: bytes) -> None:
    """Set one value once; an existing one stays."""
    async with engine.begin() as connection:
        exists = await connection.execute(sa.select(schema.meta.c.key).where(schema.meta.c.key == key))
        if exists.first() is None:
            await connection.execute(sa.insert(schema.meta).values(key=key, value=value))


async def check_master_key(engine: AsyncEngine, master: MasterKey) -> None:
    """Raises `StartRefused` when the database was made under another master key."""
    stored = await read_meta(engine, "master_key_check")
    mark = master.mac(_KEY_CHECK, b"check")
    if stored is None:
        await write_meta(engine, "master_key_check", mark)
    elif stored != mark:
        raise StartRefused(
            "the master key is not the one this database was made with: restore the right key file "
            "(WATCHWORD_MASTER_KEY_FILE); nothing was changed"
        )
