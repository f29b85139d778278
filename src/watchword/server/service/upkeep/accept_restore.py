"""Accept a database that is older than the epoch: a restored backup, or a standby that lost the newest commits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from ...audit.events import RestoreAccepted
from ...audit.verification import Place
from ..desk import EVERYTHING
from ..ports import Store


class Checkpoints(Protocol):
    """The chain of checkpoints of the audit log."""

    async def accept(self) -> tuple[Place | None, Place] | None:
        """Sign that the checkpoints between the database's newest and the epoch are lost; None: none are."""


class Accepted(Struct, frozen=True):
    """The first and the last checkpoint that were lost."""

    first: int
    last: int


async def accept_restore(
    checkpoints: Checkpoints, store: Store, clock: Callable[[], float], user: str
) -> Accepted | None:
    """Every tenant's audit log gets a `RestoreAccepted`. None: the database is not older than the epoch.

    What was changed between backup and restore is undone: revocations, withdrawn keys, disabled applications.
    """
    found = await checkpoints.accept()
    if found is None:
        return None
    here, known = found
    lost = Accepted(here[0] + 1 if here is not None else 1, known[0])
    async with store.transaction() as tx:
        for tenant in await tx.tenants.page("", None, EVERYTHING):
            tx.record(
                tenant.tenant_id,
                RestoreAccepted(at=clock(), user=user, first_lost=lost.first, last_lost=lost.last),
            )
    return lost
