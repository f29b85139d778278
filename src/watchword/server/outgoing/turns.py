"""Fair queueing: tenants take turns at what they share, so that nobody waits for a noisy neighbour."""

from __future__ import annotations

import asyncio
from collections import deque


class Turns:
    """At most `at_once` turns, and one tenant's part of them for a tenant that has less than its part.

    A tenant alone may have all turns. A second one does not wait for the first one's to end: its part begins on top of
    them. So there are never more than `at_once` times the logarithm of the number of tenants, or one for each tenant.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once, self.taken = at_once, 0
        self._held: dict[str, int] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def take(self, tenant_id: str) -> None:
        """Wait for a turn. The caller gives it back."""
        if tenant_id not in self._waiting and self._free(tenant_id):
            return self._begin(tenant_id)
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant_id, deque()).append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.cancelled():
                self._forget(tenant_id, mine)
            else:  # it was given the turn in the same moment
                self.give_back(tenant_id)
            raise

    def give_back(self, tenant_id: str) -> None:
        """End a turn, and let those begin that wait: the tenant that has the fewest first."""
        self.taken -= 1
        self._held[tenant_id] -= 1
        if not self._held[tenant_id]:
            del self._held[tenant_id]
        for waiting in sorted(self._waiting, key=lambda each: self._held.get(each, 0)):
            while waiting in self._waiting and self._free(waiting):
                first = self._waiting[waiting][0]
                self._forget(waiting, first)
                self._begin(waiting)
                first.set_result(None)

    def _free(self, tenant_id: str) -> bool:
        own = self._held.get(tenant_id, 0)
        return self.taken < self._at_once or own < max(1, self._at_once // (len(self._held) + (not own)))

    def _begin(self, tenant_id: str) -> None:
        self.taken += 1
        self._held[tenant_id] = self._held.get(tenant_id, 0) + 1

    def _forget(self, tenant_id: str, one: asyncio.Future[None]) -> None:
        self._waiting[tenant_id].remove(one)
        if not self._waiting[tenant_id]:
            del self._waiting[tenant_id]
