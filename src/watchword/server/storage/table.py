"""Read and write the records of one kind in a transaction, with SQLAlchemy Core for both databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import msgspec
import sqlalchemy as sa
import structlog
from msgspec import Struct
from sqlalchemy.exc import IntegrityError

from ..registry.errors import Conflict, VersionMismatch
from . import schema
from .session import Session

T = TypeVar("T", bound=Struct)
_log: Any = structlog.get_logger("watchword.storage")
_encode = msgspec.json.Encoder().encode


class Table(Generic[T]):
    """The records of one kind, stored as JSON beside the columns by which they are found."""

    def __init__(
        self,
        session: Session,
        table: sa.Table,
        kind: type[T],
        key: Callable[[T], tuple[str, str, str]],
        extra: Callable[[T], dict[str, Any]] = lambda _: {},
        *,
        remembered: bool = True,
    ) -> None:
        """`remembered`: whether workers cache these records, so that each change needs an entry in the change feed."""
        self._session, self._table, self._key, self._extra, self._remembered = session, table, key, extra, remembered
        self._decode = msgspec.json.Decoder(kind).decode

    async def get(self, tenant_id: str, id: str) -> T | None:
        """The record; in a writing transaction, locked until its end."""
        t = self._table
        query = sa.select(t.c.body).where(t.c.tenant_id == tenant_id, t.c.id == id, schema.living(t))
        return await self._one(query.with_for_update() if self._session.writes else query)

    async def look(self, tenant_id: str, id: str) -> T | None:
        """The record, never locked: for one that the change depends on and does not write."""
        t = self._table
        return await self._one(sa.select(t.c.body).where(t.c.tenant_id == tenant_id, t.c.id == id, schema.living(t)))

    async def find(self, tenant_id: str, sort: str) -> T | None:
        """The record with this value in the column that lists are ordered by."""
        t = self._table
        return await self._one(sa.select(t.c.body).where(t.c.tenant_id == tenant_id, t.c.sort == sort, ~t.c.deleted))

    async def page(
        self,
        tenant_id: str,
        after: tuple[str, str] | None,
        limit: int,
        prefix: str = "",
    ) -> list[T]:
        """Records in order of (sort, id), after `after`; only those whose sort column begins with `prefix`.

        Leaves out rows that cannot be decoded and logs each of them, so that one damaged row does not hide the others.
        """
        found: list[T] = []
        while len(found) < limit:
            asked = limit - len(found)
            rows: list[Any] = list(await self._session.run(self._page(tenant_id, after, prefix).limit(asked)))
            readable = [record for row in rows if (record := self._readable(tenant_id, row[1], row[2])) is not None]
            found += readable
            if len(readable) == len(rows) or len(rows) < asked:
                break
            after = rows[-1][0], rows[-1][1]
        return found

    def _page(self, tenant_id: str, after: tuple[str, str] | None, prefix: str) -> sa.Select[Any]:
        t = self._table
        query = sa.select(t.c.sort, t.c.id, t.c.body).where(t.c.tenant_id == tenant_id, ~t.c.deleted)
        if after is not None:
            query = query.where(sa.tuple_(t.c.sort, t.c.id) > sa.tuple_(sa.literal(after[0]), sa.literal(after[1])))
        if prefix:
            query = query.where(t.c.sort.startswith(prefix, autoescape=True))
        return query.order_by(t.c.sort, t.c.id)

    def _readable(self, tenant_id: str, id: str, body: bytes) -> T | None:
        try:
            return self._decode(body)
        except msgspec.DecodeError:  # a ValidationError is one
            _log.error("a damaged row is left out of a list", table=self._table.name, tenant_id=tenant_id, id=id)
            return None

    async def add(self, record: T) -> None:
        """Insert; raises `Conflict` for an id or unique value that exists, also on a deleted record."""
        values = self._values(record)
        try:
            await self._session.run(sa.insert(self._table).values(**values))
        except IntegrityError:
            raise Conflict(
                f"{self._table.name.replace('_', ' ')} {values['sort']!r} exists, or its id was used before"
            ) from None
        self._tell(values)

    async def replace(self, record: T) -> None:
        """Update version - 1 to this version; raises `VersionMismatch`."""
        await self._update(record, deleted=False)

    async def remove(self, record: T) -> None:
        """Mark as deleted. The row keeps its id taken; its unique value is freed, except a tenant's slug."""
        await self._update(record, deleted=True)

    async def _update(self, record: T, *, deleted: bool) -> None:
        values = self._values(record)
        if deleted and self._table is not schema.tenant:
            values["sort"] = f"{values['sort']}\n{values['id']}"
        t = self._table
        where = (
            t.c.tenant_id == values["tenant_id"],
            t.c.id == values["id"],
            t.c.version == values["version"] - 1,
        )
        try:
            count = await self._session.count(
                sa.update(t).where(*where, schema.living(t)).values(**values, deleted=deleted)
            )
        except IntegrityError:
            raise Conflict(f"{values['sort']!r} exists already") from None
        if count != 1:
            raise VersionMismatch("it was changed meanwhile; read it again and repeat your change")
        self._tell(values)

    def _tell(self, values: dict[str, Any]) -> None:
        if self._remembered:
            self._session.changed(values["tenant_id"], self._table.name, values["id"])

    def _values(self, record: T) -> dict[str, Any]:
        tenant_id, id_, sort = self._key(record)
        version = cast(Any, record).version
        key = {"tenant_id": tenant_id, "id": id_, "sort": sort, "version": version}
        return {**key, "body": _encode(record), **self._extra(record)}

    async def _one(self, query: sa.Select[Any]) -> T | None:
        rows = await self._session.run(query)
        return self._decode(rows[0][0]) if rows else None
