"""What the registry needs from storage: a collection per aggregate, inside one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from msgspec import Struct

from .enrolment import EnrolmentCode
from .expected import ExpectedDevice
from .model import Application
from .pending import PendingEnrolment, State

T = TypeVar("T", bound=Struct)


class Shelf(Protocol[T]):
    """The records of one kind in one tenant, to look at."""

    async def get(self, tenant_id: str, id: str) -> T | None:
        """The record; None when absent or deleted. In a transaction that writes, locked until it ends."""

    async def find(self, tenant_id: str, sort: str) -> T | None:
        """By its sort column (slug, name, identifier)."""

    async def page(
        self,
        tenant_id: str,
        after: tuple[str, str] | None,
        limit: int,
        prefix: str = "",
    ) -> list[T]:
        """In order of (sort, id), beginning behind `after`."""


class Collection(Shelf[T], Protocol[T]):
    """The records of one kind in one tenant, to look at and to change."""

    async def add(self, record: T) -> None:
        """Insert; raises `Conflict` when the id or a unique column exists, also deleted."""

    async def replace(self, record: T) -> None:
        """Update from `record.version - 1`; raises `VersionMismatch`."""

    async def remove(self, record: T) -> None:
        """Mark as deleted (the id stays taken); raises `VersionMismatch`."""


class FleetShelf(Protocol):
    """Applications by the thousand, to look at. Tags are those of `registry/tags.py`; in a transaction that writes,
    what `named` finds is locked until it ends."""

    async def find(self, tenant_id: str, tags: Sequence[str], after: str, limit: int) -> list[str]:
        """The client ids of those that have all of these tags, in order, beginning behind `after`."""

    async def count(self, tenant_id: str, tags: Sequence[str]) -> int:
        """How many have all of these tags."""

    async def named(self, tenant_id: str, client_ids: Sequence[str]) -> list[Application]:
        """Those of these client ids that there are, in their order; two callers who lock bring them in one order."""

    async def holding(self, tenant_id: str, kind: str, values: Sequence[str]) -> dict[str, Application]:
        """Who claimed these values (`Transaction.claim`); what nobody claimed is absent."""


class Fleet(FleetShelf, Protocol):
    """Applications by the thousand, to look at and to change, in a few statements."""

    async def claim(self, tenant_id: str, kind: str, holders: Mapping[str, str]) -> set[str]:
        """Claim each value for its holder, a client id; the values that somebody else has."""

    async def add(self, records: Sequence[Application]) -> None:
        """Insert; raises `Conflict` when a client id was used before."""

    async def replace(self, changes: Sequence[tuple[Application, Application]]) -> None:
        """Before and after, of what this transaction has found and locked."""


class CodeShelf(Protocol):
    """The codes with which devices enrol, to look at."""

    async def get(self, tenant_id: str, digest: str) -> EnrolmentCode | None:
        """By its HMAC, also one that is used up or expired; None when there is none, or when it was withdrawn."""


class Codes(CodeShelf, Protocol):
    """The codes with which devices enrol, to look at and to change."""

    async def add(self, codes: Sequence[EnrolmentCode]) -> None:
        """Insert."""

    async def use(self, tenant_id: str, digest: str, now: int) -> bool:
        """One use less; False when none is left or it has expired. One statement decides and counts."""

    async def withdraw(self, tenant_id: str, group_id: str) -> int:
        """All that there are of a group are gone; how many."""

    async def count_open(self, tenant_id: str, group_id: str, now: int) -> int:
        """With how many of a group somebody may still enrol."""


class PendingShelf(Shelf[PendingEnrolment], Protocol):
    """Devices that wait for approval, to look at."""

    async def by_mark(self, tenant_id: str, mark: str) -> PendingEnrolment | None:
        """By what its repeats are known by."""

    async def by_ticket(self, tenant_id: str, ticket: str) -> PendingEnrolment | None:
        """By its ticket's digest."""

    async def of_state(
        self, tenant_id: str, state: State, group_id: str, now: int, after: tuple[str, str] | None, limit: int
    ) -> list[PendingEnrolment]:
        """The oldest first, behind `after` (sort, id); of all groups when none is named; only denials do not expire."""


class PendingCollection(PendingShelf, Collection[PendingEnrolment], Protocol):
    """Devices that wait for approval, to look at and to change."""

    async def count_waiting(self, tenant_id: str, group_id: str, now: int) -> int:
        """How many of a group wait and have not expired; exact while the group is locked."""

    async def drop(self, tenant_id: str, group_id: str, pending_id: str = "") -> int:
        """One of a group, or all: the rows are gone; how many there were."""


class ExpectedShelf(Protocol):
    """The lists of devices that are expected, to look at."""

    async def find(self, tenant_id: str, serials: Sequence[str], keys: Sequence[str]) -> list[ExpectedDevice]:
        """Those with one of these serial numbers, or one of these keys; of any group."""

    async def page(self, tenant_id: str, group_id: str, after: str, limit: int) -> list[ExpectedDevice]:
        """Of a group, in order of `entry`, beginning behind `after`."""


class Expected(ExpectedShelf, Protocol):
    """The lists of devices that are expected, to look at and to change."""

    async def add(self, devices: Sequence[ExpectedDevice]) -> None:
        """Insert; where a serial number or a key is listed already, that one stays."""

    async def take(self, device: ExpectedDevice) -> bool:
        """It has come; False when somebody else was first. One statement decides."""

    async def remove(self, tenant_id: str, group_id: str, entry: str = "") -> int:
        """One of a group, or all; how many there were."""
