"""Prune audit events that are older than a date, and record the pruning."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol

from ...audit.events import AuditPruned, Event
from ...registry.errors import Invalid


class OldRows(Protocol):
    """The oldest rows of the audit log."""

    async def give_up(self, before: float, event: Callable[[int], Event]) -> int:
        """In one transaction: sign anchors as the new beginning of the chains, record `event(rows)` in each tenant."""

    def remove(self) -> AsyncIterator[int]:
        """Delete the rows before the anchors in batches; yields the number of rows of each batch."""


class PruneAudit:
    """A pruned log can still be verified, from a signed anchor on; see `audit/verification.py`."""

    def __init__(self, old: OldRows, clock: Callable[[], float]) -> None:
        self._old, self._clock = old, clock

    async def __call__(self, before: float, progress: Callable[[int], None] = lambda rows: None) -> int:
        """Returns the number of deleted rows. `before`: seconds since the epoch, in the past. Raises `Invalid`."""
        now = self._clock()
        if before > now:
            raise Invalid("events cannot be pruned before they happen: give a date in the past", field="before")
        await self._old.give_up(before, lambda rows: AuditPruned(at=now, before=before, rows=rows))
        removed = 0
        async for rows in self._old.remove():
            removed += rows
            progress(rows)
        return removed
