"""Clocks that differ, stand still or jump, on the server's side (`cases/clk.yaml`; CLK-003 and -005 are replay's)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.assertions import Caller, refused
from tests.support.instance import ISSUER, Clock, Instance, credentials_of, instance, node


@pytest.fixture
async def ww(tmp_path: Path) -> AsyncIterator[Instance]:
    """A running instance."""
    async with instance(tmp_path) as running:
        yield running


async def api_of(ww: Instance) -> dict[str, Any]:
    """An API whose tokens the administrator may introspect."""
    api = await ww.api("https://rs1.example/", "a:read")
    changed = await ww.call("PATCH", f"/apis/{api['api_id']}", {"introspectors": [ww.admin[0]]})
    assert changed.status_code == 200
    return api


async def test_two_nodes_twenty_seconds_apart(ww: Instance) -> None:
    """CLK-004: a token of one node would be none at the other, or a proof be good once at each."""
    api = await api_of(ww)
    app, pkj = credentials_of(await ww.application("caller", api, "a:read")), await Caller.register(ww, api, "c_pkj")
    async with node(ww.services.settings, Clock(ww.clock.now + 20), ww.admin) as ahead:
        for here, there in ((ww, ahead), (ahead, ww)):
            token = (await here.token(app)).json()["access_token"]
            assert (await there.introspect(ww.admin, token))["active"] is True
            answer = await there.call("GET", "/apis", headers=await here.bearer())
            assert answer.status_code == 200
        once = pkj.assertion()
        assert (await pkj.send(once, ww=ahead)).status_code == 200
        refused(await pkj.send(once))


async def test_a_worker_that_stood_still(ww: Instance) -> None:
    """CLK-007: what ended while a machine was suspended would go on working when it wakes."""
    api = await api_of(ww)
    expiring = await ww.application("expiring", api, "a:read", secret_expires_at=int(ww.clock.now) + 300)
    lasting = credentials_of(await ww.application("lasting", api, "a:read"))
    pkj = await Caller.register(ww, api, "c_pkj")
    early, token = pkj.assertion(), (await ww.token(lasting)).json()["access_token"]
    assert (await ww.token(credentials_of(expiring))).status_code == 200
    async with node(ww.services.settings, ww.clock, ww.admin) as other:
        assert (await other.introspect(ww.admin, token))["active"] is True
        revoked = await ww.http.post(f"{ISSUER}/revoke", data={"token": token}, auth=lasting)
        assert revoked.status_code == 200
        ww.clock.now += 600  # neither of them read the feed meanwhile
        assert await other.introspect(ww.admin, token) == {"active": False}
        for worker in (ww, other):
            assert (await worker.token(credentials_of(expiring))).status_code == 401
            refused(await pkj.send(early, ww=worker))
            assert (await worker.token(lasting)).status_code == 200


async def test_an_overlap_ends_on_time(ww: Instance) -> None:
    """CLK-008: a second more or less would be an outage, or a secret that outlives its rotation."""
    app = await ww.application("caller", await api_of(ww), "a:read")
    rotated = await ww.call("POST", f"/applications/{app['client_id']}/secrets", {"overlap": 100})
    fresh = (app["client_id"], rotated.json()["client_secret"])
    ww.clock.now += 99
    assert (await ww.token(credentials_of(app))).status_code == 200
    ww.clock.now += 1
    assert (await ww.token(credentials_of(app))).status_code == 401
    assert (await ww.token(fresh)).status_code == 200


@pytest.mark.parametrize(("tolerance", "off", "status"), [(10, 11, 401), (60, 60, 200), (60, 61, 401), (0, 1, 401)])
async def test_the_tolerance_is_a_setting(tmp_path: Path, tolerance: int, off: int, status: int) -> None:
    """Whoever has machines without a time service could not widen it, whoever has good clocks not narrow it."""
    async with instance(tmp_path, clock_tolerance=float(tolerance)) as ww:
        pkj = await Caller.register(ww, await ww.api("https://rs1.example/", "a:read"), "c_pkj")
        now = int(ww.clock.now)
        assert (await pkj.token(iat=now + off, exp=now + off + 60)).status_code == status
        assert (await pkj.token(iat=now - 60, exp=now - off + 1)).status_code == status
