"""How often one tenant makes us fetch from one host: many registered applications must not become a flood against it.

Counted by tenant and host, so that no tenant uses up what another one needs of the same host.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from ..protocol.rate import spent, wait
from ..registry.rate_limit import RateLimit
from ..service.clients.fetched_keys import FetchFailed

LIMIT = RateLimit(per_second=5.0, burst=50)
"""Enough for 1,500 applications with their keys at one host, each fetched every five minutes."""
AT_ONCE = 4
"""Fetches of one host at a time: one dead host must not take every turn."""
REMEMBERED = 10_000


class _Host:
    __slots__ = ("turns", "until")

    def __init__(self) -> None:
        self.until, self.turns = 0.0, asyncio.Semaphore(AT_ONCE)


class HostBudget:
    """One object per worker."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._hosts: OrderedDict[tuple[str, str], _Host] = OrderedDict()

    @asynccontextmanager
    async def turn(self, tenant_id: str, host: str) -> AsyncIterator[None]:
        """One fetch. Raises `FetchFailed` when the host was asked too often; the keys that we have stay."""
        found = self._hosts.pop((tenant_id, host), None) or _Host()
        self._hosts[tenant_id, host] = found
        if len(self._hosts) > REMEMBERED:
            self._hosts.popitem(last=False)
        now = self._clock()
        if wait(found.until, now, LIMIT):
            raise FetchFailed("too many fetches from this host")
        found.until = spent(found.until, now, LIMIT)
        async with found.turns:
            yield
