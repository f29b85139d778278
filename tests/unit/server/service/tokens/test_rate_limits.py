"""How a worker spends, and tells the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from watchword.server.protocol.errors import SlowDown
from watchword.server.registry.limits import Limit, limits_of
from watchword.server.registry.model import Application, Tenant
from watchword.server.registry.rate_limit import RateLimit
from watchword.server.service.ports import StorageUnavailable
from watchword.server.service.tokens.ports import Spending
from watchword.server.service.tokens.rate_limits import RateLimits

NOW = 1_800_000_000.0
RATE = RateLimit(per_second=10, burst=20)
DEVICE = Limit("device", RATE, False, "application limit")


class Shared:
    """The database, as a list. `go` lets it answer; `away`: it cannot be reached."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.others = 0.0
        self.away = False
        self.go = asyncio.Event()
        self.go.set()

    async def add(self, spendings: Sequence[Spending]) -> Sequence[float]:
        """As `storage/debts.py` adds."""
        await self.go.wait()
        if self.away:
            raise StorageUnavailable("away")
        self.told += [each.count for each in spendings]
        return [max(each.begins, self.others) + each.cost for each in spendings]

    async def close(self) -> None:
        """Nothing to close."""


def spend(limits: RateLimits, count: int, *of: Limit, now: float = NOW) -> int:
    """How many of so many fit."""
    given = 0
    for _ in range(count):
        try:
            limits.spend("tenant", of or (DEVICE,), now)
        except SlowDown:
            continue
        given += 1
    return given


async def test_the_first_token_is_told_and_then_each_share() -> None:
    """Told with each token, the database does nothing else; told never, workers know nothing of each other."""
    shared = Shared()
    limits = RateLimits(shared, lambda: 0.0)
    for _ in range(7):
        assert spend(limits, 1) == 1
        for _ in range(4):
            await asyncio.sleep(0)
    assert shared.told == [1, 2, 2, 2]
    await limits.settle()
    assert shared.told == [1, 2, 2, 2]


async def test_what_is_less_than_a_share_is_told_at_the_end() -> None:
    """What a worker spent last would be given again after its restart."""
    shared = Shared()
    limits = RateLimits(shared, lambda: 0.0)
    spend(limits, 1)
    await limits.settle()
    spend(limits, 1)
    await limits.settle()
    assert shared.told == [1, 1]


async def test_nobody_waits_while_the_database_is_asked() -> None:
    """A slow database would hold up everybody who has a limit, or let nobody be counted meanwhile."""
    shared = Shared()
    shared.go.clear()
    limits = RateLimits(shared, lambda: 0.0)
    assert spend(limits, 30) == RATE.burst
    shared.others = NOW + 1.0
    shared.go.set()
    await limits.settle()
    assert sum(shared.told) == RATE.burst
    assert spend(limits, 30, now=NOW + 1.0) == 0
    assert spend(limits, 30, now=NOW + 2.0) == 10


async def test_the_local_limit_holds_while_the_database_is_away() -> None:
    """RLM-005: nobody would be limited in an outage, or everybody be refused; and what was spent be forgotten."""
    shared = Shared()
    shared.away = True
    limits = RateLimits(shared, lambda: 0.0)
    for turn in range(6):
        assert spend(limits, 5) == (5 if turn < 4 else 0)
        await limits.settle()
    shared.away = False
    await limits.settle()
    assert sum(shared.told) == RATE.burst


async def test_what_one_breaks_is_not_counted_against_the_others() -> None:
    """One broken device would be its group's outage, and one broken group its tenant's."""
    shared = Shared()
    limits = RateLimits(shared, lambda: 0.0)
    group = Limit("group", RateLimit(per_second=10, burst=30), True, "group limit")
    tenant = Limit("tenant", RateLimit(per_second=10, burst=40), True, "tenant limit")
    others = Limit("other device", RATE, False, "application limit")
    assert spend(limits, 100, DEVICE, group, tenant) == 20
    assert spend(limits, 100, others, group, tenant) == 10
    assert spend(limits, 100, Limit("a third", RATE, False, ""), tenant) == 10


def test_the_order_of_limits() -> None:
    """Asked first, the tenant's limit would be spent by what the device's own refuses."""
    tenant = Tenant(tenant_id="t", slug="t", name="t", created_at=1, rate_limit=RATE)
    application = Application(tenant_id="t", client_id="c", name="c", created_at=1, rate_limit=RATE, group_id="g")
    assert [each.rule for each in limits_of(tenant, application, RATE)] == [
        "application limit", "group limit", "tenant limit",
    ]  # fmt: skip
    assert limits_of(Tenant(tenant_id="t", slug="t", name="t", created_at=1), application, None)[1:] == ()


async def test_whoever_owes_nothing_takes_no_memory() -> None:
    """A million devices that came once would stay in every worker's memory."""
    limits = RateLimits(Shared(), lambda: 0.0)
    for n in range(30_000):
        limits.spend("tenant", (Limit(f"device {n}", RATE, False, ""),), NOW + n)
        if n % 100 == 0:
            await limits.settle()
    assert len(limits) <= 10_200


@pytest.mark.parametrize("chance", [0.0, 0.99])
async def test_those_who_share_a_limit_are_told_different_times(chance: float) -> None:
    """A group that is told one second comes back in that second, and one of it is served."""
    limits = RateLimits(Shared(), lambda: chance)
    group = Limit("group", RateLimit(per_second=1, burst=1), True, "group limit")
    limits.spend("tenant", (group,), NOW)
    told = []
    for _ in range(8):
        with pytest.raises(SlowDown) as refused:
            limits.spend("tenant", (group,), NOW)
        told.append(refused.value.retry_after or 0)
    assert told == sorted(told)
    assert told[-1] >= told[0] + 7
