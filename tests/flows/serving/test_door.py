"""The door: more is asked than can be answered, and those who are let in are answered in time."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.instance import BASE, ISSUER, Clock, instance

from watchword.server.app import Application
from watchword.server.http.door import TOO_LATE, Door, Shares
from watchword.server.protocol.admission import A_QUEUE

LIMIT = 24


class Inside:
    """Answers nobody until it is told to."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.entered: list[str] = []
        self._arrived: asyncio.Queue[None] = asyncio.Queue()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI."""
        self.entered.append(scope["path"])
        self._arrived.put_nowait(None)
        if not scope["path"].startswith(("/health", "/metrics")):
            await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def arrived(self, count: int) -> None:
        """Until so many more are in."""
        for _ in range(count):
            await self._arrived.get()


@asynccontextmanager
async def crowd(count: int, path: str) -> AsyncIterator[tuple[Inside, httpx.AsyncClient, Shares]]:
    """So many requests in flight, and a client for one more."""
    inside, shares = Inside(), Shares(0.5)
    shares.protocol.limit = shares.admin.limit = LIMIT
    door = Door(inside, "", shares, knows={"acme", "quiet"}.__contains__, monotonic=Clock(), chance=lambda: 0.5)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=door), base_url=BASE) as http:  # type: ignore[arg-type]
        waiting = [asyncio.create_task(http.post(path, content=b"x")) for _ in range(count)]
        await inside.arrived(count)
        yield inside, http, shares
        inside.go.set()
        assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}
        assert shares.protocol.in_flight == shares.admin.in_flight == 0


async def test_one_too_many_is_told_when_to_come_again() -> None:
    """A time-out would cost the caller its patience, and us the work for somebody who has gone."""
    async with crowd(LIMIT, "/t/acme/token") as (inside, http, shares):
        answer = await http.post("/t/acme/token", content=b"x")
        assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
        assert answer.headers["retry-after"].isdigit()
        assert (answer.headers["cache-control"], answer.headers["connection"]) == ("no-store", "close")
        assert len(inside.entered) == LIMIT
        assert 'watchword_turned_away_total{share="protocol"} 1\n' in shares.metrics()
        assert f'watchword_in_flight{{share="protocol"}} {LIMIT}\n' in shares.metrics()


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics"])
async def test_health_passes(path: str) -> None:
    """Whatever restarts a server that does not answer would restart it in the middle of the storm."""
    async with crowd(LIMIT, "/t/acme/token") as (_, http, __):
        assert (await http.get(path)).status_code == 200


async def test_administrators_have_a_share_of_their_own() -> None:
    """The device that hammers could not be disabled; nor may a broken script of theirs keep devices out."""
    async with crowd(LIMIT, "/t/acme/token") as (inside, http, _):
        inside.go.set()
        assert (await http.get("/api/v1/applications")).status_code == 200
    async with crowd(LIMIT, "/api/v1/applications") as (inside, http, _):
        assert (await http.get("/api/v1/roles")).status_code == 503
        inside.go.set()
        assert (await http.post("/t/acme/token")).status_code == 200


async def test_whoever_waited_too_long_is_told_before_he_is_read() -> None:
    """What lies in the kernel is read late by a busy server, and a refusal that costs a request makes it later."""
    shares = Shares(0.5)
    door = Door(Inside(), "", shares, knows={"acme"}.__contains__, monotonic=Clock(), chance=lambda: 0.5)
    request = b"POST /t/acme/token?x HTTP/1.1\r\nhost: h\r\n\r\ngrant_type="
    answers = [door.too_late(0.6, False, request) for _ in range(200)]
    refused = [each for each in answers if each is not None]
    assert answers[:A_QUEUE] == [None] * A_QUEUE
    assert len(refused) == (200 - A_QUEUE) // 2 == shares.protocol.refused
    head, _, body = refused[0].partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert re.search(rb"\r\nretry-after: [1-9]\d?(\r\n|$)", head)
    assert b"\r\nconnection: close\r\n" in head
    assert b"\r\ncontent-length: %d\r\n" % len(body) in head
    assert json.loads(body)["error"] == "temporarily_unavailable"


@pytest.mark.parametrize("request_", [b"GET /health/live HTTP/1.1\r\n", b"GET /metrics HTTP/1.1\r\n"])
async def test_health_is_never_too_late(request_: bytes) -> None:
    """Whatever restarts a server that does not answer would restart it in the middle of the storm."""
    door = Door(Inside(), "", Shares(0.5), knows={"acme"}.__contains__, monotonic=Clock(), chance=lambda: 0.5)
    for late in (b"POST /t/acme/token HTTP/1.1\r\n", request_):
        told = [door.too_late(9.0, False, late) for _ in range(100)]
    assert told == [None] * 100


@pytest.mark.parametrize("first_bytes", [b"", b"\r\n", b"P", b"POST", b"POST ", b"\x16\x03\x01" * 700, b" " * 2_000])
async def test_first_bytes_that_are_no_request(first_bytes: bytes) -> None:
    """Half a line, or another protocol, would end the connection without a word."""
    door = Door(Inside(), "", Shares(0.5), knows={"acme"}.__contains__, monotonic=Clock(), chance=lambda: 0.5)
    assert [door.too_late(9.0, False, first_bytes) is None for _ in range(100)].count(False) == (100 - A_QUEUE) // 2


async def test_the_listener_is_told_whom_to_ask(tmp_path: Path) -> None:
    """The door could judge who waited too long, and no listener ask it."""
    async with instance(tmp_path) as ww:
        application = Application(ww.services.settings, ww.services.world)
        state: dict[str, Any] = {}
        said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        running = asyncio.create_task(application({"type": "lifespan", "state": state}, told.get, said.put))
        told.put_nowait({"type": "lifespan.startup"})
        assert (await said.get())["type"] == "lifespan.startup.complete"
        assert state[TOO_LATE](0.0, False, b"POST /t/default/token HTTP/1.1\r\n") is None
        told.put_nowait({"type": "lifespan.shutdown"})
        assert (await said.get())["type"] == "lifespan.shutdown.complete"
        await running


async def test_another_tenant_gets_in() -> None:
    """Tenant A at ten times its share, and tenant B is served as if A were not there."""
    async with crowd(LIMIT, "/t/acme/token") as (inside, http, _):
        assert (await http.post("/t/acme/token")).status_code == 503
        waiting = [asyncio.create_task(http.post("/t/quiet/token")) for _ in range(LIMIT // 2)]
        await inside.arrived(LIMIT // 2)
        assert (await http.post("/t/acme/token")).status_code == 503
        inside.go.set()
        assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}


async def test_another_tenants_administrators_get_in() -> None:
    """One tenant's script in a loop would keep the administrators of all tenants out."""
    async with crowd(LIMIT, "/management/v4/acme/roles") as (inside, http, _):
        assert (await http.get("/management/v4/acme/roles")).status_code == 503
        waiting = [asyncio.create_task(http.get("/management/v4/quiet/roles")) for _ in range(LIMIT // 2)]
        await inside.arrived(LIMIT // 2)
        inside.go.set()
        assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}


async def test_made_up_tenants_are_one_group() -> None:
    """An outsider would divide the door among a thousand slugs of his own, and leave the tenants a thousandth."""
    async with crowd(LIMIT, "/t/acme/token") as (inside, http, _):
        made_up = [asyncio.create_task(http.post(f"/t/no-{n}/token")) for n in range(LIMIT // 2)]
        await inside.arrived(LIMIT // 2)
        assert (await http.post("/t/another/token")).status_code == 503
        inside.go.set()
        await asyncio.gather(*made_up)


async def test_the_door_of_a_whole_instance(tmp_path: Path) -> None:
    """The door could be right and stand nowhere, or let through what it should count."""
    async with instance(tmp_path) as ww:
        assert (await ww.token(ww.admin, ISSUER, resource="urn:watchword:admin")).status_code == 200
        await ww.call("GET", "/applications")
        told = (await ww.http.get(f"{BASE}/metrics")).text
        assert 'watchword_admitted_total{share="protocol"} 2\n' in told
        assert 'watchword_admitted_total{share="admin"} 1\n' in told
        assert 'watchword_in_flight{share="protocol"} 0\n' in told
