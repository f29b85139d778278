"""What was asked for, held against its limits; the workers tell each other what they spent (decision 0065).

A worker judges from memory, and so no request waits for another worker. What it spent goes into the database a share at
a time, and the debt that comes back has in it what the others spent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from msgspec import Struct

from ...protocol.errors import SlowDown
from ...protocol.rate import merged, retry_after, share_of, spent, turn, wait
from ...registry.limits import Limit
from ..ports import StorageUnavailable
from .ports import Debts, Spending

_SWEPT_ABOVE = 10_000
INTERVAL = 0.2
"""Seconds after which the others are told of less than a share, too."""


class _Debt(Struct):
    tenant_id: str
    limit: Limit
    until: float = 0.0
    """See `protocol/rate.py`."""
    queue: float = 0.0
    """Until when those who were refused have their turns."""
    untold: int = 0
    """Tokens of which the others do not know."""
    share: int = 1
    """When it is so many they are told at once: with the first, until it is known what others spent."""


class RateLimits:
    """One object per worker. Only who proved himself is counted: a stranger can spend nobody's share."""

    def __init__(self, debts: Debts, chance: Callable[[], float]) -> None:
        self._shared, self._chance = debts, chance
        self._debts: dict[str, _Debt] = {}
        self._untold: list[_Debt] = []
        self._sweep_above = _SWEPT_ABOVE
        self._hurry = False
        self._telling: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """How many debts are remembered."""
        return len(self._debts)

    def spend(self, tenant_id: str, limits: Sequence[Limit], now: float) -> None:
        """One more token. Raises `SlowDown`, and then nothing is spent."""
        debts = [self._debts.get(limit.subject) or self._begin(tenant_id, limit) for limit in limits]
        for debt in debts:
            if seconds := wait(debt.until, now, debt.limit.rate):
                raise self._refusal(debt, seconds, now)
        for debt in debts:
            debt.until = spent(debt.until, now, debt.limit.rate)
            debt.untold += 1
            if debt.untold == 1:
                self._untold.append(debt)
            if debt.untold >= debt.share:
                self._tell_soon()
        if len(self._debts) > self._sweep_above:
            self._sweep(now)

    async def follow(self) -> None:
        """For as long as the worker lives. While the database is away each worker goes on with what it knows."""
        while True:
            await asyncio.sleep(INTERVAL)
            if self._untold:
                self._tell_soon()

    async def settle(self) -> None:
        """Tell all that is left, so that a restart does not begin anew, unless the database is away."""
        await self._told()  # what is on the way may fail for what has passed since
        self._tell_soon()
        await self._told()

    async def _told(self) -> None:
        while self._telling is not None:
            await asyncio.shield(self._telling)

    def _begin(self, tenant_id: str, limit: Limit) -> _Debt:
        made = self._debts[limit.subject] = _Debt(tenant_id, limit)
        return made

    def _refusal(self, debt: _Debt, seconds: float, now: float) -> SlowDown:
        if debt.limit.together:
            debt.queue = turn(max(debt.queue, now), now, debt.limit.rate.per_second)
            seconds = debt.queue - now
        return SlowDown(retry_after(seconds, self._chance()), rule=debt.limit.rule)

    def _take(self, debt: _Debt) -> Spending:
        count, debt.untold = debt.untold, 0
        cost = count / debt.limit.rate.per_second
        return Spending(debt.tenant_id, debt.limit.subject, debt.until - cost, cost, count)

    def _tell_soon(self) -> None:
        self._hurry = True
        if self._telling is None:
            self._telling = asyncio.get_running_loop().create_task(self._tell_in_turns())

    async def _tell_in_turns(self) -> None:
        """One transaction at a time; what is spent meanwhile gathers for the next."""
        try:
            while self._hurry:
                self._hurry = False
                await self._tell()
        except StorageUnavailable:
            return
        finally:
            self._telling = None

    async def _tell(self) -> None:
        """What was spent since; the debts that come back have in them what others spent.

        Raises `StorageUnavailable`, and then tells it next time. Whether the database took it is unknown then; counted
        twice, it is a share less for its owner.
        """
        told, self._untold = self._untold, []
        if not told:
            return
        spendings = [self._take(debt) for debt in told]
        try:
            ends = await self._shared.add(spendings)
        except StorageUnavailable:
            for debt, spending in zip(told, spendings, strict=True):
                if not debt.untold:
                    self._untold.append(debt)
                debt.untold += spending.count
            raise
        for debt, end in zip(told, ends, strict=True):
            debt.until = merged(debt.until, debt.untold, end, debt.limit.rate)
            debt.share = share_of(debt.limit.rate)

    def _sweep(self, now: float) -> None:
        """Who owes nothing is as good as one who never came."""
        kept = {name: debt for name, debt in self._debts.items() if debt.untold or max(debt.until, debt.queue) > now}
        self._debts, self._sweep_above = kept, max(_SWEPT_ABOVE, 2 * len(kept))
