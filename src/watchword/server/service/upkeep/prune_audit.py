"""Remove audit events that are older than a date, on purpose and on record."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol

from ...audit.events import AuditPruned, Event
from ...registry.errors import Invalid


class OldRows(Protocol):
    """The audit log's old end."""

    async def give_up(self, before: float, event: Callable[[int], Event]) -> int:
        """In one transaction: sign where the chains begin from now on, and record `event(rows)` in each tenant."""

    def remove(self) -> AsyncIterator[int]:
        """Delete what was given up, batch by batch; yields each batch's rows."""


class PruneAudit:
    """A history that was pruned still verifies, from a signed anchor on; see `audit/verification.py`."""

    def __init__(self, old: OldRows, clock: Callable[[], float]) -> None:
        self._old, self._clock = old, clock

    async def __call__(self, before: float, progress: Callable[[int], None] = lambda rows: None) -> int:
        """How many rows went. `before`: seconds since the epoch, not in the future. Raises `Invalid`."""
        now = self._clock()
        if before > now:
            raise Invalid("events cannot be pruned before they happen: give a date in the past", field="before")
        await self._old.give_up(before, lambda rows: AuditPruned(at=now, before=before, rows=rows))
        removed = 0
        async for rows in self._old.remove():
            removed += rows
            progress(rows)
        return removed
