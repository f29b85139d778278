"""Find applications by tag, and add or change thousands of them with one statement a table.

A statement with many sets of values costs the driver microseconds a row, where one statement a row costs the engine
hundreds. Rows are locked in order of their key, so that two concurrent batches cannot deadlock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from ..registry.errors import Conflict
from ..registry.model import Application
from ..registry.tags import tags_of
from . import schema
from .each import for_each
from .session import Session
from .table import Table

_decode = msgspec.json.Decoder(Application).decode
_encode = msgspec.json.Encoder().encode


class Applications(Table[Application]):
    """The table of applications, and the table of the tags by which they are found."""

    def __init__(self, session: Session) -> None:
        super().__init__(session, schema.application, Application, lambda r: (r.tenant_id, r.client_id, r.name))

    async def add(self, record: Application) -> None:
        """Insert, with its tags."""
        await super().add(record)
        await _write_tags(self._session, [(None, record)])

    async def _update(self, record: Application, *, deleted: bool) -> None:
        before = await self._one(
            sa.select(schema.application.c.body).where(
                schema.application.c.tenant_id == record.tenant_id, schema.application.c.id == record.client_id
            )
        )
        await super()._update(record, deleted=deleted)
        await _write_tags(self._session, [(before, None if deleted else record)])


class Fleet:
    """Many applications at once, inside a transaction or a snapshot."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def find(self, tenant_id: str, tags: Sequence[str], after: str, limit: int) -> list[str]:
        """The client ids of applications with all of these tags, in order, after `after`; all when no tag is given."""
        t, first = schema.application, schema.application_tag
        if not tags:
            query = sa.select(t.c.id).where(t.c.tenant_id == tenant_id, t.c.id > after, schema.living(t))
            query = query.order_by(t.c.id)
        else:  # from the index of tags, also when few of the applications have them
            query = sa.select(first.c.id).order_by(first.c.id)
            query = query.where(first.c.tenant_id == tenant_id, first.c.tag == tags[0], first.c.id > after)
            query = _having(query, tenant_id, tags[1:], first.c.id, after)
        return [str(row[0]) for row in await self._session.run(query.limit(limit))]

    async def count(self, tenant_id: str, tags: Sequence[str]) -> int:
        """The number of applications with all of these tags; of all applications when no tag is given."""
        t = schema.application
        query = sa.select(sa.func.count()).select_from(t).where(t.c.tenant_id == tenant_id, ~t.c.deleted)
        if tags:  # the index of tags alone: deleted applications have no tags
            first = schema.application_tag
            query = sa.select(sa.func.count()).select_from(first)
            query = query.where(first.c.tenant_id == tenant_id, first.c.tag == tags[0])
            query = _having(query, tenant_id, tags[1:], first.c.id)
        return int((await self._session.run(query))[0][0])

    async def named(self, tenant_id: str, client_ids: Sequence[str]) -> list[Application]:
        """The existing applications of these client ids, in their order; a writing transaction locks them so, too."""
        t = schema.application
        query = sa.select(t.c.id, t.c.body).where(t.c.tenant_id == tenant_id, schema.living(t))
        wanted = list(dict.fromkeys(client_ids))
        rows: Sequence[Any] = await self._session.run(self._each(wanted, t.c.id, query, locks=self._session.writes))
        found = {row[0]: row[1] for row in rows}
        return [_decode(found[client_id]) for client_id in wanted if client_id in found]

    async def holding(self, tenant_id: str, kind: str, values: Sequence[str]) -> dict[str, Application]:
        """The applications that have claimed these values; values that no application has claimed are absent."""
        t = schema.application
        held = await self._holders(tenant_id, kind, values)
        if not held:
            return {}
        found = sa.select(t.c.id, t.c.body).where(t.c.tenant_id == tenant_id, schema.living(t))
        rows: Sequence[Any] = await self._session.run(self._each(sorted(set(held.values())), t.c.id, found))
        living = {row[0]: _decode(row[1]) for row in rows}
        return {value: living[holder] for value, holder in held.items() if holder in living}

    async def claim(self, tenant_id: str, kind: str, holders: Mapping[str, str]) -> set[str]:
        """Claim each value for its holder; returns the values that another application has, also at the same moment."""
        if not holders:
            return set()
        values = [
            {"tenant_id": tenant_id, "kind": kind, "value": value, "holder": holder}
            for value, holder in sorted(holders.items())
        ]
        await self._session.connection.execute(self._session.insert(schema.claim).on_conflict_do_nothing(), values)
        held = await self._holders(tenant_id, kind, list(holders))
        return {value for value, holder in held.items() if holder != holders[value]}

    async def _holders(self, tenant_id: str, kind: str, values: Sequence[str]) -> dict[str, str]:
        c = schema.claim
        query = sa.select(c.c.value, c.c.holder).where(c.c.tenant_id == tenant_id, c.c.kind == kind)
        rows: Sequence[Any] = await self._session.run(self._each(values, c.c.value, query))
        return {row[0]: row[1] for row in rows}

    def _each(
        self, values: Sequence[str], key: sa.ColumnElement[Any], query: sa.Select[Any], *, locks: bool = False
    ) -> sa.Select[Any]:
        return for_each(self._session.dialect, values, key, query, locks=locks)

    async def add(self, records: Sequence[Application]) -> None:
        """Insert all of them, with their tags. Writes no feed entry: new applications are in no cache.

        Raises `Conflict` when a client id was used before.
        """
        if not records:
            return
        values = [
            {"tenant_id": r.tenant_id, "id": r.client_id, "sort": r.name, "version": r.version, "body": _encode(r)}
            for r in sorted(records, key=lambda r: r.client_id)
        ]
        try:
            await self._session.connection.execute(sa.insert(schema.application), values)
        except IntegrityError:
            raise Conflict("a client id was used before") from None
        await _write_tags(self._session, [(None, record) for record in records])

    async def replace(self, changes: Sequence[tuple[Application, Application]]) -> None:
        """Update; pairs of before and after, which `named` of this transaction has found and locked."""
        if not changes:
            return
        t = schema.application
        where = (t.c.tenant_id == sa.bindparam("of_tenant"), t.c.id == sa.bindparam("of_id"))
        statement = sa.update(t).where(*where).values(
            sort=sa.bindparam("new_sort"), version=sa.bindparam("new_version"), body=sa.bindparam("new_body")
        )  # fmt: skip
        values = [
            {
                "of_tenant": after.tenant_id, "of_id": after.client_id, "new_sort": after.name,
                "new_version": after.version, "new_body": _encode(after),
            }
            for _, after in changes
        ]  # fmt: skip
        await self._session.connection.execute(statement, values)
        await _write_tags(self._session, changes)
        for _, after in changes:
            self._session.changed(after.tenant_id, "application", after.client_id)


def _having(
    query: sa.Select[Any], tenant_id: str, tags: Sequence[str], id: sa.ColumnElement[Any], after: str = ""
) -> sa.Select[Any]:
    """The query, joined with all of these tags; each tag reads one range of the index."""
    for number, tag in enumerate(tags):
        t = schema.application_tag.alias(f"tag{number}")
        query = query.join(t, sa.and_(t.c.tenant_id == tenant_id, t.c.tag == tag, t.c.id == id, t.c.id > after))
    return query


async def _write_tags(session: Session, changes: Iterable[tuple[Application | None, Application | None]]) -> None:
    gone: list[dict[str, str]] = []
    new: list[dict[str, str]] = []
    for before, after in changes:
        old = tags_of(before) if before is not None else frozenset()
        now = tags_of(after) if after is not None else frozenset()
        if old == now:
            continue
        record = after or before
        assert record is not None
        key = {"tenant_id": record.tenant_id, "id": record.client_id}
        gone += [{"of_tenant": record.tenant_id, "of_tag": tag, "of_id": record.client_id} for tag in old - now]
        new += [{**key, "tag": tag} for tag in now - old]
    t = schema.application_tag
    if gone:
        where = (
            t.c.tenant_id == sa.bindparam("of_tenant"),
            t.c.tag == sa.bindparam("of_tag"),
            t.c.id == sa.bindparam("of_id"),
        )
        await session.connection.execute(sa.delete(t).where(*where), gone)
    if new:
        await session.connection.execute(sa.insert(t), sorted(new, key=lambda row: (row["tag"], row["id"])))
