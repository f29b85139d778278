"""Transactions over the registry, in SQLAlchemy Core, the same for both databases.

A transaction writes its records, its audit row and its feed entries together. On PostgreSQL an
advisory lock taken before the feed is written keeps `change.seq` in commit order; SQLite has one
writer anyway. `turn` lets a worker's own transaction and its group commit take turns instead of
polling each other's file lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ..audit.chain import Chain, Row
from ..audit.events import Event
from ..keys.model import SigningKey
from ..protocol.status_list import Reference
from ..registry.device_authority import DeviceAuthority
from ..registry.enrolment import REPEAT_WITHIN, EnrolmentGroup
from ..registry.errors import Conflict
from ..registry.model import Api, InitialToken, Role, Tenant
from ..registry.pending import KEPT
from ..registry.revocation import Revocation
from ..registry.trusted_issuer import TrustedIssuer
from ..service.ports import PATIENCE, Change, StorageUnavailable
from . import schema
from .codes import Codes
from .expected import Expected
from .failures import told_apart
from .fleet import Applications, Fleet
from .pending import Pending
from .table import Table

_FEED_LOCK = 0x7761746368
_IDS_AN_ENTRY = 500
KEEP_MARKS = 3_600
"""Seconds that a mark stays after its time, so that a clock that is set back revives no proof (decision 0020)."""


class RegistryTransaction:
    """One change: everything in it or nothing."""

    def __init__(self, connection: AsyncConnection, *, writes: bool = True) -> None:
        self.connection, self.writes = connection, writes
        self.dialect = connection.dialect.name
        self.events: dict[str, list[Event]] = {}
        self.feed: dict[tuple[str, str, str], None] = {}
        self.revocations: list[tuple[str, Revocation]] = []
        self.tenants = Table(self, schema.tenant, Tenant, lambda r: ("", r.tenant_id, r.slug))
        self.applications = Applications(self)
        self.fleet = Fleet(self)
        self.codes = Codes(self)
        self.expected = Expected(self)
        self.pending = Pending(self)
        self.apis = Table(self, schema.api, Api, lambda r: (r.tenant_id, r.api_id, r.identifier))
        self.roles = Table(self, schema.role, Role, lambda r: (r.tenant_id, r.role_id, r.name))
        self.initial_tokens = Table(
            self, schema.initial_token, InitialToken, lambda r: (r.tenant_id, r.token_id, r.name), remembered=False
        )
        self.keys = Table(
            self, schema.signing_key, SigningKey,
            lambda r: (r.tenant_id, r.kid, r.kid), lambda r: {"algorithm": r.algorithm, "state": r.state},
        )  # fmt: skip

        self.enrolment_groups = Table(
            self, schema.enrolment_group, EnrolmentGroup, lambda r: (r.tenant_id, r.group_id, r.name)
        )
        self.device_authorities = Table(
            self, schema.device_authority, DeviceAuthority, lambda r: (r.tenant_id, r.authority_id, r.authority_id)
        )
        self.issuers = Table(
            self, schema.trusted_issuer, TrustedIssuer, lambda r: (r.tenant_id, r.issuer_id, r.issuer)
        )  # fmt: skip

    async def run(self, statement: sa.Executable) -> Sequence[sa.Row[Any]]:
        """Execute; the rows, if it has any."""
        result = await self.connection.execute(statement)
        return result.fetchall() if result.returns_rows else []

    async def count(self, statement: sa.Update | sa.Delete | sa.Insert) -> int:
        """Execute; how many rows it touched."""
        return int((await self.connection.execute(statement)).rowcount)

    def changed(self, tenant_id: str, kind: str, id: str) -> None:
        """Tell the caches."""
        tenant_id = id if kind == "tenant" else tenant_id
        self.feed[tenant_id, kind, id] = None

    def record(self, tenant_id: str, event: Event) -> None:
        """An audit event of this change."""
        self.events.setdefault(tenant_id, []).append(event)

    async def revoke_token(
        self, tenant_id: str, token_id: str, expires_at: int, status: Reference | None = None, kept_until: int = 0
    ) -> bool:
        """One atomic statement decides who revoked it; its bit, if it has one, is set with it."""
        insert: Any = pg_insert if self.dialect == "postgresql" else sqlite_insert
        values = {
            "tenant_id": tenant_id,
            "token_id": token_id,
            "expires_at": expires_at,
        }
        if not await self.count(insert(schema.revoked).values(**values).on_conflict_do_nothing()):
            return False
        if status is not None:
            place = {"tenant_id": tenant_id, "list_name": status.list_name, "idx": status.idx}
            await self.run(sa.insert(schema.status_entry).values(**place, expires_at=kept_until))
        self.feed[tenant_id, "revoked", f"{token_id} {expires_at}"] = None
        return True

    async def claim(self, tenant_id: str, kind: str, value: str, holder: str) -> None:
        """The primary key decides who was first; the others get a `Conflict`."""
        insert: Any = pg_insert if self.dialect == "postgresql" else sqlite_insert
        values = {"tenant_id": tenant_id, "kind": kind, "value": value, "holder": holder}
        if not await self.count(insert(schema.claim).values(**values).on_conflict_do_nothing()):
            raise Conflict(f"there is an application of this {kind} already", field=kind)

    async def use_up(self, tenant_id: str, secret_id: str, now: int) -> bool:
        """The row that says when it was used is who decides; a first use that comes now waits for this commit."""
        insert: Any = pg_insert if self.dialect == "postgresql" else sqlite_insert
        values = {"tenant_id": tenant_id, "secret_id": secret_id, "last_used_at": now}
        return bool(await self.count(insert(schema.secret_use).values(**values).on_conflict_do_nothing()))

    async def release(self, tenant_id: str, holder: str, kind: str = "") -> None:
        """Everything that it had claimed, or that of one kind."""
        t = schema.claim
        statement = sa.delete(t).where(t.c.tenant_id == tenant_id, t.c.holder == holder)
        await self.count(statement.where(t.c.kind == kind) if kind else statement)

    async def holder(self, tenant_id: str, kind: str, value: str) -> str | None:
        """Whose claim it is."""
        t = schema.claim
        query = sa.select(t.c.holder).where(t.c.tenant_id == tenant_id, t.c.kind == kind, t.c.value == value)
        rows = await self.run(query)
        return str(rows[0][0]) if rows else None

    async def take_place(self, tenant_id: str, group_id: str, limit: int | None, count: int = 1) -> bool:
        """One atomic statement counts and compares."""
        if limit is not None and count > limit:
            return False
        insert: Any = pg_insert if self.dialect == "postgresql" else sqlite_insert
        t = schema.place
        statement = insert(t).values(tenant_id=tenant_id, group_id=group_id, taken=count)
        statement = statement.on_conflict_do_update(
            index_elements=["tenant_id", "group_id"],
            set_={"taken": t.c.taken + count},
            where=t.c.taken + count <= limit if limit is not None else None,
        )
        return bool(await self.count(statement))

    async def leave_place(self, tenant_id: str, group_id: str) -> None:
        """One less."""
        t = schema.place
        where = (t.c.tenant_id == tenant_id, t.c.group_id == group_id)
        await self.count(sa.update(t).where(*where).values(taken=t.c.taken - 1))

    async def places(self, tenant_id: str, group_ids: Sequence[str]) -> dict[str, int]:
        """How many are taken, by group; empty ones are absent."""
        t = schema.place
        query = sa.select(t.c.group_id, t.c.taken).where(t.c.tenant_id == tenant_id, t.c.group_id.in_(group_ids))
        rows: Sequence[Any] = await self.run(query)
        return {str(row[0]): int(row[1]) for row in rows if row[1]}

    def announce(self, tenant_id: str, revocation: Revocation) -> None:
        """Written at the end, where `seq` is in commit order."""
        self.revocations.append((tenant_id, revocation))
        self.feed[tenant_id, "revocation", revocation.audience] = None

    async def finish(self, rows: Sequence[Row]) -> list[Change]:
        """Write the audit rows and the feed; the last statements before the commit."""
        if rows:
            await self.connection.execute(sa.insert(schema.audit), [msgspec.structs.asdict(row) for row in rows])
        if not self.feed:
            return []
        if self.dialect == "postgresql":
            await self.connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_FEED_LOCK)))
        await self._announce()
        changes = []
        for tenant_id, kind, ref in _together(self.feed):
            statement = sa.insert(schema.change).values(tenant_id=tenant_id, kind=kind, ref=ref)
            result = await self.connection.execute(statement)
            key = result.inserted_primary_key
            assert key is not None
            changes.append(Change(key[0], tenant_id, kind, ref))
        return changes

    async def _announce(self) -> None:
        if not self.revocations:
            return
        t = schema.revocation
        names = ("tenant_id", "kind", "ref", "audience")
        same = [t.c[name] == sa.bindparam(f"of_{name}") for name in names]
        said = [{"tenant_id": tenant_id, **msgspec.structs.asdict(each)} for tenant_id, each in self.revocations]
        said = list({tuple(row[name] for name in names): row for row in said}.values())
        await self.connection.execute(
            sa.delete(t).where(*same), [{f"of_{name}": row[name] for name in names} for row in said]
        )
        await self.connection.execute(sa.insert(t), said)


def _together(feed: Iterable[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """The entries of one transaction, its applications by the hundred: a fleet's change is read in one go."""
    applications: dict[str, list[str]] = {}
    others: list[tuple[str, str, str]] = []
    for tenant_id, kind, ref in feed:
        if kind == "application":
            applications.setdefault(tenant_id, []).append(ref)
        else:
            others.append((tenant_id, kind, ref))
    many = [
        (tenant_id, "application", "\n".join(refs[start : start + _IDS_AN_ENTRY]))
        for tenant_id, refs in applications.items()
        for start in range(0, len(refs), _IDS_AN_ENTRY)
    ]
    return [*many, *others]


class RegistryStore:
    """Opens transactions and owns the chain that they write."""

    def __init__(
        self,
        engine: AsyncEngine,
        reading: AsyncEngine,
        turn: asyncio.Lock,
        clock: Callable[[], float],
        new_chain: Callable[[], str],
    ) -> None:
        self._engine, self._reading, self._turn, self._clock, self._new_chain = (
            engine,
            reading,
            turn,
            clock,
            new_chain,
        )
        self._chain_name = new_chain()
        self._chains: dict[str, Chain] = {}
        self._ended: dict[str, tuple[int, str]] = {}
        self.heed: Callable[[Sequence[Change]], None] = lambda changes: None
        """The worker's own view, told at once; set by the composition root."""

    @asynccontextmanager
    async def transaction(self, patience: float = PATIENCE) -> AsyncIterator[RegistryTransaction]:
        """Commits before it returns, within `patience` seconds.

        Raises `StorageUnavailable` when the database is away, `Contention` when it is enough to do it again.
        """
        changes: list[Change] = []
        rows: list[Row] = []
        try:
            async with told_apart(patience), self._turn, self._engine.begin() as connection:
                tx = RegistryTransaction(connection)
                yield tx
                rows = self._rows(tx)
                changes = await tx.finish(rows)
        except StorageUnavailable:
            self._ended.update(self.heads())
            self._chain_name = self._new_chain()
            self._chains.clear()
            raise
        for row in rows:
            self._chains[row.tenant_id].advance(row)
        self.heed(changes)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[RegistryTransaction]:
        """To look at. Waits for no writer and holds none up. Raises `StorageUnavailable`."""
        async with told_apart(), self._reading.connect() as connection:
            yield RegistryTransaction(connection, writes=False)

    def heads(self) -> dict[str, tuple[int, str]]:
        """The head of every chain, for a checkpoint; also of those that a failure ended."""
        living = {f"{c.tenant_id}/{c.name}": (c.seq, c.head) for c in self._chains.values() if c.seq}
        return {**self._ended, **living}

    def _rows(self, tx: RegistryTransaction) -> list[Row]:
        now = self._clock()
        rows = []
        for tenant_id, events in tx.events.items():
            chain = self._chains.get(tenant_id)
            if chain is None:
                chain = self._chains[tenant_id] = Chain(tenant_id, self._chain_name)
            rows.append(chain.next_row(events, now))
        return rows

    async def secret_use(self, tenant_id: str, secret_ids: Sequence[str]) -> dict[str, int]:
        """When these secrets were last used; the never used ones are absent."""
        t = schema.secret_use
        query = sa.select(t.c.secret_id, t.c.last_used_at).where(
            t.c.tenant_id == tenant_id, t.c.secret_id.in_(secret_ids)
        )
        async with told_apart(), self._reading.connect() as connection:
            return {row[0]: row[1] for row in (await connection.execute(query)).fetchall()}

    async def purge(self, now: float) -> None:
        """Remove what expired, in small pieces, so that no lock is held long."""
        old_feed = sa.select(sa.func.max(schema.change.c.seq)).scalar_subquery() - 100_000
        for statement in (
            sa.delete(schema.revoked).where(schema.revoked.c.expires_at < int(now) - 60),
            sa.delete(schema.revocation).where(schema.revocation.c.expires_at < int(now) - 60),
            sa.delete(schema.status_entry).where(schema.status_entry.c.expires_at < int(now)),
            sa.delete(schema.opaque_token).where(schema.opaque_token.c.expires_at < int(now) - 60),
            sa.delete(schema.replay_mark).where(schema.replay_mark.c.expires_at < int(now) - KEEP_MARKS),
            sa.delete(schema.enrolment_code).where(schema.enrolment_code.c.expires_at < int(now) - REPEAT_WITHIN),
            sa.delete(schema.debt).where(schema.debt.c.until < now - 60),
            sa.delete(schema.pending_enrolment).where(
                schema.pending_enrolment.c.expires_at < int(now) - KEPT, schema.pending_enrolment.c.state != "denied"
            ),
            sa.delete(schema.change).where(schema.change.c.seq < old_feed),
        ):
            async with told_apart(), self._turn, self._engine.begin() as connection:
                await connection.execute(statement)
