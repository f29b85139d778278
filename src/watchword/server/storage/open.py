"""Open a database: check its schema and its master key, and build the implementations of the ports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncEngine

from ...jose.sealing import MasterKey
from ..audit.chain import Chains
from ..service.ports import Answers, Journal, Reader
from ..service.tokens.ports import Debts, RevocationReader, StatusReader
from . import postgres, schema, sqlite
from .answers import StoredAnswers
from .debts import PostgresDebts, SqliteDebts
from .failures import translated_errors
from .registry import RegistryStore

_KEY_CHECK = b"watchword master key check v1"


class StartRefused(Exception):
    """The server must not start on this database; the text says what to do."""


class Storage(Struct, frozen=True):
    """The ports of one open database."""

    engine: AsyncEngine
    store: RegistryStore
    reader: Reader
    journal: Journal
    revocations: RevocationReader
    status: StatusReader
    debts: Debts
    answers: Answers

    async def close(self) -> None:
        """Close all connections."""
        await self.journal.close()
        await self.debts.close()
        await self.reader.close()
        await self.engine.dispose()


def make_engine(url: str) -> AsyncEngine:
    """The SQLAlchemy engine for the URL's database."""
    return sqlite.engine(sqlite_path(url)) if url.startswith("sqlite:") else postgres.engine(url)


def for_reading(writing: AsyncEngine) -> AsyncEngine:
    """The same engine, for read-only transactions."""
    return sqlite.for_reading(writing) if writing.dialect.name == "sqlite" else postgres.for_reading(writing)


def sqlite_path(url: str) -> Path:
    """The file of a sqlite URL."""
    return Path(url.removeprefix("sqlite:///"))


async def open_storage(url: str, clock: Callable[[], float], chains: Chains) -> Storage:
    """`chains` are the audit chains of the registry's transactions. Raises `StorageUnavailable`."""
    engine = make_engine(url)
    turn = asyncio.Lock()
    if url.startswith("sqlite:"):
        path = sqlite_path(url)
        # The reader first: it refuses a missing file before a thread is started for it.
        reader: sqlite.SqliteReader | postgres.PostgresReader = sqlite.SqliteReader(path)
        journal: Journal = sqlite.SqliteJournal(path, turn)
        debts: Debts = SqliteDebts(path, turn)
    else:
        # PostgreSQL has many writers: no lock is needed beyond one for each connection.
        reader, journal, debts = postgres.PostgresReader(url), postgres.PostgresJournal(url), PostgresDebts(url)
    reading = for_reading(engine)
    store = RegistryStore(engine, reading, turn, clock, chains)
    return Storage(engine, store, reader, journal, reader, reader, debts, StoredAnswers(engine, reading, turn))


async def read_meta(engine: AsyncEngine, key: str) -> bytes | None:
    """One value of the meta table."""
    async with translated_errors(), for_reading(engine).connect() as connection:
        found = await connection.execute(sa.select(schema.meta.c.value).where(schema.meta.c.key == key))
        row = found.first()
    return bytes(row[0]) if row else None


async def write_meta(engine: AsyncEngine, key: str, value: bytes) -> None:
    """Set a value once; an existing value stays. Of concurrent writers the first wins."""
    insert: Any = pg_insert if engine.dialect.name == "postgresql" else sqlite_insert
    statement = insert(schema.meta).values(key=key, value=value).on_conflict_do_nothing()
    async with translated_errors(), engine.begin() as connection:
        await connection.execute(statement)


async def made_before(url: str) -> bool:
    """Whether this database holds an instance, and so depends on a master key that exists. Makes no file."""
    if url.startswith("sqlite:"):
        return sqlite_path(url).exists()
    engine = make_engine(url)
    try:
        async with translated_errors(), engine.connect() as connection:
            if not await connection.run_sync(lambda sync: sa.inspect(sync).has_table(schema.meta.name)):
                return False
        return await read_meta(engine, "master_key_check") is not None
    finally:
        await engine.dispose()


async def check_master_key(engine: AsyncEngine, master: MasterKey) -> None:
    """Raises `StartRefused` when the database was made under another master key."""
    stored = await read_meta(engine, "master_key_check")
    mark = master.mac(_KEY_CHECK, b"check")
    if stored is None:
        await write_meta(engine, "master_key_check", mark)
        stored = await read_meta(engine, "master_key_check")
    if stored != mark:
        raise StartRefused(
            "the master key is not the one this database was made with: restore the right key file "
            "(WATCHWORD_MASTER_KEY_FILE); nothing was changed"
        )
