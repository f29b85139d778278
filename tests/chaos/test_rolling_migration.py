"""Two versions on one database: the next one migrates it while this one serves, and starts again."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.support.instance import Instance, instance, node

from watchword.server.app import initialise
from watchword.server.storage.migrate import migrate, newest_revision

FORWARD = (
    "ALTER TABLE tenant ADD COLUMN colour TEXT",
    "ALTER TABLE application ADD COLUMN colour TEXT",
    "ALTER TABLE audit ADD COLUMN colour TEXT",
    "CREATE TABLE colour (name TEXT PRIMARY KEY)",
    "UPDATE alembic_version SET version_num = 'next'",
)
BACK = (
    "ALTER TABLE tenant DROP COLUMN colour",
    "ALTER TABLE application DROP COLUMN colour",
    "ALTER TABLE audit DROP COLUMN colour",
    "DROP TABLE colour",
    f"UPDATE alembic_version SET version_num = '{newest_revision()}'",
)


@pytest.fixture(params=["sqlite", "postgres"])
async def ww(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Instance]:
    """A running instance of this version."""
    url = request.getfixturevalue("postgres_dsn") if request.param == "postgres" else ""
    async with instance(tmp_path, url) as running:
        yield running


async def migrated(url: str, statements: tuple[str, ...]) -> None:
    """As Alembic does it: one transaction."""
    if url.startswith("sqlite"):
        await asyncio.to_thread(_on_sqlite, url, statements)
        return
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            for statement in statements:
                await connection.execute(statement)
    finally:
        await connection.close()


def _on_sqlite(url: str, statements: tuple[str, ...]) -> None:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, timeout=20)
    try:
        for statement in ("BEGIN IMMEDIATE", *statements, "COMMIT"):
            connection.execute(statement)
    finally:
        connection.close()


async def served(ww: Instance, while_this: Any) -> list[int]:
    """The statuses of tokens and registrations that were asked for without a pause until it was done, and some more."""
    work, statuses, after = asyncio.ensure_future(while_this), [], 0
    while after < 10:
        after += work.done()
        answers = await asyncio.gather(
            *(ww.token(ww.admin) for _ in range(8)), ww.call("POST", "/applications", {"name": f"made {len(statuses)}"})
        )
        statuses += [answer.status_code for answer in answers]
    await work
    return statuses


async def test_the_next_version_migrates_while_this_one_serves(ww: Instance) -> None:
    """DBF-014: an upgrade of one node would be an outage of all the others; and so would the way back."""
    settings = ww.services.settings
    for statements in (FORWARD, BACK):
        assert set(await served(ww, migrated(settings.database_url, statements))) == {200, 201}
        assert await initialise(settings, ww.services.world) is None
        async with node(settings, ww.clock, ww.admin) as restarted:
            assert (await restarted.token(ww.admin)).status_code == 200


@pytest.fixture(params=["sqlite", "postgres"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without a table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'w.db'}"
    return str(request.getfixturevalue("postgres").fresh_database())


def test_every_step_goes_back(empty: str, tmp_path: Path) -> None:
    """DBF-014: an operator who has to go back would find a step that was never walked."""
    steps = 0
    migrate(empty)
    while True:
        try:
            migrate(empty, "-1")
        except Exception as error:
            assert "Relative revision -1 didn't produce 1 migrations" in str(error)
            break
        steps += 1
    assert steps >= 10
    migrate(empty)
