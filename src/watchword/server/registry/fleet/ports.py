"""Storage ports for devices: enrolment groups and codes, waiting and expected devices, many applications at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ..model import Application
from ..ports import Collection, Lookup
from .device_authority import DeviceAuthority
from .enrolment import EnrolmentCode, EnrolmentGroup
from .expected import ExpectedDevice
from .pending import PendingEnrolment, State


class FleetLookup(Protocol):
    """Read many applications at once. Tags are those of `registry/tags.py`.

    In a transaction that writes, `named` locks what it finds until the end of the transaction.
    """

    async def find(self, tenant_id: str, tags: Sequence[str], after: str, limit: int) -> list[str]:
        """The client ids of applications with all of these tags, in order, after `after`."""

    async def count(self, tenant_id: str, tags: Sequence[str]) -> int:
        """The number of applications with all of these tags."""

    async def named(self, tenant_id: str, client_ids: Sequence[str]) -> list[Application]:
        """The existing applications of these client ids, in their order; callers sort the ids, to avoid deadlocks."""

    async def holding(self, tenant_id: str, kind: str, values: Sequence[str]) -> dict[str, Application]:
        """The applications that have claimed these values (`Claims.claim`); unclaimed values are absent."""


class Fleet(FleetLookup, Protocol):
    """Read and change many applications at once, in a few statements."""

    async def claim(self, tenant_id: str, kind: str, holders: Mapping[str, str]) -> set[str]:
        """Claim each value for its holder, a client id; returns the values that another application has."""

    async def add(self, records: Sequence[Application]) -> None:
        """Insert; raises `Conflict` when a client id was used before."""

    async def replace(self, changes: Sequence[tuple[Application, Application]]) -> None:
        """Update; pairs of before and after, which this transaction has found and locked."""


class CodeLookup(Protocol):
    """Enrolment codes, to read."""

    async def get(self, tenant_id: str, digest: str) -> EnrolmentCode | None:
        """The code with this HMAC, also a used or expired one; None when there is none or it was withdrawn."""


class Codes(CodeLookup, Protocol):
    """Enrolment codes, to read and to change."""

    async def add(self, codes: Sequence[EnrolmentCode]) -> None:
        """Insert."""

    async def use(self, tenant_id: str, digest: str, now: int) -> bool:
        """Count one use; False when no use is left or the code has expired. One atomic statement."""

    async def withdraw(self, tenant_id: str, group_id: str) -> int:
        """Delete all codes of a group; returns their number."""

    async def count_open(self, tenant_id: str, group_id: str, now: int) -> int:
        """The number of unexpired codes of a group with uses left."""


class PendingLookup(Lookup[PendingEnrolment], Protocol):
    """Devices that wait for approval, to read."""

    async def by_mark(self, tenant_id: str, mark: str) -> PendingEnrolment | None:
        """By the mark that recognizes the device's repeated requests."""

    async def by_ticket(self, tenant_id: str, ticket: str) -> PendingEnrolment | None:
        """By the digest of its ticket."""

    async def of_state(
        self, tenant_id: str, state: State, group_id: str, now: int, after: tuple[str, str] | None, limit: int
    ) -> list[PendingEnrolment]:
        """The oldest first, after `after` (sort, id); of all groups when none is given. Only denials do not expire."""


class PendingCollection(PendingLookup, Collection[PendingEnrolment], Protocol):
    """Devices that wait for approval, to read and to change."""

    async def count_waiting(self, tenant_id: str, group_id: str, now: int) -> int:
        """The number of unexpired waiting devices of a group; exact while the group is locked."""

    async def drop(self, tenant_id: str, group_id: str, pending_id: str = "") -> int:
        """Delete one of a group, or all; returns their number."""


class ExpectedLookup(Protocol):
    """The lists of expected devices, to read."""

    async def find(self, tenant_id: str, serials: Sequence[str], keys: Sequence[str]) -> list[ExpectedDevice]:
        """The devices with one of these serial numbers or keys, of any group."""

    async def page(self, tenant_id: str, group_id: str, after: str, limit: int) -> list[ExpectedDevice]:
        """The devices of a group, in order of `entry`, after `after`."""


class Expected(ExpectedLookup, Protocol):
    """The lists of expected devices, to read and to change."""

    async def add(self, devices: Sequence[ExpectedDevice]) -> None:
        """Insert; an existing entry with the same serial number or key stays."""

    async def take(self, device: ExpectedDevice) -> bool:
        """Take a device off its list as it enrols; False when another request was first. One atomic statement."""

    async def remove(self, tenant_id: str, group_id: str, entry: str = "") -> int:
        """Delete one of a group, or all; returns their number."""


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
