"""Export all tables of a database, and import them into an empty one."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from ..audit.events import Event
from ..registry.errors import Conflict
from ..service.upkeep.export_file import DamagedExport
from ..service.upkeep.export_instance import Piece, Record
from . import schema
from .failures import translated_errors
from .migrate import newest_revision
from .open import for_reading
from .registry import RegistryStore

MOVES = (
    schema.tenant,
    schema.application,
    schema.api,
    schema.role,
    schema.signing_key,
    schema.initial_token,
    schema.claim,
    schema.enrolment_group,
    schema.place,
    schema.enrolment_code,
    schema.expected_device,
    schema.application_tag,
    schema.pending_enrolment,
    schema.device_authority,
    schema.trusted_issuer,
    schema.secret_use,
    schema.revoked,
    schema.replay_mark,
    schema.opaque_token,
    schema.revocation,
    schema.status_entry,
)
STAYS = (
    schema.meta,
    schema.idempotency_key,
    schema.debt,
    schema.change,
    schema.audit,
    schema.audit_checkpoint,
    schema.checkpoint,
    schema.anchor,
)
"""Tables that are not exported, because they belong to one database: key check, answers kept for repeated requests,
rate limits, change feed, audit log."""
_BY_NAME = {table.name: table for table in MOVES}
# Imported rows have explicit numbers, which do not advance PostgreSQL's sequence; SQLite's follows by itself.
_GO_ON_NUMBERING = sa.text("SELECT setval(pg_get_serial_sequence('revocation', 'seq'), max(seq)) FROM revocation")
_PIECE = 500
_HOUR = 3_600.0


class Transfer:
    """Implements the ports of `service/upkeep/export_instance.py` and `service/upkeep/import_instance.py`."""

    def __init__(self, engine: AsyncEngine, store: RegistryStore) -> None:
        self._reading, self._store = for_reading(engine), store
        self.schema = newest_revision()

    async def pieces(self) -> AsyncGenerator[Piece]:
        """All records of one snapshot, read in pages by primary key."""
        async with translated_errors(_HOUR), self._reading.connect() as connection:
            for table in MOVES:
                key = tuple(table.primary_key.columns)
                after: tuple[Any, ...] | None = None
                while True:
                    query = sa.select(table).order_by(*key).limit(_PIECE)
                    if after is not None:
                        query = query.where(sa.tuple_(*key) > sa.tuple_(*(sa.literal(each) for each in after)))
                    found = (await connection.execute(query)).mappings().fetchall()
                    if found:
                        yield Piece(str(table.name), [_out(dict(row)) for row in found])
                    if len(found) < _PIECE:
                        break
                    after = tuple(found[-1][column.name] for column in key)

    async def load(self, pieces: Iterator[Piece], event: Event) -> int:
        """Import in one transaction, with no time limit: an empty database serves no requests."""
        count = 0
        async with self._store.transaction(_HOUR) as tx:
            if await tx.run(sa.select(schema.tenant.c.id).limit(1)):
                raise Conflict("this instance has tenants already: import into an empty database")
            for piece in pieces:
                table = _BY_NAME.get(piece.table)
                if table is None:
                    raise DamagedExport(f"the file names a table {piece.table!r} that there is not")
                records = [_in(record, table) for record in piece.records]
                try:
                    await tx.connection.execute(sa.insert(table), records)
                except SQLAlchemyError as error:
                    raise DamagedExport(f"records of {piece.table} do not fit: {type(error).__name__}") from None
                count += len(records)
                if table is schema.tenant:
                    for record in records:
                        tx.record(record["id"], event)
            if tx.dialect == "postgresql":
                await tx.run(_GO_ON_NUMBERING)
        return count


def _out(row: Record) -> Record:
    return {
        str(name): {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes | memoryview) else value
        for name, value in row.items()
    }


def _in(record: Record, table: sa.Table) -> Record:
    if record.keys() != set(table.columns.keys()):
        raise DamagedExport(f"a record of {table.name} has other columns than ours")
    return {
        name: base64.b64decode(value["b64"]) if isinstance(value, dict) else value for name, value in record.items()
    }
