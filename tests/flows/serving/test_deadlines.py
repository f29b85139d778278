"""A disk that is slow or hangs: tokens wait for one change and not for all, and nobody waits longer than promised."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from sqlalchemy import event
from tests.support.appid import AppId
from tests.support.instance import Instance, credentials_of, instance

from watchword.server.audit.events import TokenIssued
from watchword.server.audit.search import Wanted
from watchword.server.protocol.errors import Unavailable
from watchword.server.service.deadline import TICKS, Deadline
from watchword.server.service.group_commit import MANY
from watchword.server.service.ports import StorageUnavailable


class Clockwork:
    """Calls nothing by itself; how often it was wound up is counted."""

    def __init__(self) -> None:
        self.next: Callable[[], None] | None = None

    def later(self, seconds: float, tick: Callable[[], None]) -> None:
        assert self.next is None, "one clock for all"
        self.next = tick

    def ticks(self, times: int) -> None:
        """Only while the clock is wound up."""
        for _ in range(times):
            tick, self.next = self.next, None
            if tick is not None:
                tick()


async def hangs(deadline: Deadline, never: asyncio.Event) -> str:
    with deadline:
        await never.wait()
    return "done"


async def turn_of_the_loop() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_whatever_hangs_ends() -> None:
    """A request that waits for something without a limit would hang for ever, and so would its caller."""
    clock, never = Clockwork(), asyncio.Event()
    deadline = Deadline(clock.later)
    first = asyncio.ensure_future(hangs(deadline, never))
    await turn_of_the_loop()
    clock.ticks(TICKS - 1)
    second = asyncio.ensure_future(hangs(deadline, never))
    await turn_of_the_loop()
    assert not first.done()
    clock.ticks(1)
    with pytest.raises(Unavailable):
        await first
    assert not second.done()
    clock.ticks(TICKS - 2)
    never.set()
    assert await second == "done"
    clock.ticks(TICKS)
    assert clock.next is None, "an idle worker has no clock"


async def test_who_is_cancelled_by_others_stays_cancelled() -> None:
    """A server that shuts down would tell its callers that the database is slow, and go on."""
    clock = Clockwork()
    one = asyncio.ensure_future(hangs(Deadline(clock.later), asyncio.Event()))
    await turn_of_the_loop()
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one


async def test_a_deadline_ends_one_wait_only() -> None:
    """The answer that says so could not be sent: its first wait would be cancelled as well."""
    clock, deadline = Clockwork(), None
    deadline = Deadline(clock.later)

    async def answered() -> str:
        try:
            return await hangs(deadline, asyncio.Event())
        except Unavailable:
            await asyncio.sleep(0)
            return "503"

    one = asyncio.ensure_future(answered())
    await turn_of_the_loop()
    clock.ticks(TICKS)
    assert await one == "503"
    assert one.cancelling() == 0


@asynccontextmanager
async def the_disk_hangs(ww: Instance) -> AsyncIterator[None]:
    """A change holds the turn at the database for as long as the block runs."""
    ww.witness.faults = True
    async with ww.services.storage.store.transaction(60.0) as tx:
        await tx.tenants.page("", None, 1)
        yield


async def ended(ww: Instance, *asked: Any) -> list[Any]:
    """The answers, after the clock of the deadline went on until they were there."""
    tasks = [asyncio.ensure_future(one) for one in asked]
    while not all(task.done() for task in tasks):
        if ww.services.deadline.waiting == sum(not task.done() for task in tasks):
            ww.services.deadline.tick()
        await asyncio.sleep(0)
    return [task.result() for task in tasks]


async def test_a_token_gets_503_when_the_disk_hangs(tmp_path: Path) -> None:
    """Token requests waited for 20 s behind administrators' changes on a slow disk, and then for the next ones."""
    async with instance(tmp_path) as ww:
        appid = AppId(ww)
        native = credentials_of(await ww.application("n", await ww.api("urn:x", "a:b"), "a:b"))
        theirs = await appid.application("t")
        assert (await ww.token(native)).status_code == (await appid.token(theirs)).status_code == 200
        async with the_disk_hangs(ww):
            answers = await ended(ww, ww.token(native), ww.token(native), appid.token(theirs))
            for answer in answers:
                assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
                assert answer.headers["retry-after"] == "1"
        assert (await ww.token(native)).status_code == 200


async def test_what_nobody_waits_for_is_not_kept(tmp_path: Path) -> None:
    """A disk that hangs for an hour would fill the memory with events of tokens that nobody got, and then write them."""
    async with instance(tmp_path) as ww:
        commits, tenant = ww.services.commits, (await ww.services.view.tenant("default")).tenant.tenant_id  # type: ignore[union-attr]
        seq = await ww.services.storage.reader.newest_change()

        def submit(number: int) -> asyncio.Future[bool]:
            event = TokenIssued(at=1.0, token_id=f"t{number}", audience=("x",), scope="", expires_at=2)
            return commits.submit(tenant, "c", event, None, seq)

        async with the_disk_hangs(ww):
            in_flight = submit(0)
            await turn_of_the_loop()
            await turn_of_the_loop()
            for number in range(1, 3 * MANY):
                submit(number).cancel()
            assert len(commits._waiting) <= MANY
            living = submit(3 * MANY)
        assert await in_flight
        assert await living
        page = await ww.services.upkeep.audit.search(tenant, Wanted(), None, 50)
        told = msgspec.json.encode(page.events).decode()
        ww.witness.issued += 2
        assert told.count('"t0"') == told.count(f'"t{3 * MANY}"') == 1
        assert told.count('"t1"') == 0


async def test_a_commit_waits_for_one_change_and_not_for_all(tmp_path: Path) -> None:
    """With twenty administrators at a disk that needs a second for each, every token waited for twenty seconds."""
    async with instance(tmp_path) as ww:
        store, order, first, go = ww.services.storage.store, [], asyncio.Event(), asyncio.Event()

        async def change(number: int) -> None:
            async with store.transaction(60.0) as tx:
                order.append("change")
                await tx.tenants.page("", None, 1)
                first.set()
                await go.wait()

        async def token() -> None:
            await ww.services.storage.journal.save_uses({("t", "s"): 1})
            order.append("token")

        changes = [asyncio.ensure_future(change(number)) for number in range(20)]
        await first.wait()
        commit = asyncio.ensure_future(token())
        await turn_of_the_loop()
        go.set()
        await asyncio.gather(commit, *changes)
        assert order.index("token") <= 2
        assert len(order) == 21


async def test_a_change_that_ran_out_of_time_keeps_no_lock(tmp_path: Path) -> None:
    """Its connection was closed under a statement: the file stayed locked, and nobody got a token for 20 s."""
    goes_on, ended = threading.Event(), threading.Event()

    def hang() -> int:
        goes_on.wait(30)
        ended.set()
        return 1

    async with instance(tmp_path) as ww:
        store, engine = ww.services.storage.store, ww.services.storage.engine
        ww.witness.faults = True

        @event.listens_for(engine.sync_engine, "connect")
        def teach(connection: Any, _: object) -> None:
            connection.create_function("hang", 0, hang)

        await engine.dispose()
        with pytest.raises(StorageUnavailable):
            async with store.transaction(0.05) as tx:
                await tx.tenants._session.run(sa.text("SELECT hang()"))
        assert not ended.is_set(), "whoever asked waits no longer than the disk"
        goes_on.set()
        async with store.transaction(30.0) as tx:
            assert await tx.tenants.page("", None, 1)
