"""The throwaway PostgreSQL works."""

import asyncpg


async def test_fresh_database_is_empty_and_durable(postgres_dsn: str) -> None:
    """Without this, storage tests could pass against a shared database or one that does not fsync."""
    connection = await asyncpg.connect(postgres_dsn)
    try:
        assert await connection.fetchval("SHOW fsync") == "on"
        assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    finally:
        await connection.close()
