"""Export a whole instance: tenants, applications, APIs, roles, keys, revocations."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, BinaryIO, Protocol

import msgspec
from msgspec import Struct

from ....jose.sealing import MasterKey
from ...audit.events import InstanceExported
from ..desk import EVERYTHING
from ..ports import Store
from .export_file import ExportWriter

Record = dict[str, Any]


class Heading(Struct, frozen=True, forbid_unknown_fields=True):
    """The first piece: the schema revision of the records."""

    schema: str
    exported_at: float


class Piece(Struct, frozen=True, forbid_unknown_fields=True):
    """Some records of one table."""

    table: str
    records: list[Record]


class Source(Protocol):
    """The records of the database, as they stood at one moment."""

    schema: str

    def pieces(self) -> AsyncGenerator[Piece]:
        """Every record to export, including deleted ones, whose ids and slugs stay taken."""


class ExportInstance:
    """Leaves out the audit log, which belongs to this instance; `watchword audit export` writes it."""

    def __init__(
        self,
        source: Source,
        store: Store,
        master: MasterKey,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._source, self._store, self._master = source, store, master
        self._clock, self._random = clock, random_bytes

    async def __call__(self, file: BinaryIO, progress: Callable[[int], None] = lambda records: None) -> int:
        """Returns the number of records. Every tenant's audit log has an event before this returns."""
        now, count = self._clock(), 0
        writer = ExportWriter(file, self._master, self._random(16))
        writer.write(msgspec.json.encode(Heading(self._source.schema, now)))
        async with aclosing(self._source.pieces()) as pieces:
            async for piece in pieces:
                writer.write(msgspec.json.encode(piece))
                count += len(piece.records)
                progress(len(piece.records))
        async with self._store.transaction() as tx:
            for tenant in await tx.tenants.page("", None, EVERYTHING):
                tx.record(tenant.tenant_id, InstanceExported(at=now))
        writer.close()
        return count
