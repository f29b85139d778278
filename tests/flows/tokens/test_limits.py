"""Limits of applications and tenants."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.instance import Instance, credentials_of, instance
from tests.support.served import serving, watchword

LIMIT = {"per_second": 2.0, "burst": 5}


@pytest.fixture
async def ww(tmp_path: Path) -> AsyncIterator[Instance]:
    """A running instance."""
    async with instance(tmp_path) as running:
        yield running


async def statuses(ww: Instance, application: dict[str, Any], count: int) -> list[int]:
    """Of so many token requests at one moment."""
    return [(await ww.token(credentials_of(application))).status_code for _ in range(count)]


async def test_rlm_004_the_answer_beyond_a_limit(ww: Instance) -> None:
    """RLM-004: a caller that cannot read when to come again comes at once, and again."""
    api = await ww.api("urn:ledger", "read")
    limited = await ww.application("limited", api, "read", rate_limit=LIMIT)
    assert await statuses(ww, limited, 5) == [200] * 5
    refused = await ww.token(credentials_of(limited))
    assert (refused.status_code, refused.json()["error"]) == (429, "slow_down")
    assert (refused.headers["cache-control"], refused.headers["content-type"]) == ("no-store", "application/json")
    assert refused.headers["retry-after"] in ("1", "2")
    assert "access_token" not in refused.json()
    wrong = await ww.token((limited["client_id"], "wrong"))
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
    ww.clock.now += int(refused.headers["retry-after"])
    assert await statuses(ww, limited, 1) == [200]


async def test_rlm_004_a_wrong_secret_spends_nothing(ww: Instance) -> None:
    """RLM-004, RLM-001: whoever knows a client id would spend its limit, and lock its owner out."""
    api = await ww.api("urn:ledger", "read")
    limited = await ww.application("limited", api, "read", rate_limit=LIMIT)
    for _ in range(20):
        assert (await ww.token((limited["client_id"], "wrong"))).status_code == 401
    assert await statuses(ww, limited, 5) == [200] * 5


async def test_one_broken_device_takes_nothing_from_the_others(ww: Instance) -> None:
    """What one device asks for beyond its own limit would be counted against its whole tenant."""
    api = await ww.api("urn:ledger", "read")
    broken = await ww.application("broken", api, "read", rate_limit=LIMIT)
    others = [await ww.application(f"device {n}", api, "read") for n in range(3)]
    changed = await ww.call("PATCH", "/tenants/default", {"rate_limit": {"per_second": 1.0, "burst": 12}})
    assert changed.json()["rate_limit"] == {"per_second": 1.0, "burst": 12}
    ww.clock.now += 100
    assert await statuses(ww, broken, 50) == [200] * 5 + [429] * 45
    assert [await statuses(ww, each, 2) for each in others] == [[200, 200]] * 3
    assert await statuses(ww, others[0], 2) == [200, 429]


async def test_a_group_is_limited_together(ww: Instance) -> None:
    """A firmware that asks in a loop would take the tenant's whole rate, and every other device would be refused."""
    api = await ww.api("urn:ledger", "read")
    made = await ww.call(
        "POST", "/enrolment-groups", {"name": "sensors", "rate_limit": {"per_second": 1.0, "burst": 9}}
    )
    assert made.json()["rate_limit"] == {"per_second": 1.0, "burst": 9}
    group = made.json()["group_id"]
    broken = [await ww.application(f"s{n}", api, "read", group_id=group, rate_limit=LIMIT) for n in range(3)]
    other = await ww.application("other", api, "read")
    await ww.call("PATCH", "/tenants/default", {"rate_limit": {"per_second": 1.0, "burst": 20}})
    ww.clock.now += 100
    assert [(await statuses(ww, each, 30)).count(200) for each in broken] == [5, 4, 0]
    assert await statuses(ww, other, 12) == [200] * 11 + [429]


async def test_a_groups_limit_is_changed_and_taken_away(ww: Instance) -> None:
    """A limit that holds only for those who enrol later would not stop the firmware that is out there."""
    api = await ww.api("urn:ledger", "read")
    path = f"/enrolment-groups/{(await ww.call('POST', '/enrolment-groups', {'name': 'sensors'})).json()['group_id']}"
    device = await ww.application("device", api, "read", group_id=path.rpartition("/")[2])
    assert await statuses(ww, device, 10) == [200] * 10
    assert (await ww.call("PATCH", path, {"rate_limit": LIMIT})).json()["rate_limit"] == LIMIT
    assert await statuses(ww, device, 10) == [200] * 5 + [429] * 5
    assert (await ww.call("PATCH", path, {"rate_limit": None})).json()["rate_limit"] is None
    assert await statuses(ww, device, 10) == [200] * 10
    for wrong in ({"per_second": 0, "burst": 1}, {"per_second": 1}, "10/s"):
        assert (await ww.call("PATCH", path, {"rate_limit": wrong})).status_code == 400
        assert (await ww.call("POST", "/enrolment-groups", {"name": "b", "rate_limit": wrong})).status_code == 400


async def test_a_tenants_refused_are_told_different_times(ww: Instance) -> None:
    """A fleet that is told one second comes back in that second, and one of it is served."""
    api = await ww.api("urn:ledger", "read")
    devices = [await ww.application(f"device {n}", api, "read") for n in range(9)]
    await ww.call("PATCH", "/tenants/default", {"rate_limit": {"per_second": 1.0, "burst": 1}})
    assert await statuses(ww, devices[0], 1) == [200]
    told = [int((await ww.token(credentials_of(each))).headers["retry-after"]) for each in devices[1:]]
    assert told[-1] >= 8 > told[0]


async def test_rlm_008_a_noisy_tenant_refuses_nobody_else(ww: Instance) -> None:
    """RLM-008: tenant A at ten times its quota, and callers of tenant B are told to slow down for it."""
    made = (await ww.call("POST", "/tenants", {"slug": "noisy", "name": "noisy"})).json()
    changed = await ww.call("PATCH", "/tenants/noisy", {"rate_limit": {"per_second": 1.0, "burst": 20}})
    assert changed.status_code == 200
    caller = await ww.application("caller", await ww.api("urn:ledger", "read"), "read")
    noise = [ww.token(credentials_of(made), made["issuer"]) for _ in range(200)]
    quiet = [ww.token(credentials_of(caller)) for _ in range(40)]
    mixed = [each for n in range(40) for each in (*noise[5 * n : 5 * n + 5], quiet[n])]
    answers = await asyncio.gather(*mixed)
    assert {answers[n].status_code for n in range(5, 240, 6)} == {200}
    assert Counter([each.status_code for each in answers]) == {200: 60, 429: 180}


async def test_a_limit_is_changed_and_taken_away(ww: Instance) -> None:
    """An operator in the middle of an incident could not slow one device down without stopping it."""
    api = await ww.api("urn:ledger", "read")
    device = await ww.application("device", api, "read")
    path = f"/applications/{device['client_id']}"
    assert device["rate_limit"] is None
    assert await statuses(ww, device, 30) == [200] * 30
    assert (await ww.call("PATCH", path, {"rate_limit": LIMIT})).json()["rate_limit"] == LIMIT
    assert 429 in await statuses(ww, device, 30)
    assert (await ww.call("PATCH", path, {"rate_limit": None})).json()["rate_limit"] is None
    assert await statuses(ww, device, 30) == [200] * 30


@pytest.mark.parametrize("path", ["/applications", "/tenants/default"])
@pytest.mark.parametrize("limit", [{"per_second": 0, "burst": 1}, {"per_second": 1}, {"per_second": 1, "burst": 0}, 5])
async def test_a_limit_that_is_none(ww: Instance, path: str, limit: Any) -> None:
    """A rate of zero would divide by zero at the first request, or lock everybody out."""
    method, body = ("POST", {"name": "a", "rate_limit": limit}) if path == "/applications" else ("PATCH", {})
    answer = await ww.call(method, path, body or {"rate_limit": limit})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json"), answer.text


def test_limits_on_the_command_line(tmp_path: Path) -> None:
    """`--rate` would be read by nobody, or as another rate than is written there."""
    with serving(tmp_path):
        made = watchword(tmp_path, "app", "create", "device", "--rate", "600/min:3", "--json")
        client_id = made.stdout.split('"client_id": "')[1].split('"')[0]
        shown = watchword(tmp_path, "app", "show", client_id, "--json").stdout.replace("\n", "").replace(" ", "")
        assert '"rate_limit":{"per_second":10.0,"burst":3}' in shown
        assert "limit 2/s, 2 at once" in watchword(tmp_path, "app", "limit", client_id, "2/s").stderr
        assert "limit none" in watchword(tmp_path, "app", "limit", client_id, "none").stderr
        assert "limit 50/s, 50 at once" in watchword(tmp_path, "tenant", "update", "default", "--rate", "50/s").stderr
        made = watchword(tmp_path, "enrolment", "create", "sensors", "--rate", "2/s:9", "--json").stdout
        assert '"rate_limit":{"per_second":2.0,"burst":9}' in made.replace("\n", "").replace(" ", "")
        assert watchword(tmp_path, "enrolment", "update", "sensors", "--rate", "none").returncode == 0
        for wrong in ("10", "10/day", "x/s", "10/s:x", "nan/s"):
            assert watchword(tmp_path, "app", "limit", client_id, wrong).returncode in (1, 2)
