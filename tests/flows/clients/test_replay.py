"""A proof works once: at every worker, after every restart, on both databases, whatever the clock does."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from tests.support.assertions import Caller, issued, refused
from tests.support.instance import Instance, credentials_of, instance, node
from tests.support.workers import EITHER, TwoWorkers, in_every_order

from watchword.server.service.ports import MarkRow, Replayed
from watchword.server.storage import schema
from watchword.server.storage.registry import KEEP_MARKS


@pytest.fixture(params=["sqlite", "postgres"])
async def ww(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Instance]:
    """The same instance on each database."""
    url = request.getfixturevalue("postgres_dsn") if request.param == "postgres" else ""
    async with instance(tmp_path, url) as running:
        yield running


@pytest.fixture
async def pkj(ww: Instance) -> Caller:
    """c_pkj."""
    return await Caller.register(ww, await ww.api("https://rs1.example/", "a:read"), "c_pkj")


async def marks(ww: Instance) -> list[int]:
    """When each mark ends."""
    async with ww.services.storage.engine.connect() as connection:
        return [row[0] for row in (await connection.execute(sa.select(schema.replay_mark.c.expires_at))).fetchall()]


async def test_a_second_use_is_refused(ww: Instance, pkj: Caller) -> None:
    """PKJ-020: whoever reads one request could repeat it."""
    once = pkj.assertion()
    assert (await pkj.send(once)).status_code == 200
    refused(await pkj.send(once))
    assert await issued(ww) == 1
    assert await marks(ww) == [int(ww.clock.now) + 60 + 10 + 1]
    await ww.services.upkeep.housekeeping.write_sums()
    events = (await ww.call("GET", "/audit?limit=500")).json()["items"]
    assert [e["what"] for e in events if e["event"] == "RequestsRefused"] == ["invalid_client (jti)"]


async def test_fifty_at_once(ww: Instance, pkj: Caller) -> None:
    """PKJ-022: check and consume would be two steps, and a race would fit between them (CVE-2026-1035)."""
    async with node(ww.services.settings, ww.clock, ww.admin) as second:
        once, bystanders = pkj.assertion(), [pkj.assertion() for _ in range(10)]
        sent = [pkj.send(once, ww=(ww, second)[n % 2]) for n in range(50)]
        answers, others = await asyncio.gather(
            asyncio.gather(*sent), asyncio.gather(*(pkj.send(each) for each in bystanders))
        )
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 49
    for answer in answers:
        if answer.status_code == 401:
            refused(answer)
    assert [answer.status_code for answer in others] == [200] * 10
    assert await issued(ww) == 11


async def test_a_jti_belongs_to_its_application(ww: Instance, pkj: Caller) -> None:
    """PKJ-023: one application could use up another's proofs, or two ids that differ in case be one."""
    api = (await ww.call("GET", "/apis?name=https://rs1.example/")).json()["items"][0]
    other = await Caller.register(ww, api, "c_pkj2")
    assert (await pkj.token(jti="abc")).status_code == 200
    assert (await other.token(jti="abc")).status_code == 200
    assert (await pkj.token(jti="ABC")).status_code == 200
    refused(await other.token(jti="abc"))


async def test_a_stranger_uses_up_nothing(ww: Instance, pkj: Caller) -> None:
    """PKJ-025 PKJ-015: with a guessed or seen jti, and no key, anybody could lock an application out."""
    claims = pkj.claims()
    refused(await pkj.send(pkj.assertion(**claims, sign=lambda _: b"\1" * 64)))
    refused(await pkj.send(pkj.assertion(**{**claims, "exp": int(ww.clock.now) - 300})))
    refused(await pkj.send(pkj.assertion(**{**claims, "aud": "https://other.example"})))
    assert await marks(ww) == []
    assert (await pkj.send(pkj.assertion(**claims))).status_code == 200


async def test_a_request_that_gets_nothing_uses_up_nothing(ww: Instance, pkj: Caller) -> None:
    """N6: a refused request changes no state; with a token, its mark is consumed in the same commit (decision 0020)."""
    once = pkj.assertion()
    refused(await pkj.send(once, scope="not:granted"), "invalid_scope", 400)
    assert await marks(ww) == []
    assert (await pkj.send(once)).status_code == 200
    refused(await pkj.send(once, scope="not:granted"), "invalid_scope", 400)
    refused(await pkj.send(once))
    assert await issued(ww) == 1


async def test_a_used_proof_stays_used_after_a_restart(ww: Instance, pkj: Caller) -> None:
    """CVE-2026-9802: marks in memory are forgotten, and everything that was captured works again."""
    once, asked = pkj.assertion(), pkj.assertion()
    assert (await pkj.send(once)).status_code == 200
    assert (await pkj.send(asked, "introspect", token="x")).status_code == 200
    async with node(ww.services.settings, ww.clock, ww.admin) as restarted:
        refused(await pkj.send(once, ww=restarted))
        refused(await pkj.send(asked, "introspect", ww=restarted, token="x"))


async def test_the_clock_is_set_back(ww: Instance, pkj: Caller) -> None:
    """CLK-003: an operator's correction of the clock would revive every proof of the last minutes."""
    once = pkj.assertion()
    assert (await pkj.send(once)).status_code == 200
    ww.clock.now += 10 * 60
    await ww.services.upkeep.housekeeping.purge()
    ww.clock.now -= 10 * 60
    refused(await pkj.send(once))
    ww.clock.now -= 10 * 60
    await ww.services.upkeep.housekeeping.purge()
    refused(await pkj.send(once))
    assert (await pkj.token()).status_code == 200


async def test_marks_end(ww: Instance, pkj: Caller) -> None:
    """PKJ-018: a table that only grows fills the disk."""
    assert (await pkj.token()).status_code == 200
    (ends,) = await marks(ww)
    ww.clock.now = ends + KEEP_MARKS
    await ww.services.upkeep.housekeeping.purge()
    assert await marks(ww) == [ends]
    ww.clock.now += 1
    await ww.services.upkeep.housekeeping.purge()
    assert await marks(ww) == []


async def test_purge_beside_use(ww: Instance, pkj: Caller) -> None:
    """RAC-009: purging would block who uses proofs, or free one that can still be used."""
    used = []
    for _ in range(5):
        batch = [pkj.assertion() for _ in range(10)]
        *answers, _ = await asyncio.gather(*(pkj.send(each) for each in batch), ww.services.upkeep.housekeeping.purge())
        assert [answer.status_code for answer in answers] == [200] * 10
        used += batch
        ww.clock.now += 10
    *answers, _ = await asyncio.gather(*(pkj.send(each) for each in used), ww.services.upkeep.housekeeping.purge())
    assert {answer.status_code for answer in answers} == {401}


async def test_all_or_nothing(ww: Instance, pkj: Caller) -> None:
    """A group commit with one used proof in it would write half of itself, or refuse those that came with it."""
    await ww.services.view.refresh()
    journal, seq = ww.services.storage.journal, ww.services.view.seq
    first, second, third = (MarkRow("t", bytes([n]) * 32, 2**33) for n in range(3))
    assert list(await journal.commit([], [], seq, [first])) == []
    for wanted in ([second, first], [first, second], [first]):
        with pytest.raises(Replayed) as told:
            await journal.commit([], [], seq, wanted)
        assert told.value.keys == {(first.tenant_id, first.key)}
    assert list(await journal.commit([], [], seq, [second, third])) == []
    assert len(await marks(ww)) == 3


async def test_a_twin_in_another_tenant(ww: Instance) -> None:
    """Two tenants would share one room of marks, and the one could use up the other's."""
    await ww.services.view.refresh()
    journal, seq = ww.services.storage.journal, ww.services.view.seq
    for tenant_id in ("here", "elsewhere"):
        assert list(await journal.commit([], [], seq, [MarkRow(tenant_id, b"\0" * 32, 2**33)])) == []


async def test_years_far_away(ww: Instance, pkj: Caller) -> None:
    """CLK-005: 2038 and the year 9999 would overflow a column or a claim."""
    app = await ww.application(
        "c_basic", (await ww.call("GET", "/apis?name=https://rs1.example/")).json()["items"][0], "a:read"
    )
    for moment in (2**31 - 5, 2**31 + 5, 253_402_300_800 - 7_200):
        ww.clock.now = moment
        once = pkj.assertion()
        assert (await pkj.send(once)).status_code == 200
        refused(await pkj.send(once))
        token = (await ww.token(credentials_of(app))).json()["access_token"]
        assert await ww.introspect(ww.admin, token) == {"active": False}
    refused(await pkj.token(exp=253_402_300_800))


class Replay(TwoWorkers):
    """Two workers, one application, proofs in every order."""

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url)
        self.unused: list[str] = []
        self.used: list[str] = []
        self.tokens = 0

    async def set_up(self) -> None:
        self.caller: Caller = await self.register()

    async def register(self) -> Caller:
        return await Caller.register(self.ww, await self.ww.api("https://rs1.example/", "a:read"), "c_pkj")

    def make(self, life: int) -> str:
        now = int(self.ww.clock.now)
        made: str = self.caller.assertion(exp=now + life)
        self.unused.append(made)
        return made

    @rule(life=st.integers(1, 600), n=EITHER)
    def refused_for_its_scope(self, life: int, n: int) -> None:
        """Proves and gets nothing, so its proof stays good."""
        answer = self.run(self.caller.send(self.make(life), ww=self.workers[n], scope="not:granted"))
        refused(answer, "invalid_scope", 400)

    @rule(life=st.integers(1, 600))
    def forged(self, life: int) -> None:
        """Somebody else signs the same claims."""
        made = self.make(life)
        refused(self.run(self.caller.send(made.rpartition(".")[0] + "." + "A" * 86)))

    @precondition(lambda self: self.unused)
    @rule(data=st.data(), n=EITHER, endpoint=st.sampled_from(["token", "token", "introspect"]))
    def present(self, data: st.DataObject, n: int, endpoint: str) -> None:
        """The first use: good while its time lasts."""
        made = self.unused.pop(data.draw(st.integers(0, len(self.unused) - 1)))
        now = self.ww.clock.now
        answer = self.run(self.caller.send(made, endpoint, ww=self.workers[n], token="x"))
        if self.in_time(made, now):
            assert answer.status_code == 200, answer.text
            self.used.append(made)
            self.tokens += endpoint == "token"
        else:
            refused(answer)

    def in_time(self, made: str, now: float) -> bool:
        claims = json.loads(base64.urlsafe_b64decode(made.split(".")[1] + "=="))
        return bool(claims["iat"] - 10 <= now < claims["exp"] + 10)

    @precondition(lambda self: self.used)
    @rule(data=st.data(), n=EITHER, endpoint=st.sampled_from(["token", "introspect"]))
    def replay(self, data: st.DataObject, n: int, endpoint: str) -> None:
        """Never again, anywhere."""
        made = self.used[data.draw(st.integers(0, len(self.used) - 1))]
        refused(self.run(self.caller.send(made, endpoint, ww=self.workers[n], token="x")))

    @rule(seconds=st.sampled_from([-600, -70, -1, 1, 9, 71, 300, 620]), n=EITHER)
    def time_passes(self, seconds: int, n: int) -> None:
        """Forwards, and sometimes back; the chores run."""
        self.ww.clock.now += seconds
        self.run(self.workers[n].services.upkeep.housekeeping.purge())

    @invariant()
    def every_token_is_in_the_audit_log_once(self) -> None:
        if hasattr(self, "caller"):
            assert self.run(self.issued_to(self.caller.client_id)) == self.tokens


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_proofs_in_every_order(database: str, request: pytest.FixtureRequest) -> None:
    """Some order of uses, refusals, restarts and clocks that nobody thought of would let a proof work twice."""
    in_every_order(Replay, database, request)
