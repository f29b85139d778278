"""A process that rotates signing keys until it is killed."""

from __future__ import annotations

import asyncio
from multiprocessing.connection import Connection
from pathlib import Path

from tests.support.nodes import settings

from watchword.server.composition.services import open_services


def rotate_until_killed(folder: str, url: str, told: Connection) -> None:
    """Emergency rotations, which withdraw, activate and publish in one change; a byte after each."""
    asyncio.run(_rotate(Path(folder), url, told))


async def _rotate(folder: Path, url: str, told: Connection) -> None:
    services = await open_services(settings(folder, url))
    tenant = await services.view.tenant("default")
    assert tenant is not None
    id_ = tenant.tenant.tenant_id
    while True:
        state = await services.storage.reader.tenant("default", 0.0)
        assert state is not None
        active = next(key for key in state.keys if key.state == "active" and key.algorithm == "ES256")
        await services.keys.rotate.in_emergency(id_, active.kid, "tester")
        told.send_bytes(b"1")
        await services.keys.rotate.on_schedule(id_)
        told.send_bytes(b"2")
