"""Bring a database to the present schema, with Alembic; safe to call from several processes at once."""

from __future__ import annotations

import sqlite3
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

_MIGRATIONS = Path(__file__).parent / "migrations"


@cache
def newest_revision() -> str:
    """The schema that this version of Watchword works on."""
    return str(ScriptDirectory(str(_MIGRATIONS)).get_current_head())


def migrate(url: str, revision: str = "head") -> None:
    """Create or upgrade. On SQLite the file is made when it is missing, readable by its owner only."""
    if url.startswith("sqlite:"):
        path = Path(url.removeprefix("sqlite:///"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["url"] = url
    if revision == "head" or not revision.startswith("-"):
        command.upgrade(config, revision)
    else:
        command.downgrade(config, revision)
