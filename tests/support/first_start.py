"""The first start of an instance, once for each kind of settings: what tests begin with is a copy of what it made.

It is most of a test's time otherwise: the migrations, and keys of RSA. Of two instances that are open at the same time
the second is made anew, so that no test takes another's keys for its own.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import msgspec
from tests.support.postgres import Postgres

from watchword.server.app import initialise
from watchword.server.composition.foundation import World
from watchword.server.config import Settings
from watchword.server.service.registry.create_tenant import FirstAdmin

_FOLDER = tempfile.TemporaryDirectory(prefix="ww-first-")


class _First(NamedTuple):
    """What the first start of a kind of settings made, and where."""

    admin: FirstAdmin
    database_url: str
    key_file: Path


_MADE: dict[tuple[Settings, str], _First] = {}
"""By the settings and, for PostgreSQL, the server."""


class Open(AbstractContextManager["Open"]):
    """How many instances are open in this process."""

    now = 0

    def __enter__(self) -> Open:
        Open.now += 1
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        Open.now -= 1


async def first_start(settings: Settings, world: World) -> FirstAdmin:
    """Database, master key, tenant and administrator where these settings say."""
    path, server = settings.sqlite_path, Postgres.of(settings.database_url)
    if Open.now > 1 or (path is None and server is None):
        if server is not None:
            server.create(settings.database_url)
        return await _made(settings, world)
    general = msgspec.structs.replace(settings, database_url="", master_key_file="", tls_cert="", tls_key="")
    kind = general, server.dsn if server else ""
    if kind not in _MADE:
        _MADE[kind] = await _first(settings, world, server)
    first = _MADE[kind]
    if path is not None:
        shutil.copy2(first.database_url.removeprefix("sqlite:///"), path)
    if server is not None:
        server.fill(settings.database_url, first.database_url.rpartition("/")[2])
    shutil.copy2(first.key_file, settings.master_key_file)
    epoch = first.key_file.with_name(f"{first.key_file.name}.epoch")
    if epoch.exists():
        shutil.copy2(epoch, f"{settings.master_key_file}.epoch")
    return first.admin


async def _first(settings: Settings, world: World, server: Postgres | None) -> _First:
    folder = Path(_FOLDER.name) / str(len(_MADE))
    folder.mkdir()
    url, key_file = server.migrated_database() if server else f"sqlite:///{folder / 'database'}", folder / "key"
    there = msgspec.structs.replace(settings, database_url=url, master_key_file=str(key_file))
    return _First(await _made(there, world), url, key_file)


async def _made(settings: Settings, world: World) -> FirstAdmin:
    first = await initialise(settings, world)
    assert first is not None
    return first
