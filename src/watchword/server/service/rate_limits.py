"""What applications and tenants have asked for, held against their limits. Each worker counts for itself."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from ..protocol.errors import SlowDown
from ..protocol.rate import retry_after, spent, turn, wait
from ..registry.model import Application, Tenant
from ..registry.rate_limit import RateLimit

_SWEPT_ABOVE = 10_000


class _Debt(Struct):
    until: float = 0.0
    """See `protocol/rate.py`."""
    queue: float = 0.0
    """Until when those who were refused have their turns."""


class RateLimits:
    """One object per worker. Only who proved himself is counted: a stranger can spend nobody's share."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._debts: dict[tuple[str, str], _Debt] = {}
        self._sweep_above = _SWEPT_ABOVE

    def spend(self, tenant: Tenant, application: Application, now: float) -> None:
        """One more token. Raises `SlowDown`, and then nothing is spent.

        The application's own limit comes first: what one broken device asks for beyond it costs its tenant nothing.
        """
        own = self._debt(tenant.tenant_id, application.client_id, application.rate_limit)
        shared = self._debt(tenant.tenant_id, "", tenant.rate_limit)
        if application.rate_limit is not None and (seconds := wait(own.until, now, application.rate_limit)):
            raise SlowDown(retry_after(seconds, self._chance()), rule="application limit")
        if tenant.rate_limit is not None and wait(shared.until, now, tenant.rate_limit):
            shared.queue = turn(max(shared.queue, now), now, tenant.rate_limit.per_second)
            raise SlowDown(retry_after(shared.queue - now, self._chance()), rule="tenant limit")
        for debt, limit in ((own, application.rate_limit), (shared, tenant.rate_limit)):
            if limit is not None:
                debt.until = spent(debt.until, now, limit)
        if len(self._debts) > self._sweep_above:
            self._sweep(now)

    def _debt(self, tenant_id: str, subject: str, limit: RateLimit | None) -> _Debt:
        if limit is None:
            return _NOTHING
        key = (tenant_id, subject)
        found = self._debts.get(key)
        if found is None:
            found = self._debts[key] = _Debt()
        return found

    def _sweep(self, now: float) -> None:
        """Who owes nothing is as good as one who never came."""
        self._debts = {key: debt for key, debt in self._debts.items() if debt.until > now or debt.queue > now}
        self._sweep_above = max(_SWEPT_ABOVE, 2 * len(self._debts))


_NOTHING = _Debt()
