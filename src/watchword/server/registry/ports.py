"""What the registry needs from storage: a collection per aggregate, inside one transaction."""

from __future__ import annotations

from typing import Protocol, TypeVar

from msgspec import Struct

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
