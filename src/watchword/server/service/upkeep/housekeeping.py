"""Background work of a worker: follow the change feed, rotate keys, write counts, sign checkpoints, purge, prune."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from msgspec import Struct

from ..clients.secret_use import SecretUse
from ..group_commit import GroupCommit
from ..ports import StorageUnavailable, Store
from ..tokens.rate_limits import RateLimits
from ..tokens.refusals import MOST_ROWS, Refusals
from ..view import View

_log = structlog.get_logger("watchword.housekeeping")


Chore = Callable[[], Awaitable[None]]


class Chores(Struct, frozen=True, kw_only=True):
    """Work that belongs to other modules and is due from time to time."""

    rotate_keys: Chore
    bind_chains: Chore
    """Signs a checkpoint of the audit chains; the first time also what ended processes have left."""
    purge: Callable[[float], Awaitable[None]]
    """Deletes what expired before a time."""
    prune_audit: Chore


class Housekeeping:
    """Each chore may fail without harm: the next round does it."""

    def __init__(
        self,
        *,
        view: View,
        store: Store,
        commits: GroupCommit,
        refusals: Refusals,
        uses: SecretUse,
        limits: RateLimits,
        chores: Chores,
        clock: Callable[[], float],
    ) -> None:
        self._view, self._store, self._commits = view, store, commits
        self._refusals, self._uses, self._limits, self._clock = refusals, uses, limits, clock
        self._bind, self._purge = chores.bind_chains, chores.purge
        self.rotate_keys, self.prune_audit = chores.rotate_keys, chores.prune_audit

    async def run(self) -> None:
        """Run until cancelled, each chore at its own interval (seconds)."""
        await asyncio.gather(
            self._view.follow(),
            self._limits.follow(),
            self._every(10, self.write_sums),
            self._every(10, self.write_uses),
            self._now_and_every(10, self._bind),
            self._every(30, self.rotate_keys),
            self._every(60, self.purge),
            self._every(3_600, self.prune_audit),
        )

    async def write_sums(self, most: int | None = MOST_ROWS) -> None:
        """Record rejected requests of callers that did not authenticate, as counts (one event a kind and network)."""
        found = self._refusals.take(most)
        if not found:
            return
        try:
            async with self._store.transaction() as tx:
                for key, sums in found:
                    tenant = await self._view.tenant(key[0])
                    if tenant is not None:
                        tx.record(tenant.tenant.tenant_id, self._refusals.event(key, sums))
        except BaseException:
            self._refusals.put_back(found)
            raise

    async def write_uses(self) -> None:
        """Write the times of last use of secrets."""
        await self._uses.flush_when_due(self._clock())

    async def purge(self) -> None:
        """Delete what expired, here and in the database."""
        self._view.forget_expired(self._clock())
        await self._purge(self._clock())

    async def finish(self) -> None:
        """Before the worker ends: write everything that an answer promised."""
        await self._commits.drain()
        await self._limits.settle()
        await self._quietly(lambda: self.write_sums(None))
        await self._quietly(self._uses.flush)
        await self._quietly(self._bind)

    async def _now_and_every(self, seconds: float, chore: Chore) -> None:
        await self._quietly(chore)
        await self._every(seconds, chore)

    async def _every(self, seconds: float, chore: Chore) -> None:
        while True:
            await asyncio.sleep(seconds)
            await self._quietly(chore)

    @staticmethod
    async def _quietly(chore: Chore) -> None:
        try:
            await chore()
        except StorageUnavailable as error:
            _log.warning("housekeeping waits for the database", why=str(error))
        except Exception:
            _log.exception("a chore failed")
