"""One aggregate's table inside a transaction, in SQLAlchemy Core, the same for both databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import msgspec
import sqlalchemy as sa
import structlog
from msgspec import Struct
from sqlalchemy.exc import IntegrityError

from ..registry.errors import Conflict, VersionMismatch
from . import schema

if TYPE_CHECKING:
    from .registry import RegistryTransaction

T = TypeVar("T", bound=Struct)
_log: Any = structlog.get_logger("watchword.storage")
_encode = msgspec.json.Encoder().encode


class Table(Generic[T]):
    """One aggregate's table inside a transaction."""

    def __init__(
        self,
        tx: RegistryTransaction,
        table: sa.Table,
        kind: type[T],
        key: Callable[[T], tuple[str, str, str]],
        extra: Callable[[T], dict[str, Any]] = lambda _: {},
        *,
        remembered: bool = True,
    ) -> None:
        """`remembered`: whether workers keep it in memory, and so have to be told of each change."""
        self._tx, self._table, self._key, self._extra, self._remembered = tx, table, key, extra, remembered
        self._decode = msgspec.json.Decoder(kind).decode

    async def get(self, tenant_id: str, id: str) -> T | None:
        """The record, locked until the transaction ends."""
        t = self._table
        query = sa.select(t.c.body).where(t.c.tenant_id == tenant_id, t.c.id == id, schema.living(t))
        return await self._one(query.with_for_update() if self._tx.writes else query)

    async def find(self, tenant_id: str, sort: str) -> T | None:
        """By the column that lists are ordered by."""
        t = self._table
        return await self._one(sa.select(t.c.body).where(t.c.tenant_id == tenant_id, t.c.sort == sort, ~t.c.deleted))

    async def page(
        self,
        tenant_id: str,
        after: tuple[str, str] | None,
        limit: int,
        prefix: str = "",
    ) -> list[T]:
        """In order of (sort, id), behind `after`; `prefix` narrows by sort.

        A row that cannot be read is named in the log and left out: it takes no others with it.
        """
        found: list[T] = []
        while len(found) < limit:
            asked = limit - len(found)
            rows: list[Any] = list(await self._tx.run(self._page(tenant_id, after, prefix).limit(asked)))
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
        except msgspec.DecodeError:  # also of one that has another shape
            _log.error("a damaged row is left out of a list", table=self._table.name, tenant_id=tenant_id, id=id)
            return None

    async def add(self, record: T) -> None:
        """Insert; a taken id or unique value is a `Conflict`, also that of a deleted record."""
        values = self._values(record)
        try:
            await self._tx.run(sa.insert(self._table).values(**values))
        except IntegrityError:
            raise Conflict(
                f"{self._table.name.replace('_', ' ')} {values['sort']!r} exists, or its id was used before"
            ) from None
        self._tell(values)

    async def replace(self, record: T) -> None:
        """Update from version - 1."""
        await self._update(record, deleted=False)

    async def remove(self, record: T) -> None:
        """The row stays, so that its id is never used again; its unique value is freed except a tenant's slug."""
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
            count = await self._tx.count(sa.update(t).where(*where, schema.living(t)).values(**values, deleted=deleted))
        except IntegrityError:
            raise Conflict(f"{values['sort']!r} exists already") from None
        if count != 1:
            raise VersionMismatch("it was changed meanwhile; read it again and repeat your change")
        self._tell(values)

    def _tell(self, values: dict[str, Any]) -> None:
        if self._remembered:
            self._tx.changed(values["tenant_id"], self._table.name, values["id"])

    def _values(self, record: T) -> dict[str, Any]:
        tenant_id, id_, sort = self._key(record)
        version = cast(Any, record).version
        key = {"tenant_id": tenant_id, "id": id_, "sort": sort, "version": version}
        return {**key, "body": _encode(record), **self._extra(record)}

    async def _one(self, query: sa.Select[Any]) -> T | None:
        rows = await self._tx.run(query)
        return self._decode(rows[0][0]) if rows else None
