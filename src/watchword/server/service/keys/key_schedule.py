"""Schedule key rotation: a worker remembers when each tenant's keys are due and reads no keys before."""

from __future__ import annotations

from collections.abc import Callable

from ...keys.rotation import Policy
from .rotate_key import RotateKey


class KeySchedule:
    """Reads every tenant's keys once in `Policy.look_again` seconds: nothing that happens in between is due sooner.

    Each worker has its own schedule; the second worker that visits a tenant finds nothing to do.
    """

    def __init__(self, keys: RotateKey, policy: Policy, clock: Callable[[], float]) -> None:
        self._keys, self._policy, self._clock = keys, policy, clock
        self._due: dict[str, float] = {}
        self._look_at = float("-inf")

    async def __call__(self) -> None:
        """Do what is due now."""
        now = self._clock()
        if (
            now >= self._look_at or now < self._look_at - self._policy.look_again
        ):  # the second case: the clock was set back
            self._due = await self._keys.due()
            self._look_at = now + self._policy.look_again
        visited = [tenant_id for tenant_id, due in self._due.items() if due <= now]
        for tenant_id in visited:
            await self._keys.on_schedule(tenant_id)
        if visited:
            self._due.update(await self._keys.due(visited))
