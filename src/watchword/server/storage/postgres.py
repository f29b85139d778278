"""Storage of the token path in PostgreSQL, with asyncpg: prepared group commits, and reads for `View`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import asyncpg
import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ..audit.chain import Row
from ..keys.model import SigningKey
from ..registry.fleet.device_authority import DeviceAuthority
from ..registry.limits import GroupLimit
from ..registry.model import Api, Application, Role, Tenant
from ..registry.revocation import Revocation
from ..registry.trusted_issuer import TrustedIssuer
from ..service.ports import Change, Contention, MarkRow, OpaqueRow, Replayed, StorageUnavailable, TenantState

R = TypeVar("R")
_TIMEOUT = 4.0
_COMMIT = """
WITH changed AS (SELECT seq, tenant_id, kind, ref FROM change WHERE seq > $1 ORDER BY seq LIMIT 1000),
written AS (
  INSERT INTO audit (tenant_id, chain, seq, at, count, payload, hash, mac)
  SELECT * FROM unnest(
    $2::text[], $3::text[], $4::bigint[], $5::float8[], $6::int[], $7::bytea[], $8::text[], $9::bytea[])
  WHERE NOT EXISTS (SELECT 1 FROM changed)),
kept AS (
  INSERT INTO opaque_token (tenant_id, hash, expires_at, claims)
  SELECT * FROM unnest($10::text[], $11::text[], $12::bigint[], $13::bytea[])
  WHERE NOT EXISTS (SELECT 1 FROM changed)),
consumed AS (
  INSERT INTO replay_mark (tenant_id, key, expires_at)
  SELECT * FROM unnest($14::text[], $15::bytea[], $16::bigint[])
  WHERE NOT EXISTS (SELECT 1 FROM changed))
SELECT seq, tenant_id, kind, ref FROM changed ORDER BY seq
"""
_CONSUMED = """
SELECT tenant_id, key FROM replay_mark
JOIN unnest($1::text[], $2::bytea[]) AS wanted (t, k) ON tenant_id = t AND key = k
"""
_USED = """
INSERT INTO secret_use (tenant_id, secret_id, last_used_at) SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])
ON CONFLICT (tenant_id, secret_id) DO UPDATE SET last_used_at = excluded.last_used_at
WHERE excluded.last_used_at > secret_use.last_used_at
"""
_APPLICATIONS = """
SELECT t, i, body FROM unnest($1::text[], $2::text[]) AS wanted (t, i),
LATERAL (SELECT body FROM application WHERE tenant_id = t AND id = i AND deleted::int = 0 LIMIT 1) AS found
"""
"""`NOT deleted` would fit the index of names: see `schema.living`."""
_CHANGES = "SELECT seq, tenant_id, kind, ref FROM change WHERE seq > $1 ORDER BY seq LIMIT 1000"

_STATUS_ENTRIES = "SELECT idx FROM status_entry WHERE tenant_id = $1 AND list_name = $2"
_REVOCATIONS = (
    "SELECT seq, kind, ref, audience, enabled, not_before_ms, expires_at FROM revocation"
    " WHERE tenant_id = $1 AND audience IN ('', $2) AND seq > $3 AND expires_at > $4 ORDER BY seq LIMIT $5"
)


def engine(url: str) -> AsyncEngine:
    """The SQLAlchemy engine of the admin API."""
    return create_async_engine(
        url.replace("postgresql://", "postgresql+asyncpg://", 1),
        pool_size=4,
        max_overflow=0,
        pool_timeout=_TIMEOUT,
        pool_pre_ping=True,
        connect_args={"timeout": _TIMEOUT, "command_timeout": _TIMEOUT},
    )


def for_reading(writing: AsyncEngine) -> AsyncEngine:
    """The same engine for read-only transactions; each sees one snapshot."""
    return writing.execution_options(postgresql_readonly=True, isolation_level="REPEATABLE READ")


class Connection:
    """One asyncpg connection that reconnects by itself. Uses are serialized: asyncpg allows one at a time."""

    def __init__(self, url: str, **settings: str) -> None:
        self._url, self._settings = url, settings
        self._connection: asyncpg.Connection[Any] | None = None
        self._lock = asyncio.Lock()

    async def use(self, work: Callable[[asyncpg.Connection[Any]], Awaitable[R]]) -> R:
        """Run on the connection; any failure closes it and raises `StorageUnavailable`."""
        try:
            async with asyncio.timeout(_TIMEOUT), self._lock:
                if self._connection is None or self._connection.is_closed():
                    self._connection = await asyncpg.connect(
                        self._url, timeout=_TIMEOUT, command_timeout=_TIMEOUT, server_settings=self._settings
                    )
                return await work(self._connection)
        except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError) as error:
            raise Contention(f"{type(error).__name__}: {error}") from None
        except (
            OSError,
            TimeoutError,
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
        ) as error:
            self._drop()
            raise StorageUnavailable(f"{type(error).__name__}: {error}") from None

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None and not self._connection.is_closed():
            await self._connection.close(timeout=2)


class PostgresReader:
    """Reads for `View`."""

    def __init__(self, url: str) -> None:
        self._connection = Connection(url)
        self._application = msgspec.json.Decoder(Application).decode
        self._wanted: list[tuple[tuple[str, str], asyncio.Future[Application | None]]] = []
        self._asking: asyncio.Task[None] | None = None

    async def _bodies(self, kind: type[R], sql: str, *arguments: object) -> list[R]:
        rows = await self._connection.use(lambda c: c.fetch(sql, *arguments))
        decode = msgspec.json.Decoder(kind).decode
        return [decode(row[0]) for row in rows]

    async def tenant(self, slug: str, now: float) -> TenantState | None:
        """A live tenant with all that belongs to it. The reads have one time limit together."""
        try:
            async with asyncio.timeout(_TIMEOUT):
                return await self._tenant(slug, now)
        except TimeoutError:
            raise StorageUnavailable("the tenant was not read in time") from None

    async def _tenant(self, slug: str, now: float) -> TenantState | None:
        found = await self._bodies(
            Tenant,
            "SELECT body FROM tenant WHERE tenant_id = '' AND sort = $1 AND NOT deleted",
            slug,
        )
        if not found:
            return None
        id_ = found[0].tenant_id
        sql = "SELECT token_id, expires_at FROM revoked WHERE tenant_id = $1 AND expires_at > $2"
        revoked = await self._connection.use(lambda c: c.fetch(sql, id_, int(now)))
        return TenantState(
            found[0],
            await self._bodies(Api, "SELECT body FROM api WHERE tenant_id = $1 AND NOT deleted", id_),
            await self._bodies(Role, "SELECT body FROM role WHERE tenant_id = $1 AND NOT deleted", id_),
            await self._bodies(
                SigningKey,
                "SELECT body FROM signing_key WHERE tenant_id = $1 AND NOT deleted",
                id_,
            ),
            {row[0]: row[1] for row in revoked},
            await self._bodies(
                TrustedIssuer,
                "SELECT body FROM trusted_issuer WHERE tenant_id = $1 AND NOT deleted",
                id_,
            ),
            await self._bodies(
                DeviceAuthority, "SELECT body FROM device_authority WHERE tenant_id = $1 AND NOT deleted", id_
            ),
            await self._bodies(
                GroupLimit, "SELECT body FROM enrolment_group WHERE tenant_id = $1 AND NOT deleted", id_
            ),
        )

    async def application(self, tenant_id: str, client_id: str) -> Application | None:
        """One live application. Requests that arrive while a query runs share the next query.

        Of a million devices a worker caches few; with one query each, requests would queue for the connection.
        """
        answer: asyncio.Future[Application | None] = asyncio.get_running_loop().create_future()
        self._wanted.append(((tenant_id, client_id), answer))
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        return await answer

    async def _ask(self) -> None:
        while self._wanted:
            asked, self._wanted = self._wanted, []
            tenants, ids = [key[0] for key, _ in asked], [key[1] for key, _ in asked]
            try:
                rows = await self._connection.use(lambda c, t=tenants, i=ids: c.fetch(_APPLICATIONS, t, i))  # type: ignore[misc]
                found = {(row[0], row[1]): self._application(row[2]) for row in rows}
            except Exception as error:
                # Requests that arrived meanwhile have waited for this query already: do not make them wait again.
                asked, self._wanted = [*asked, *self._wanted], []
                for _, answer in asked:
                    if not answer.done():
                        answer.set_exception(_like(error))
                continue
            for key, answer in asked:
                if not answer.done():
                    answer.set_result(found.get(key))

    async def opaque(self, tenant_id: str, hash: str) -> bytes | None:
        """The claims of an opaque token."""
        sql = "SELECT claims FROM opaque_token WHERE tenant_id = $1 AND hash = $2"
        claims: bytes | None = await self._connection.use(lambda c: c.fetchval(sql, tenant_id, hash))
        return claims

    async def changes(self, since: int) -> Sequence[Change]:
        """The change feed after `since`."""
        return [Change(*row) for row in await self._connection.use(lambda c: c.fetch(_CHANGES, since))]

    async def revocations(
        self, tenant_id: str, audience: str, after: int, now: int, limit: int
    ) -> Sequence[tuple[int, Revocation]]:
        """Revocations for this API or for all, after `after`."""
        rows = await self._connection.use(lambda c: c.fetch(_REVOCATIONS, tenant_id, audience, after, now, limit))
        return [
            (row[0], Revocation(kind=row[1], ref=row[2], audience=row[3], enabled=row[4],
                                not_before_ms=row[5], expires_at=row[6]))
            for row in rows
        ]  # fmt: skip

    async def revoked_indexes(self, tenant_id: str, list_name: str) -> Sequence[int]:
        """The indexes of a status list's revoked tokens."""
        return [row[0] for row in await self._connection.use(lambda c: c.fetch(_STATUS_ENTRIES, tenant_id, list_name))]

    async def newest_revocation(self) -> int:
        """The greatest `seq` that is kept."""
        return int(await self._connection.use(lambda c: c.fetchval("SELECT coalesce(max(seq), 0) FROM revocation")))

    async def newest_change(self) -> int:
        """The feed's last `seq`."""
        return int(await self._connection.use(lambda c: c.fetchval("SELECT coalesce(max(seq), 0) FROM change")))

    async def close(self) -> None:
        """Let go of the connection."""
        await self._connection.close()


def _like(error: Exception) -> Exception:
    """A copy for each waiter: one exception object that many raise would keep all of their frames."""
    return type(error)(str(error)) if isinstance(error, StorageUnavailable) else StorageUnavailable(str(error))


def _columns(records: Sequence[msgspec.Struct], width: int) -> list[list[Any]]:
    """The rows as columns, for unnest."""
    found = [list(column) for column in zip(*(msgspec.structs.astuple(record) for record in records), strict=True)]
    return found or [[] for _ in range(width)]


class PostgresJournal:
    """The group commit: one statement, one round trip, its own transaction."""

    def __init__(self, url: str) -> None:
        self._connection = Connection(url)

    async def commit(
        self, rows: Sequence[Row], tokens: Sequence[OpaqueRow], as_of: int, marks: Sequence[MarkRow] = ()
    ) -> Sequence[Change]:
        """Empty: committed and on disk. Otherwise, or with `Replayed`, nothing was written."""
        consumed = _columns(marks, 3)
        arguments = (*_columns(rows, 8), *_columns(tokens, 4), *consumed)

        async def write(c: asyncpg.Connection[Any]) -> list[Any]:
            try:
                return list(await c.fetch(_COMMIT, as_of, *arguments))
            except asyncpg.UniqueViolationError as error:
                # The insert has decided; this read only says which proof was used before.
                if error.constraint_name != "replay_mark_pkey":
                    raise
                used = await c.fetch(_CONSUMED, *consumed[:2])
                raise Replayed(frozenset((row[0], row[1]) for row in used)) from None

        return [Change(*row) for row in await self._connection.use(write)]

    async def save_uses(self, used: Mapping[tuple[str, str], int]) -> None:
        """Written in order of the key, so that two workers cannot deadlock."""
        rows = sorted(used.items())
        columns = [key[0] for key, _ in rows], [key[1] for key, _ in rows], [at for _, at in rows]
        await self._connection.use(lambda c: c.execute(_USED, *columns))

    async def close(self) -> None:
        """Let go of the connection."""
        await self._connection.close()
