"""An API that verifies by itself learns what was revoked: over real HTTP, on both databases."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.instance import ISSUER, Instance, credentials_of, instance
from tests.support.listening import Cursors, free_socket, listening

from watchword.resource import Issuer, RevocationsUnknown, TokenInvalid, Verifier
from watchword.resource.feed import RevocationFeed
from watchword.server.app import Application
from watchword.server.composition.foundation import World
from watchword.server.registry.revocation import Revocation

RS1, RS2 = "https://rs1.example/", "https://rs2.example/"


@dataclass
class Airline:
    """Two APIs, each with an introspector of its own, and an application that calls both."""

    ww: Instance
    issuer: str
    api1: dict[str, Any]
    guard1: tuple[str, str]
    guard2: tuple[str, str]
    caller: dict[str, Any]

    async def token(self, resource: str = RS1) -> str:
        answer = await self.ww.token(credentials_of(self.caller), resource=resource)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    async def revoke(self, token: str) -> None:
        answer = await self.ww.http.post(f"{ISSUER}/revoke", data={"token": token}, auth=credentials_of(self.caller))
        assert answer.status_code == 200

    async def change(self, **fields: Any) -> None:
        path = f"/applications/{self.caller['client_id']}"
        assert (await self.ww.call("PATCH", path, fields)).status_code == 200

    async def ask(self, who: tuple[str, str] | None, audience: str = RS1, **form: str) -> httpx.Response:
        data = {"audience": audience, **form}
        return await self.ww.http.post(f"{ISSUER}/revocations", data=data, auth=who)

    def feed(self, **options: Any) -> RevocationFeed:
        return RevocationFeed(
            self.issuer, audience=RS1, client_id=self.guard1[0], client_secret=self.guard1[1],
            now=self.ww.clock, **options,
        )  # fmt: skip

    def verifier(self, feed: RevocationFeed) -> Verifier:
        return Verifier(Issuer(self.issuer, revocations=feed), audience=RS1, now=self.ww.clock)


@pytest.fixture
def bound() -> socket.socket:
    return free_socket()


@pytest.fixture(params=["sqlite", "postgres"])
async def airline(request: pytest.FixtureRequest, tmp_path: Path, bound: socket.socket) -> AsyncIterator[Airline]:
    """An instance that listens on loopback."""
    url = request.getfixturevalue("postgres_dsn") if request.param == "postgres" else ""
    base = f"http://127.0.0.1:{bound.getsockname()[1]}"
    async with instance(tmp_path, url, public_url=base) as ww, listening(ww.door.app, bound):
        api1, api2 = await ww.api(RS1, "a:read"), await ww.api(RS2, "b:read")
        guards = [await ww.application(f"guard of {api['identifier']}", api) for api in (api1, api2)]
        for api, guard in zip((api1, api2), guards, strict=True):
            change = {"introspectors": [guard["client_id"]]}
            assert (await ww.call("PATCH", f"/apis/{api['api_id']}", change)).status_code == 200
        grants = [
            {"api_id": api1["api_id"], "scopes": ["a:read"]},
            {"api_id": api2["api_id"], "scopes": ["b:read"]},
        ]
        made = await ww.call("POST", "/applications", {"name": "caller", "grants": grants})
        yield Airline(ww, f"{base}/t/default", api1, credentials_of(guards[0]), credentials_of(guards[1]), made.json())


async def test_a_thread_learns_of_a_revoked_token(airline: Airline) -> None:
    """A token that its owner revoked would open this API until it expires."""
    network = Cursors()
    feed = airline.feed(transport=network)
    verifier, token, other = airline.verifier(feed), await airline.token(), await airline.token()
    with feed:
        assert (await network.behind("none")) == ""
        assert (await asyncio.to_thread(verifier.verify, token)).client_id == airline.caller["client_id"]
        seen = await network.behind("")
        await airline.revoke(token)
        await network.behind(seen)
        with pytest.raises(TokenInvalid) as caught:
            verifier.verify(token)
        assert "was revoked" in caught.value.rule and token not in caught.value.rule
        assert verifier.verify(other).client_id == airline.caller["client_id"]


async def test_a_task_follows_as_well(airline: Airline) -> None:
    """An asynchronous API would need a thread for it, or go without."""
    feed, token = airline.feed(), await airline.token()
    verifier = airline.verifier(feed)
    await airline.revoke(token)
    async with feed:
        await feed.arefresh()
        with pytest.raises(TokenInvalid):
            await verifier.averify(token)
        assert (await verifier.averify(await airline.token())).client_id == airline.caller["client_id"]


async def test_another_node_ends_the_wait(airline: Airline, tmp_path: Path) -> None:
    """Whoever follows the feed at one node would learn nothing of what is revoked at another."""
    settings, clock = airline.ww.services.settings, airline.ww.clock
    async with Application(settings, World(clock=clock, monotonic=clock)).running() as second:
        token = await airline.token()
        tenant = await second.view.tenant("default")
        assert tenant is not None
        waiting = asyncio.get_running_loop().create_task(airline.ask(airline.guard1, wait="5"))
        await airline.token()
        await second.tokens.revoke(tenant, airline.caller["client_id"], token)
        page = (await waiting).json()
    assert [set(mark) for mark in page["revocations"]] == [{"jti", "exp"}]


async def test_an_application(airline: Airline) -> None:
    """A disabled application, or one whose tokens were cut off, would go on with those that it has."""
    feed, token = airline.feed(), await airline.token()
    verifier = airline.verifier(feed)
    await feed.arefresh()
    assert (await verifier.averify(token)).subject == airline.caller["client_id"]
    await airline.change(enabled=False)
    await feed.arefresh()
    with pytest.raises(TokenInvalid, match="disabled"):
        await verifier.averify(token)
    await airline.change(enabled=True)
    await feed.arefresh()
    assert (await verifier.averify(token)).subject == airline.caller["client_id"]
    path = f"/applications/{airline.caller['client_id']}"
    assert (await airline.ww.call("POST", f"{path}/cut-off")).status_code == 200
    airline.ww.clock.now += 0.002
    later = await airline.token()
    await feed.arefresh()
    with pytest.raises(TokenInvalid, match="cut off"):
        await verifier.averify(token)
    assert (await verifier.averify(later)).subject == airline.caller["client_id"]
    assert (await airline.ww.call("DELETE", path)).status_code == 204
    await feed.arefresh()
    with pytest.raises(TokenInvalid, match="deleted"):
        await verifier.averify(later)


async def test_only_what_concerns_the_audience(airline: Airline) -> None:
    """An API would learn which tokens another is shown, and the names of applications that it never met."""
    await airline.revoke(await airline.token(RS2))
    await airline.change(enabled=False)
    page, other = (await airline.ask(airline.guard1)).json(), (await airline.ask(airline.guard2, RS2)).json()
    assert [sorted(mark) for mark in page["revocations"]] == [["application", "enabled", "exp", "not_before_ms"]]
    assert [sorted(mark)[0] for mark in other["revocations"]] == ["exp", "application"]
    assert page["revocations"][0]["application"] != other["revocations"][1]["application"]
    assert airline.caller["client_id"] not in str(page) + str(other)


async def test_who_may_follow(airline: Airline) -> None:
    """Any application could watch whom an API refuses; and an unknown API must not differ from a foreign one."""
    for who, audience in ((airline.guard2, RS1), (airline.guard1, "https://unknown.example/"), (airline.guard1, "")):
        answer = await airline.ask(who, audience)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")
    assert (await airline.ask(None)).status_code == 401
    assert (await airline.ask((airline.guard1[0], "wrong"))).status_code == 401
    assert (await airline.ask(airline.guard1)).status_code == 200
    taken = {"introspectors": []}
    assert (await airline.ww.call("PATCH", f"/apis/{airline.api1['api_id']}", taken)).status_code == 200
    assert (await airline.ask(airline.guard1)).status_code == 400


@pytest.mark.parametrize(
    "form", [{"cursor": "x"}, {"cursor": "-1"}, {"cursor": "9" * 19}, {"wait": "soon"}, {"wait": "1e9"}, {"wait": "-1"}]
)
async def test_bad_questions(airline: Airline, form: dict[str, str]) -> None:
    """A cursor that nobody gave would be a blind spot, a wait without bound a socket held for ever."""
    answer = await airline.ask(airline.guard1, **form)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_pages_and_cursors(airline: Airline) -> None:
    """A long list would be one endless answer; a cursor from before a restore would hide all that comes."""
    tenant = await airline.ww.services.view.tenant("default")
    assert tenant is not None
    now = int(airline.ww.clock.now)
    async with airline.ww.services.storage.store.transaction() as tx:
        for number in range(1_001):
            mark = Revocation(kind="token", ref=f"{number}", audience=RS1, expires_at=now + 60)
            tx.announce(tenant.tenant.tenant_id, mark)
    first = (await airline.ask(airline.guard1)).json()
    assert (len(first["revocations"]), first["more"]) == (1_000, True)
    second = (await airline.ask(airline.guard1, cursor=first["cursor"])).json()
    assert (second["revocations"], second["more"]) == ([{"jti": "1000", "exp": now + 60}], False)
    last = (await airline.ask(airline.guard1, cursor=second["cursor"])).json()
    assert last == {"revocations": [], "cursor": second["cursor"], "more": False}
    again = (await airline.ask(airline.guard1, cursor="999999999")).json()
    assert again["revocations"] == first["revocations"]
    feed = airline.feed()
    await feed.arefresh()
    assert len(feed._tokens) == 1_001
    airline.ww.clock.now += 60
    assert (await airline.ask(airline.guard1)).json()["revocations"] == []
    airline.ww.clock.now += 61
    await airline.ww.services.upkeep.housekeeping.purge()
    assert await airline.ww.services.storage.revocations.newest_revocation() == 0


async def test_an_answer_that_does_not_come(airline: Airline) -> None:
    """An API that can no longer be told would accept revoked tokens for as long as the outage lasts."""
    feed = airline.feed(max_stale=10)
    verifier, token = airline.verifier(feed), await airline.token()
    with pytest.raises(RevocationsUnknown):
        await verifier.averify(token)
    await feed.arefresh()
    assert (await airline.ww.call("PATCH", f"/apis/{airline.api1['api_id']}", {"introspectors": []})).status_code == 200
    with pytest.raises(RevocationsUnknown, match="introspectors"):
        await feed.arefresh()
    airline.ww.clock.now += 9.9
    assert (await verifier.averify(token)).client_id == airline.caller["client_id"]
    airline.ww.clock.now += 0.1
    with pytest.raises(RevocationsUnknown):
        await verifier.averify(token)


async def test_one_id_joins_all(airline: Airline) -> None:
    """The operator could not find the log line and the audit event that belong to what a caller complains of."""
    token, headers = await airline.token(), {"x-request-id": "call-17"}
    form = {"token": token}
    answer = await airline.ww.http.post(
        f"{ISSUER}/revoke", data=form, auth=credentials_of(airline.caller), headers=headers
    )
    assert (answer.status_code, answer.headers["x-request-id"]) == (200, "call-17")
    events = (await airline.ww.call("GET", "/audit")).text
    assert "TokenRevoked" in events and "call-17" in events
    refused = await airline.ww.http.post(f"{ISSUER}/revoke", data=form, auth=("nobody", "x"))
    assert refused.status_code == 401 and len(refused.headers["x-request-id"]) == 16
