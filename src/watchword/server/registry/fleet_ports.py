"""What the fleet's services need from storage: enrolment groups and codes, devices, many applications at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from .device_authority import DeviceAuthority
from .enrolment import EnrolmentCode, EnrolmentGroup
from .expected import ExpectedDevice
from .model import Application
from .pending import PendingEnrolment, State
from .ports import Collection, Lookup


class FleetLookup(Protocol):
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


class Fleet(FleetLookup, Protocol):
    """Applications by the thousand, to look at and to change, in a few statements."""

    async def claim(self, tenant_id: str, kind: str, holders: Mapping[str, str]) -> set[str]:
        """Claim each value for its holder, a client id; the values that somebody else has."""

    async def add(self, records: Sequence[Application]) -> None:
        """Insert; raises `Conflict` when a client id was used before."""

    async def replace(self, changes: Sequence[tuple[Application, Application]]) -> None:
        """Before and after, of what this transaction has found and locked."""


class CodeLookup(Protocol):
    """The codes with which devices enrol, to look at."""

    async def get(self, tenant_id: str, digest: str) -> EnrolmentCode | None:
        """By its HMAC, also one that is used up or expired; None when there is none, or when it was withdrawn."""


class Codes(CodeLookup, Protocol):
    """The codes with which devices enrol, to look at and to change."""

    async def add(self, codes: Sequence[EnrolmentCode]) -> None:
        """Insert."""

    async def use(self, tenant_id: str, digest: str, now: int) -> bool:
        """One use less; False when none is left or it has expired. One statement decides and counts."""

    async def withdraw(self, tenant_id: str, group_id: str) -> int:
        """All that there are of a group are gone; how many."""

    async def count_open(self, tenant_id: str, group_id: str, now: int) -> int:
        """With how many of a group somebody may still enrol."""


class PendingLookup(Lookup[PendingEnrolment], Protocol):
    """Devices that wait for approval, to look at."""

    async def by_mark(self, tenant_id: str, mark: str) -> PendingEnrolment | None:
        """By what its repeats are known by."""

    async def by_ticket(self, tenant_id: str, ticket: str) -> PendingEnrolment | None:
        """By its ticket's digest."""

    async def of_state(
        self, tenant_id: str, state: State, group_id: str, now: int, after: tuple[str, str] | None, limit: int
    ) -> list[PendingEnrolment]:
        """The oldest first, behind `after` (sort, id); of all groups when none is named; only denials do not expire."""


class PendingCollection(PendingLookup, Collection[PendingEnrolment], Protocol):
    """Devices that wait for approval, to look at and to change."""

    async def count_waiting(self, tenant_id: str, group_id: str, now: int) -> int:
        """How many of a group wait and have not expired; exact while the group is locked."""

    async def drop(self, tenant_id: str, group_id: str, pending_id: str = "") -> int:
        """One of a group, or all: the rows are gone; how many there were."""


class ExpectedLookup(Protocol):
    """The lists of devices that are expected, to look at."""

    async def find(self, tenant_id: str, serials: Sequence[str], keys: Sequence[str]) -> list[ExpectedDevice]:
        """Those with one of these serial numbers, or one of these keys; of any group."""

    async def page(self, tenant_id: str, group_id: str, after: str, limit: int) -> list[ExpectedDevice]:
        """Of a group, in order of `entry`, beginning behind `after`."""


class Expected(ExpectedLookup, Protocol):
    """The lists of devices that are expected, to look at and to change."""

    async def add(self, devices: Sequence[ExpectedDevice]) -> None:
        """Insert; where a serial number or a key is listed already, that one stays."""

    async def take(self, device: ExpectedDevice) -> bool:
        """It has come; False when somebody else was first. One statement decides."""

    async def remove(self, tenant_id: str, group_id: str, entry: str = "") -> int:
        """One of a group, or all; how many there were."""


class PlaceCounts(Protocol):
    """How many applications enrolment groups have."""

    async def places(self, tenant_id: str, group_ids: Sequence[str]) -> dict[str, int]:
        """How many applications are in each of these enrolment groups; empty ones are absent."""


class Places(PlaceCounts, Protocol):
    """Count applications into and out of enrolment groups, within each group's limit."""

    async def take_place(self, tenant_id: str, group_id: str, limit: int | None, count: int = 1) -> bool:
        """Add `count` to an enrolment group; False, and nothing added, when that would exceed `limit`.

        One statement counts and compares."""

    async def leave_place(self, tenant_id: str, group_id: str) -> None:
        """Subtract one."""


class FleetReads(Protocol):
    """Enrolment groups, codes and devices, to read."""

    @property
    def enrolment_groups(self) -> Lookup[EnrolmentGroup]:
        """Enrolment groups."""

    @property
    def device_authorities(self) -> Lookup[DeviceAuthority]:
        """Certificate authorities for devices."""

    @property
    def codes(self) -> CodeLookup:
        """Enrolment codes."""

    @property
    def pending(self) -> PendingLookup:
        """Devices that wait for approval."""

    @property
    def expected(self) -> ExpectedLookup:
        """Devices that are expected to enrol."""

    @property
    def fleet(self) -> FleetLookup:
        """Many applications at once."""


class FleetRecords(FleetReads, Protocol):
    """Enrolment groups, codes and devices, to read and to change."""

    @property
    def enrolment_groups(self) -> Collection[EnrolmentGroup]:
        """Enrolment groups."""

    @property
    def device_authorities(self) -> Collection[DeviceAuthority]:
        """Certificate authorities for devices."""

    @property
    def codes(self) -> Codes:
        """Enrolment codes."""

    @property
    def pending(self) -> PendingCollection:
        """Devices that wait for approval."""

    @property
    def expected(self) -> Expected:
        """Devices that are expected to enrol."""

    @property
    def fleet(self) -> Fleet:
        """Many applications at once."""
