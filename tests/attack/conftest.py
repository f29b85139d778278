"""Attacks run on SQLite and, where the database matters, on PostgreSQL."""

from pathlib import Path

import pytest


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'watchword.db'}"
    return str(request.getfixturevalue("postgres").fresh_database())
