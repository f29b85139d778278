"""Read and verify the audit log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from ....jose import PrivateKey
from ...audit import search as searching
from ...audit.chain import Break, Row
from ...audit.checkpoints import CheckpointWalk, text_of
from ...audit.events import AnyEvent
from ...audit.search import Wanted
from ...audit.verification import Place, Signed, Verification, Verified, newest_anchors
from .. import schema
from ..failures import translated_errors
from ..open import for_reading
from .checkpoints import CheckpointChain
from .statements import anchors, checkpoints

_PAGE = 500
_A_LOOK, _LOOKS = 200, 4_000
"""Rows that one query reads, and that one search reads."""


class AuditLog:
    """Reads whole tenants in bounded pages."""

    def __init__(self, engine: AsyncEngine, chain: CheckpointChain, signing: PrivateKey, key: bytes) -> None:
        """`key` is that of the rows' MACs; `signing` signed the checkpoints of older versions, and signs anchors."""
        self._reading, self._chain, self._key = for_reading(engine), chain, key
        self._checkpoints, self._anchors = checkpoints(signing), anchors(signing)

    async def rows(self, tenant_id: str, *, by_time: bool = False, since: float = 0.0) -> AsyncIterator[Row]:
        """All rows of a tenant, by chain or by time."""
        t = schema.audit
        order = (t.c.at, t.c.chain, t.c.seq) if by_time else (t.c.chain, t.c.seq)
        after: tuple[Any, ...] | None = None
        while True:
            query = sa.select(t).where(t.c.tenant_id == tenant_id, t.c.at >= since).order_by(*order).limit(_PAGE)
            if after is not None:
                query = query.where(sa.tuple_(*order) > sa.tuple_(*(sa.literal(value) for value in after)))
            async with translated_errors(), self._reading.connect() as connection:
                found = (await connection.execute(query)).fetchall()
            for row in found:
                yield Row(*row)
            if len(found) < _PAGE:
                return
            last = Row(*found[-1])
            after = (last.at, last.chain, last.seq) if by_time else (last.chain, last.seq)

    async def search(self, tenant_id: str, wanted: Wanted, after: searching.Place | None, most: int) -> searching.Page:
        """The next `most` wanted events, newest first.

        Looks at `_LOOKS` rows at most: a page may be short or empty, and still have a next one.
        """
        found: list[AnyEvent] = []
        for _ in range(_LOOKS // _A_LOOK):
            rows = await self._newest(tenant_id, wanted, after)
            page = searching.take(rows, wanted, after, most - len(found))
            found += page.events
            if page.following is not None:
                return searching.Page(found, page.following)
            if len(rows) < _A_LOOK:
                return searching.Page(found, None)
            last = rows[-1]
            after = searching.Place(last.at, last.chain, last.seq, last.count)
        return searching.Page(found, after)

    async def _newest(self, tenant_id: str, wanted: Wanted, after: searching.Place | None) -> list[Row]:
        """Rows, newest first, from the row on in which `after` is."""
        t = schema.audit
        order = (t.c.at, t.c.chain, t.c.seq)
        query = sa.select(t).where(t.c.tenant_id == tenant_id, t.c.at >= wanted.rows_from)
        if wanted.rows_to is not None:
            query = query.where(t.c.at <= wanted.rows_to)
        if after is not None:
            query = query.where(
                t.c.at <= after.at,
                sa.tuple_(*order) <= sa.tuple_(*(sa.literal(value) for value in (after.at, after.chain, after.seq))),
            )
        query = query.order_by(*(column.desc() for column in order)).limit(_A_LOOK)
        async with translated_errors(), self._reading.connect() as connection:
            return [Row(*row) for row in (await connection.execute(query)).fetchall()]

    async def verify(self, tenant_id: str, expected: Place | None = None) -> Verified:
        """Everything that is wrong: rows altered, missing, reordered, invented, or not as the checkpoints say.

        `expected` is a checkpoint that an outside witness has. Events that are written meanwhile are not missing: the
        checkpoints are read first. Rows that are pruned meanwhile would be, so a verification that found breaks looks
        again at the anchors, once. Raises `EpochUnreadable`.
        """
        epoch = self._chain.epoch.read()
        signed, walk, forged = await self._signed(tenant_id)
        found = await self._walk(tenant_id, signed)
        if found.breaks:
            again, walk, forged = await self._signed(tenant_id)
            if again.anchors != signed.anchors:
                found = await self._walk(tenant_id, again)
        return Verified(
            rows=found.count,
            breaks=[*forged, *walk.finish(epoch, expected), *found.breaks],
            unsigned=found.unsigned,
            unsigned_since=found.unsigned_since,
            without_mac=found.without_mac,
            restores=walk.restores,
            newest=text_of(walk.newest) if walk.newest is not None else "",
            epoch=text_of(epoch) if epoch is not None else "",
        )

    async def _walk(self, tenant_id: str, signed: Signed) -> Verification:
        found = Verification(signed, self._key)
        async for row in self.rows(tenant_id):
            found.read(row)
        found.finish()
        return found

    async def _signed(self, tenant_id: str) -> tuple[Signed, CheckpointWalk, list[Break]]:
        """What the valid checkpoints and anchors say, and a break for each old one with a wrong signature."""
        heads: dict[str, dict[int, str]] = {}
        anchored: dict[str, Place] = {}
        async with translated_errors(60), self._reading.connect() as connection:
            bound = await self._checkpoints.read(connection)
            pruned = await self._anchors.read(connection)
        walk = CheckpointWalk(self._chain.key)
        for _, checkpoint in bound:
            _add(heads, _of(checkpoint.heads if checkpoint is not None else {}, tenant_id))
        async for row in self._chain.read():
            said = walk.read(row)
            _add(heads, _of(said.heads if said is not None else {}, tenant_id))
        for _, anchor in pruned:
            anchored.update(newest_anchors(anchored, _of(anchor.pruned if anchor else {}, tenant_id)))
        forged = [("checkpoint", id_) for id_, old in bound if old is None]
        forged += [("anchor", id_) for id_, old_anchor in pruned if old_anchor is None]
        why = "its signature is wrong: it is forged, or was changed"
        breaks = [Break(chain=f"{kind} {id_}", seq=id_, why=why) for kind, id_ in forged]
        return Signed(heads, anchored, walk.newest_at), walk, breaks


def _add(heads: dict[str, dict[int, str]], places: Mapping[str, Place]) -> None:
    for chain, (seq, digest) in places.items():
        heads.setdefault(chain, {})[seq] = digest


def _of(places: Mapping[str, Place], tenant_id: str) -> dict[str, Place]:
    """The places of one tenant, by chain."""
    prefix = f"{tenant_id}/"
    return {name.removeprefix(prefix): place for name, place in places.items() if name.startswith(prefix)}
