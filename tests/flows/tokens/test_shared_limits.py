"""Limits that all workers and nodes share (`service/tokens/rate_limits.py`, decision 0065)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests.support.instance import Instance, credentials_of, instance, node
from tests.support.served import register, serving, watchword

from watchword.server.protocol.rate import share_of
from watchword.server.registry.rate_limit import RateLimit

Pair = tuple[Instance, Instance]
RATE, BURST = 10.0, 50
SHARE = share_of(RateLimit(per_second=RATE, burst=BURST))
LIMIT = {"per_second": RATE, "burst": BURST}


@pytest.fixture(params=["sqlite", "postgres"])
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Pair]:
    """Two nodes on each database, that have told each other something before."""
    url = request.getfixturevalue("postgres_dsn") if request.param == "postgres" else ""
    async with instance(tmp_path, url) as a, node(a.services.settings, a.clock, a.admin) as b:
        first = await a.application("first", await a.api("urn:ledger", "read"), "read", rate_limit=LIMIT)
        for ww in (a, b):
            await served(ww, first, 1)
        yield a, b


async def limited(ww: Instance, **limit: Any) -> dict[str, Any]:
    """An application with this limit."""
    api = (await ww.call("GET", "/apis")).json()["items"]
    ledger = next(each for each in api if each["identifier"] == "urn:ledger")
    return await ww.application("limited", ledger, "read", rate_limit={**LIMIT, **limit})


async def served(ww: Instance, application: dict[str, Any], count: int) -> int:
    """How many of so many, one after another, get a token; then the others know of all."""
    told = Counter([(await ww.token(credentials_of(application))).status_code for _ in range(count)])
    assert set(told) <= {200, 429}
    await ww.services.tokens.limits.settle()
    return told[200]


async def test_rlm_005_two_nodes_give_what_one_would(pair: Pair) -> None:
    """RLM-005: with each node an application would get the whole limit once more."""
    a, b = pair
    device = await limited(a)
    assert await served(a, device, 30) == 30
    given = 30 + await served(b, device, 40) + await served(a, device, 20)
    assert BURST <= given <= BURST + 2 * SHARE
    assert [await served(ww, device, 20) for ww in pair] == [0, 0]
    a.clock.now += 3
    given += await served(a, device, 50) + await served(b, device, 50)
    assert BURST + 3 * RATE <= given <= BURST + 3 * RATE + 2 * SHARE


async def test_rlm_005_the_rate_holds_over_time(pair: Pair) -> None:
    """RLM-005: what is let through too much must be owed, or it would be let through again every second."""
    device = await limited(pair[0])
    seconds = 8
    given = sum([await served(pair[step % 2], device, 12) for step in range(4 * seconds) if not tick(pair, 0.25)])
    allowed = BURST + RATE * seconds
    assert 0.9 * allowed <= given <= allowed + len(pair) * SHARE


def tick(pair: Pair, seconds: float) -> None:
    """Time passes for both."""
    pair[0].clock.now += seconds


async def test_rlm_005_many_at_once_on_both_nodes(pair: Pair) -> None:
    """RLM-005: callers that come at one moment would each be judged by a number that knows of none of the others."""
    device = await limited(pair[0], per_second=1 / 60)
    asked = [ww.token(credentials_of(device)) for _ in range(40) for ww in pair]
    first = Counter([answer.status_code for answer in await asyncio.gather(*asked)])
    assert first[200] + first[429] == 80
    assert first[200] >= BURST
    assert [await served(ww, device, 10) for ww in pair] == [0, 0]


async def test_rlm_005_a_restart_does_not_begin_anew(pair: Pair) -> None:
    """RLM-005: a worker that is restarted every minute would give the whole burst every minute."""
    a, _ = pair
    device = await limited(a)
    assert await served(a, device, BURST + 5) == BURST
    async with node(a.services.settings, a.clock, a.admin) as restarted:
        assert await served(restarted, device, 20) <= SHARE
        restarted.clock.now += 60
        assert await served(restarted, device, BURST + 5) == BURST


async def test_rlm_005_a_tenants_limit_is_one_for_all_nodes(pair: Pair) -> None:
    """RLM-005: a tenant's quota would grow with the number of machines."""
    a, b = pair
    devices = [await limited(a), await limited(a)]
    changed = await a.call("PATCH", "/tenants/default", {"rate_limit": {"per_second": 1.0, "burst": 30}})
    assert changed.status_code == 200
    a.clock.now += 1_000
    for ww in pair:
        await ww.services.view.refresh()
    given = await served(a, devices[0], 20) + await served(b, devices[1], 20)
    assert 30 <= given <= 30 + share_of(RateLimit(per_second=1.0, burst=30))


async def test_rlm_005_without_the_shared_count_the_local_one_holds(pair: Pair) -> None:
    """RLM-005: when the nodes cannot tell each other, all would be refused, or nobody."""
    a, b = pair
    device = await limited(a)
    async with a.services.storage.engine.begin() as connection:
        await connection.execute(sa.text("ALTER TABLE debt RENAME TO mislaid"))
    assert [await served(ww, device, BURST + 10) for ww in pair] == [BURST, BURST]
    async with a.services.storage.engine.begin() as connection:
        await connection.execute(sa.text("ALTER TABLE mislaid RENAME TO debt"))
    for ww in pair:
        await ww.services.tokens.limits.settle()
    a.clock.now += BURST / RATE
    assert await served(b, device, 20) <= SHARE, "what was spent meanwhile was not told"
    assert await served(b, device, 20) == 0


async def test_another_limit_begins_anew(pair: Pair) -> None:
    """A device that was slowed to one an hour, and let go again, would go on waiting for its hour."""
    a, _ = pair
    device = await limited(a)
    path = f"/applications/{device['client_id']}"
    await a.call("PATCH", path, {"rate_limit": {"per_second": 1 / 3_600, "burst": 1}})
    assert await served(a, device, 3) == 1
    await a.call("PATCH", path, {"rate_limit": LIMIT})
    assert await served(a, device, 3) == 3


def test_rlm_005_the_workers_of_one_server(tmp_path: Path) -> None:
    """RLM-005: four workers gave four times the rate, and a restart gave it again."""
    allowed, workers = 20, 4
    with serving(tmp_path) as base:
        known = register(base, tmp_path, "urn:ledger", ("read",), "client_secret_basic")
        device = known.credentials["client_secret_basic"]
        assert watchword(tmp_path, "app", "limit", device[0], f"1/h:{allowed}").returncode == 0
    most = allowed + workers * (allowed // 10)
    with serving(tmp_path, "--workers", str(workers)) as base:
        assert allowed <= tokens(base, device, 100) <= most
    with serving(tmp_path, "--workers", str(workers)) as base:
        assert tokens(base, device, 40) <= workers


def tokens(base: str, device: tuple[str, str], count: int) -> int:
    """How many of so many, each on a connection of its own, so that every worker has some."""
    given = 0
    with httpx.Client(auth=device, limits=httpx.Limits(max_keepalive_connections=0)) as http:
        for _ in range(count):
            answer = http.post(f"{base}/t/default/token", data={"grant_type": "client_credentials"})
            assert answer.status_code in (200, 429), answer.text
            given += answer.status_code == 200
    return given
