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

import msgspec

from watchword.server.app import initialise
from watchword.server.composition.foundation import World
from watchword.server.config import Settings
from watchword.server.service.registry.create_tenant import FirstAdmin

_MADE: dict[Settings, tuple[FirstAdmin, Path]] = {}
_FOLDER = tempfile.TemporaryDirectory(prefix="ww-first-")


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
    path = settings.sqlite_path
    if path is None or Open.now > 1:
        return await _made(settings, world)
    kind = msgspec.structs.replace(settings, database_url="", master_key_file="", tls_cert="", tls_key="")
    if kind not in _MADE:
        folder = Path(_FOLDER.name) / str(len(_MADE))
        folder.mkdir()
        there = msgspec.structs.replace(
            settings, database_url=f"sqlite:///{folder / 'database'}", master_key_file=str(folder / "key")
        )
        _MADE[kind] = await _made(there, world), folder
    first, folder = _MADE[kind]
    shutil.copy2(folder / "database", path)
    shutil.copy2(folder / "key", settings.master_key_file)
    return first


async def _made(settings: Settings, world: World) -> FirstAdmin:
    first = await initialise(settings, world)
    assert first is not None
    return first
