"""The throwaway PostgreSQL works."""

import asyncpg
from tests.support.postgres import Postgres


async def test_fresh_database_is_empty_and_durable(postgres: Postgres) -> None:
    """Without this, storage tests could pass against a shared database or one that does not fsync."""
    connection = await asyncpg.connect(postgres.fresh_database())
    try:
        assert await connection.fetchval("SHOW fsync") == "on"
        assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    finally:
        await connection.close()
