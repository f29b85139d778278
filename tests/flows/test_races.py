"""What happens at the same moment, on two nodes (`cases/rac.yaml`; -002, -003, -006, -008, -009 stand with their subjects)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.instance import ISSUER, Instance, credentials_of, instance, node

from watchword.server.service.view import FRESH

Pair = tuple[Instance, Instance]


@pytest.fixture(params=["sqlite", "postgres"])
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Pair]:
    """Two nodes on each database; their chores stand still for as long as the test does not move the clock."""
    url = request.getfixturevalue("postgres_dsn") if request.param == "postgres" else ""
    async with instance(tmp_path, url) as a, node(a.services.settings, a.clock, a.admin) as b:
        yield a, b


async def caller_of(ww: Instance) -> tuple[str, str]:
    """An application with one grant, whose tokens the administrator may introspect."""
    api = await ww.api("https://rs1.example/", "a:read")
    changed = await ww.call("PATCH", f"/apis/{api['api_id']}", {"introspectors": [ww.admin[0]]})
    assert changed.status_code == 200
    return credentials_of(await ww.application("caller", api, "a:read"))


async def test_deleted_while_it_asks(pair: Pair) -> None:
    """RAC-001: a token would be given after the answer that the application is no more, or one of before would live on."""
    a, b = pair
    caller = await caller_of(a)
    given: list[str] = []
    under_way, over = asyncio.Event(), asyncio.Event()

    async def ask(ww: Instance) -> None:
        """Until it is refused."""
        while True:
            late = over.is_set()
            answer = await ww.token(caller)
            if answer.status_code == 401:
                return
            assert answer.status_code == 200, answer.text
            assert not late, "a token after the DELETE was answered"
            given.append(answer.json()["access_token"])
            if len(given) == 40:
                under_way.set()

    async def delete() -> None:
        await under_way.wait()
        assert (await a.call("DELETE", f"/applications/{caller[0]}")).status_code == 204
        over.set()

    await asyncio.gather(delete(), *(ask(ww) for ww in pair for _ in range(4)))
    a.clock.now += FRESH + 0.01
    for ww in (a, b):
        assert (await ww.token(caller)).status_code == 401
        for token in (given[0], given[-1]):
            assert await ww.introspect(a.admin, token) == {"active": False}


async def test_revoked_at_the_other_node(pair: Pair) -> None:
    """RAC-010: a node that has said "active" would go on saying so after the token was revoked elsewhere."""
    a, b = pair
    caller = await caller_of(a)
    token = (await b.token(caller)).json()["access_token"]
    assert (await b.introspect(a.admin, token))["active"] is True
    revoked = await a.http.post(f"{ISSUER}/revoke", data={"token": token}, auth=caller)
    assert revoked.status_code == 200
    a.clock.now += FRESH + 0.01
    assert await b.introspect(a.admin, token) == {"active": False}
