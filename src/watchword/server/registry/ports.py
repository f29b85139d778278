"""Storage ports for the registry's records: a collection of each kind, inside one transaction."""

from __future__ import annotations

from typing import Protocol, TypeVar

from msgspec import Struct

from .model import Api, Application, InitialToken, Role, Tenant
from .trusted_issuer import TrustedIssuer

T = TypeVar("T", bound=Struct)


class Lookup(Protocol[T]):
    """The records of one kind, to read."""

    async def get(self, tenant_id: str, id: str) -> T | None:
        """The record; None when absent or deleted. In a transaction that writes, locked until it ends."""

    async def look(self, tenant_id: str, id: str) -> T | None:
        """The record, never locked: for one that a change depends on and does not write."""

    async def find(self, tenant_id: str, sort: str) -> T | None:
        """By its sort column (slug, name, identifier)."""

    async def page(
        self,
        tenant_id: str,
        after: tuple[str, str] | None,
        limit: int,
        prefix: str = "",
    ) -> list[T]:
        """In order of (sort, id), after `after`; only those whose sort column begins with `prefix`."""


class Collection(Lookup[T], Protocol[T]):
    """The records of one kind, to read and to change."""

    async def add(self, record: T) -> None:
        """Insert; raises `Conflict` when the id or a unique column exists, also deleted."""

    async def replace(self, record: T) -> None:
        """Update from `record.version - 1`; raises `VersionMismatch`."""

    async def remove(self, record: T) -> None:
        """Mark as deleted (the id stays taken); raises `VersionMismatch`."""


class RegistryReads(Protocol):
    """Tenants, applications and what belongs to them, to read."""

    @property
    def tenants(self) -> Lookup[Tenant]:
        """All tenants."""

    @property
    def applications(self) -> Lookup[Application]:
        """The applications of each tenant."""

    @property
    def apis(self) -> Lookup[Api]:
        """The APIs of each tenant."""

    @property
    def roles(self) -> Lookup[Role]:
        """The roles of each tenant."""

    @property
    def initial_tokens(self) -> Lookup[InitialToken]:
        """Initial access tokens of dynamic registration (RFC 7591)."""

    @property
    def issuers(self) -> Lookup[TrustedIssuer]:
        """Issuers whose tokens applications may authenticate with."""


class RegistryRecords(RegistryReads, Protocol):
    """Tenants, applications and what belongs to them, to read and to change."""

    @property
    def tenants(self) -> Collection[Tenant]:
        """All tenants."""

    @property
    def applications(self) -> Collection[Application]:
        """The applications of each tenant."""

    @property
    def apis(self) -> Collection[Api]:
        """The APIs of each tenant."""

    @property
    def roles(self) -> Collection[Role]:
        """The roles of each tenant."""

    @property
    def initial_tokens(self) -> Collection[InitialToken]:
        """Initial access tokens of dynamic registration (RFC 7591)."""

    @property
    def issuers(self) -> Collection[TrustedIssuer]:
        """Issuers whose tokens applications may authenticate with."""


class Holders(Protocol):
    """Which application has claimed a value."""

    async def holder(self, tenant_id: str, kind: str, value: str) -> str | None:
        """The client id of the application that has claimed it; None when no application has."""


class Claims(Holders, Protocol):
    """Values that only one application of a tenant may have: serial numbers, keys, software ids."""

    async def claim(self, tenant_id: str, kind: str, value: str, holder: str) -> None:
        """Claim a value for an application; raises `Conflict` when another has it, also at the same moment."""

    async def release(self, tenant_id: str, holder: str, kind: str = "") -> None:
        """Release all claims of an application, or those of one kind."""
