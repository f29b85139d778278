"""What a worker does now and then: follow the feed, tell debts, rotate keys, write sums, bind chains, purge, prune."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from ..clients.secret_use import SecretUse
from ..group_commit import GroupCommit
from ..ports import StorageUnavailable, Store
from ..tokens.rate_limits import RateLimits
from ..tokens.refusals import Refusals
from ..view import View

_log = structlog.get_logger("watchword.housekeeping")


class Housekeeping:
    """Each chore may fail without harm; the next round does it."""

    def __init__(
        self,
        view: View,
        store: Store,
        commits: GroupCommit,
        rotate_keys: Callable[[], Awaitable[None]],
        refusals: Refusals,
        uses: SecretUse,
        limits: RateLimits,
        bind_chains: Callable[[], Awaitable[None]],
        purge: Callable[[float], Awaitable[None]],
        prune_audit: Callable[[], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self._view, self._store, self._commits, self.rotate_keys = view, store, commits, rotate_keys
        self._refusals, self._uses, self._limits, self._bind, self._purge = refusals, uses, limits, bind_chains, purge
        self.prune_audit, self._clock = prune_audit, clock

    async def run(self) -> None:
        """For as long as the worker lives."""
        await asyncio.gather(
            self._view.follow(),
            self._limits.follow(),
            self._every(10, self.write_sums),
            self._every(10, self.write_uses),
            self._every(10, self._bind),
            self._every(30, self.rotate_keys),
            self._every(60, self.purge),
            self._every(3_600, self.prune_audit),
        )

    async def write_sums(self) -> None:
        """Refusals as aggregates."""
        found = self._refusals.take()
        if found:
            async with self._store.transaction() as tx:
                for slug, event in found:
                    tenant = await self._view.tenant(slug)
                    if tenant is not None:
                        tx.record(tenant.tenant.tenant_id, event)

    async def write_uses(self) -> None:
        """When secrets were last used."""
        await self._uses.flush_when_due(self._clock())

    async def purge(self) -> None:
        """What expired."""
        self._view.forget_expired(self._clock())
        await self._purge(self._clock())

    async def finish(self) -> None:
        """Before the worker ends: nothing that was answered may be missing."""
        await self._commits.drain()
        await self._limits.settle()
        await self._quietly(self.write_sums)
        await self._quietly(self._uses.flush)
        await self._quietly(self._bind)

    async def _every(self, seconds: float, chore: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            await self._quietly(chore)

    @staticmethod
    async def _quietly(chore: Callable[[], Awaitable[None]]) -> None:
        try:
            await chore()
        except StorageUnavailable as error:
            _log.warning("housekeeping waits for the database", why=str(error))
        except Exception:
            _log.exception("a chore failed")
