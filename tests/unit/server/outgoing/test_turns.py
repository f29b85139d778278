"""Tenants take turns at outgoing fetches: one tenant's dead addresses are its own trouble."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable

import httpcore
import pytest

from watchword.server.outgoing.fetch import MAX_AT_ONCE, TIMEOUT, OutgoingFetch
from watchword.server.outgoing.host_budget import HostBudget
from watchword.server.outgoing.turns import Turns
from watchword.server.registry.errors import Invalid
from watchword.server.service.clients.fetched_keys import FetchFailed


class Silence(httpcore.AsyncNetworkBackend):
    """A network and a resolver where nobody answers, except for the names in `answers`; who is waited for is kept."""

    def __init__(self, full: int, *, names: bool) -> None:
        self.full, self._names = full, names
        self.waiting, self.crowded, self.never = 0, asyncio.Event(), asyncio.Event()

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:  # fmt: skip
        if host == "1.1.1.2":
            raise httpcore.ConnectError("answered")
        await self._wait()
        raise httpcore.ConnectError("nobody")

    async def resolve(self, host: str, port: int) -> list[str]:
        if host == "alive.example":
            return ["1.1.1.2"]
        if self._names:
            await self._wait()
        return ["1.1.1.1"]

    async def _wait(self) -> None:
        self.waiting += 1
        if self.waiting == self.full:
            self.crowded.set()
        await self.never.wait()


@pytest.mark.parametrize("names", [False, True])
async def test_dead_addresses_keep_nobody_else_waiting(names: bool) -> None:
    """One tenant's dead `jwks_uri`s took every turn: another tenant's keys could not be fetched, its tokens failed."""
    silence = Silence(MAX_AT_ONCE, names=names)
    fetch = OutgoingFetch(silence, silence.resolve, HostBudget(lambda: 0.0), loopback=False)
    dead = [asyncio.ensure_future(fetch(f"https://dead{n}.example/", "a")) for n in range(5 * MAX_AT_ONCE)]
    try:
        async with asyncio.timeout(TIMEOUT):
            await silence.crowded.wait()
            with pytest.raises(FetchFailed) as told:
                await fetch("https://alive.example/", "b")
        assert "answered" in told.value.detail
        assert silence.waiting == MAX_AT_ONCE
        await fetch.check("https://alive.example/", "b")
    finally:
        for one in dead:
            one.cancel()
        await asyncio.gather(*dead, return_exceptions=True)


async def test_a_lookup_that_goes_on_keeps_its_turn() -> None:
    """The thread of a lookup cannot be ended: with a turn given back at once, 3 s later 20 more threads would hang."""
    silence = Silence(MAX_AT_ONCE, names=True)
    fetch = OutgoingFetch(silence, silence.resolve, HostBudget(lambda: 0.0), loopback=False)
    for _ in range(3):
        many = [asyncio.ensure_future(fetch.check(f"https://d{n}.example/", "a")) for n in range(MAX_AT_ONCE)]
        await silence.crowded.wait()
        for _ in range(5):  # the turns of the loop that a lookup needs to begin
            await asyncio.sleep(0)
        for one in many:
            one.cancel()
        await asyncio.gather(*many, return_exceptions=True)
    assert silence.waiting == MAX_AT_ONCE
    silence.never.set()
    await fetch.check("https://d.example/", "a")
    with pytest.raises(Invalid):
        await fetch.check("https://10.0.0.1/", "a")


async def begun(turns: Turns, *tenants: str) -> tuple[list[str], list[asyncio.Task[None]]]:
    """Who wanted a turn, and whose has begun after everybody could."""
    had: list[str] = []

    async def one(tenant: str) -> None:
        await turns.take(tenant)
        had.append(tenant)

    tasks = [asyncio.ensure_future(one(tenant)) for tenant in tenants]
    await asyncio.sleep(0)
    return had, tasks


async def test_a_tenant_alone_has_all_turns_and_two_have_half() -> None:
    """Fixed parts would leave most turns idle; none would let the first take all."""
    turns = Turns(4)
    had, tasks = await begun(turns, *"aaaaaaaabbbb")
    assert Counter(had) == {"a": 4, "b": 2}
    for tenant in "aa":
        turns.give_back(tenant)
    await asyncio.sleep(0)
    assert Counter(had) == {"a": 4, "b": 2}, "a has its half"
    for tenant in "bb":
        turns.give_back(tenant)
    await asyncio.sleep(0)
    assert Counter(had) == {"a": 4, "b": 4}, "b, which has fewer, comes before a"
    for task in tasks:
        task.cancel()


async def test_many_tenants_have_one_each() -> None:
    """With more tenants than turns a part would be none at all."""
    had, tasks = await begun(Turns(2), *"abcdefgh" * 3)
    assert sorted(Counter(had)) == list("abcdefgh")
    assert len(had) <= 2 + 8
    for task in tasks:
        task.cancel()


async def test_who_stops_waiting_takes_no_turn_along() -> None:
    """Each request that ran out of time would cost a turn for ever."""
    turns = Turns(1)
    await turns.take("a")
    waiting, second = asyncio.ensure_future(turns.take("a")), asyncio.ensure_future(turns.take("a"))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    turns.give_back("a")
    second.cancel()  # in the moment in which it was given the turn
    await asyncio.gather(second, return_exceptions=True)
    assert turns.taken == 0
    await turns.take("a")
