"""What the tokens wing needs from storage: revocations, status lists, and what each rate limit has spent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from ...registry.revocation import Revocation


class Spending(Struct, frozen=True):
    """What one worker gave out within a limit: `cost` seconds of its rate, `count` tokens.

    `begins` is where its debt would end without them (`protocol/rate.py`), in seconds since the epoch.
    """

    tenant_id: str
    subject: str
    begins: float
    cost: float
    count: int


class RevocationReader(Protocol):
    """Reads what APIs are told. Both methods raise `StorageUnavailable`."""

    async def revocations(
        self, tenant_id: str, audience: str, after: int, now: int, limit: int
    ) -> Sequence[tuple[int, Revocation]]:
        """For this API or for all, behind `after`, not expired, with their `seq`, which grows in commit order."""

    async def newest_revocation(self) -> int:
        """The greatest `seq` that is kept, 0 when there is none."""


class StatusReader(Protocol):
    """Reads what status lists are made of. Raises `StorageUnavailable`."""

    async def revoked_indexes(self, tenant_id: str, list_name: str) -> Sequence[int]:
        """The places of the list's revoked tokens."""


class Debts(Protocol):
    """What all workers and nodes spent of each limit. What a power cut takes of it harms nobody."""

    async def add(self, spendings: Sequence[Spending]) -> Sequence[float]:
        """Until when each debt has to be worked off now, in the order of `spendings`, of which no two have one subject.

        One statement each adds and tells. Raises `StorageUnavailable`.
        """

    async def close(self) -> None:
        """Let go of the connection."""
