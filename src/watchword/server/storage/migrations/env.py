"""Alembic's entry: one transaction for all steps, under a lock.

An interrupted migration leaves nothing half done.
"""

from __future__ import annotations

import asyncio

import sqlalchemy as sa
from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from watchword.server.storage.schema import metadata

_LOCK = 0x6D696772


def _run(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()


def _url(url: str) -> str:
    return url.replace("postgresql://", "postgresql+asyncpg://", 1).replace("sqlite://", "sqlite+aiosqlite://", 1)


async def _migrate() -> None:
    engine = create_async_engine(_url(context.config.attributes["url"]), poolclass=NullPool)

    @sa.event.listens_for(engine.sync_engine, "connect")
    def plain(connection: object, _: object) -> None:
        if engine.dialect.name == "sqlite":
            connection.isolation_level = None  # type: ignore[attr-defined]

    async with engine.connect() as connection:
        await connection.run_sync(_run)
        await connection.commit()
    await engine.dispose()


asyncio.run(_migrate())
