"""Every test of this folder runs on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.nodes import Node, nodes
from tests.support.postgres import Postgres


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """For `nodes`, which fill it: the database is not there before."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'watchword.db'}"
    return str(request.getfixturevalue("postgres").promised_database())


@pytest.fixture
def empty_url(url: str) -> str:
    """An empty database."""
    if (server := Postgres.of(url)) is not None:
        server.fill(url, "template1")
    return url


@pytest.fixture
async def pair(url: str, tmp_path: Path) -> AsyncIterator[tuple[Node, Node]]:
    """Two nodes of one instance."""
    async with nodes(tmp_path, url) as made:
        yield made[0], made[1]
