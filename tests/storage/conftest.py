"""Every test of this folder runs on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.nodes import Node, nodes


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'watchword.db'}"
    return str(request.getfixturevalue("postgres").fresh_database())


@pytest.fixture
async def pair(url: str, tmp_path: Path) -> AsyncIterator[tuple[Node, Node]]:
    """Two nodes of one instance."""
    async with nodes(tmp_path, url) as made:
        yield made[0], made[1]
