"""Migrate a database to the newest schema with Alembic; safe to call from several processes at once."""

from __future__ import annotations

import sqlite3
from functools import cache
from pathlib import Path

import structlog
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

_MIGRATIONS = Path(__file__).parent / "migrations"
_log = structlog.get_logger("watchword.storage")


@cache
def newest_revision() -> str:
    """The schema revision of this version of Watchword."""
    return str(ScriptDirectory(str(_MIGRATIONS)).get_current_head())


def migrate(url: str, revision: str = "head") -> None:
    """Create or upgrade. On SQLite the file is made when it is missing, readable by its owner only.

    A database that a newer version has migrated is left as it is: while nodes are replaced one by one, an older one may
    have to start again (docs/decisions/0068).
    """
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
    if revision.startswith("-"):
        command.downgrade(config, revision)
        return
    try:
        command.upgrade(config, revision)
    except CommandError as error:
        if revision != "head" or "Can't locate revision" not in str(error):
            raise
        _log.warning("the database was migrated by a newer version; finish the upgrade of this node soon")
