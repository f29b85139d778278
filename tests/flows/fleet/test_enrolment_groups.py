"""Enrolment groups and quarantine, over HTTP."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.instance import Instance, credentials_of, instance


@pytest.fixture(params=["sqlite", "postgres"])
async def ww(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Instance]:
    """The same instance on each database."""
    url = request.getfixturevalue("postgres_dsn") if request.param == "postgres" else ""
    async with instance(tmp_path, url) as running:
        yield running


async def group(ww: Instance, **more: Any) -> dict[str, Any]:
    """A group."""
    answer = await ww.call("POST", "/enrolment-groups", {"name": "sensors", **more})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def test_quarantine_stops_and_release_lets_go(ww: Instance) -> None:
    """A compromised device would go on getting tokens, or come out of quarantine as something else than it was."""
    api = await ww.api("https://rs1.example/", "a:read", format="opaque")
    app = await ww.application("sensor", api, "a:read")
    assert (await ww.call("PATCH", f"/apis/{api['api_id']}", {"introspectors": [ww.admin[0]]})).status_code == 200
    token = (await ww.token(credentials_of(app))).json()["access_token"]
    assert (await ww.introspect(ww.admin, token))["active"] is True
    path = f"/applications/{app['client_id']}"
    held = await ww.call("POST", f"{path}/quarantine", {"reason": "cloned"})
    assert held.json()["quarantine"] == {"since": int(ww.clock.now), "reason": "cloned"}
    assert held.json()["enabled"] is True
    assert (await ww.token(credentials_of(app))).status_code == 401
    assert await ww.introspect(ww.admin, token) == {"active": False}
    assert (await ww.call("PATCH", path, {"enabled": True})).json()["quarantine"] is not None
    assert (await ww.call("POST", f"{path}/release")).json()["quarantine"] is None
    assert (await ww.token(credentials_of(app))).status_code == 200
    events = [one["event"] for one in (await ww.call("GET", "/audit")).json()["items"]]
    assert {"ApplicationQuarantined", "ApplicationReleased"} <= set(events)
    assert (await ww.call("POST", f"/applications/{ww.admin[0]}/quarantine", {})).status_code == 409


async def test_a_group_is_never_fuller_than_it_may_be(ww: Instance) -> None:
    """Devices that come at once would all see the last free place; one that leaves would keep it for ever."""
    made = await group(ww, max_devices=3)
    bodies = [{"name": f"d{n}", "group_id": made["group_id"]} for n in range(12)]
    answers = await asyncio.gather(*(ww.call("POST", "/applications", body) for body in bodies))
    assert Counter(answer.status_code for answer in answers) == {201: 3, 409: 9}
    place = f"/enrolment-groups/{made['group_id']}"
    assert (await ww.call("GET", place)).json()["devices"] == 3
    assert (await ww.call("DELETE", place)).status_code == 409
    for answer in answers:
        if answer.status_code == 201:
            assert (await ww.call("DELETE", f"/applications/{answer.json()['client_id']}")).status_code == 204
    assert (await ww.call("GET", place)).json()["devices"] == 0
    assert (await ww.call("DELETE", place)).status_code == 204


async def test_one_living_device_has_a_serial_number(ww: Instance) -> None:
    """Two devices would pass for one, or a number be lost with the device that had it."""
    first = (await ww.call("POST", "/applications", {"name": "a", "serial": "SN-1"})).json()
    assert (await ww.call("POST", "/applications", {"name": "b", "serial": "SN-1"})).status_code == 409
    path = f"/applications/{first['client_id']}"
    assert (await ww.call("PATCH", path, {"serial": "SN-2"})).json()["serial"] == "SN-2"
    assert (await ww.call("POST", "/applications", {"name": "b", "serial": "SN-1"})).status_code == 201
    assert (await ww.call("PATCH", path, {"serial": "SN-1"})).status_code == 409
    assert (await ww.call("DELETE", path)).status_code == 204
    assert (await ww.call("POST", "/applications", {"name": "c", "serial": "SN-2"})).status_code == 201


@pytest.mark.parametrize("change", [{"name_pattern": "x-{y}"}, {"max_devices": 0}, {"ways": ["certificate"]}, {"approval": True}, {"auth_methods": ["spiffe_x509"]}, {"secret_lifetime": 1}, {"anchors": "x"}, {"ways": ["key"], "auth_methods": ["client_secret_post"]}])  # fmt: skip
async def test_a_group_that_makes_no_sense(ww: Instance, change: dict[str, Any]) -> None:
    """It would be found out by the first device in the field, far from whoever wrote it."""
    assert (await ww.call("POST", "/enrolment-groups", {"name": "x", **change})).status_code == 400
    made = await group(ww)
    assert (await ww.call("PATCH", f"/enrolment-groups/{made['group_id']}", change)).status_code == 400
