"""kill -9 while keys are rotated, fifty times: there is always exactly one key that signs, and everybody can find it."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
from pathlib import Path

from tests.support.nodes import settings
from tests.support.rotating import rotate_until_killed

from watchword.jose import decode_unverified
from watchword.server.app import initialise
from watchword.server.composition.services import open_services
from watchword.server.protocol.token_form import token_request
from watchword.server.service.registry.create_tenant import FirstAdmin

ROUNDS = 50


async def after_the_crash(folder: Path, url: str, admin: FirstAdmin) -> None:
    """What a restart finds."""
    services = await open_services(settings(folder, url))
    try:
        state = await services.storage.reader.tenant("default", 0.0)
        tenant = await services.view.tenant("default")
        assert state is not None
        assert tenant is not None
        active = [key.algorithm for key in state.keys if key.state == "active"]
        assert sorted(active) == ["ES256", "RS256"]
        request = token_request({"grant_type": "client_credentials"}, (admin.client_id, admin.client_secret))
        token = (await services.tokens.issue("default", request, services.tokens.native)).access_token
        assert decode_unverified(token).unverified_header["kid"] in tenant.published
    finally:
        await services.storage.close()


def test_crs_008_killed_in_every_step_of_a_rotation(tmp_path: Path) -> None:
    """CRS-008: after a crash no key would sign, or two would, or one whose tokens nobody can verify."""
    url, chance = f"sqlite:///{tmp_path / 'watchword.db'}", random.Random(8)
    admin = asyncio.run(initialise(settings(tmp_path, url)))
    assert admin is not None
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(["tests.support.rotating"])
    for _ in range(ROUNDS):
        hears, tells = made.Pipe(duplex=False)
        child = made.Process(target=rotate_until_killed, args=(str(tmp_path), url, tells))
        child.start()
        for _ in range(chance.randrange(1, 8)):
            assert hears.poll(30), "the child does not rotate"
            hears.recv_bytes()
        # Somewhere in the next step: each spin is a part of a millisecond.
        for _ in range(chance.randrange(30_000)):
            pass
        child.kill()
        child.join(30)
        asyncio.run(after_the_crash(tmp_path, url, admin))
