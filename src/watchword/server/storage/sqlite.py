"""Storage of the token path in SQLite: WAL with synchronous=FULL, so a committed transaction is on disk.

Reads happen on the event loop (a look-up costs 5 microseconds, a thread hop ten times that); the
group commit happens on one thread, so that the loop goes on while the disk works.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, event
from sqlalchemy.engine import AdaptedConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ..audit.chain import Row
from ..keys.model import SigningKey
from ..registry.fleet.device_authority import DeviceAuthority
from ..registry.limits import GroupLimit
from ..registry.model import Api, Application, Role, Tenant
from ..registry.revocation import Revocation
from ..registry.trusted_issuer import TrustedIssuer
from ..service.ports import Change, MarkRow, OpaqueRow, Replayed, StorageUnavailable, TenantState

R = TypeVar("R")
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA busy_timeout=4000",
    "PRAGMA foreign_keys=ON",
    "PRAGMA wal_autocheckpoint=4000",  # 16 MB: the pages of a chain's end are copied once, not four times
)
_READS = "watchword_reads"
MARK_BYTES = 32
"""Length of a replay mark's key: SHA-256."""
_CONSUME = "INSERT INTO replay_mark (tenant_id, key, expires_at) VALUES (?,?,?)"
_CONSUMED = "SELECT 1 FROM replay_mark WHERE tenant_id = ? AND key = ?"
_CHANGES = "SELECT seq, tenant_id, kind, ref FROM change WHERE seq > ? ORDER BY seq LIMIT 1000"
_AUDIT = "INSERT INTO audit (tenant_id, chain, seq, at, count, payload, hash, mac) "
_UNLESS_CHANGED = f"{_AUDIT} SELECT ?,?,?,?,?,?,?,? WHERE NOT EXISTS (SELECT 1 FROM change WHERE seq > ?)"
_WITH_MARKS = (
    "CREATE TEMP VIEW with_marks AS SELECT 0 AS as_of, '' AS marks, x'' AS keys, tenant_id, chain, seq, at, count,"
    " payload, hash, mac FROM audit WHERE 0",
    "CREATE TEMP TRIGGER with_marks_at_once INSTEAD OF INSERT ON with_marks BEGIN"
    " SELECT raise(ABORT, 'changed') WHERE EXISTS (SELECT 1 FROM change WHERE seq > NEW.as_of);"
    " INSERT INTO replay_mark (tenant_id, key, expires_at)"
    f" SELECT value ->> 0, substr(NEW.keys, {MARK_BYTES} * key + 1, {MARK_BYTES}), value ->> 1"
    " FROM json_each(NEW.marks);"
    f" {_AUDIT} VALUES"
    " (NEW.tenant_id, NEW.chain, NEW.seq, NEW.at, NEW.count, NEW.payload, NEW.hash, NEW.mac); END",
)
"""A temporary view of the journal's connection: one INSERT into it writes an audit row and its replay marks."""
_TOGETHER_WITH_MARKS = "INSERT INTO with_marks VALUES (?,?,?,?,?,?,?,?,?,?,?)"
_USED = (
    "INSERT INTO secret_use (tenant_id, secret_id, last_used_at) VALUES (?,?,?) ON CONFLICT (tenant_id, secret_id)"
    " DO UPDATE SET last_used_at = excluded.last_used_at WHERE excluded.last_used_at > last_used_at"
)
_STATUS_ENTRIES = "SELECT idx FROM status_entry WHERE tenant_id = ? AND list_name = ?"
_REVOCATIONS = (
    "SELECT seq, kind, ref, audience, enabled, not_before_ms, expires_at FROM revocation"
    " WHERE tenant_id = ? AND audience IN ('', ?) AND seq > ? AND expires_at > ? ORDER BY seq LIMIT ?"
)


def open_database(path: Path) -> sqlite3.Connection:
    """Open an existing database; a missing file is an error and no new empty database."""
    try:
        connection = sqlite3.connect(
            f"file:{path}?mode=rw",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
        for pragma in _PRAGMAS:
            connection.execute(pragma)
    except sqlite3.Error as error:
        raise StorageUnavailable(f"cannot open {path}: {error}") from None
    return connection


def engine(path: Path) -> AsyncEngine:
    """The SQLAlchemy engine of the admin API. Write transactions take the write lock at their start.

    Transactions of `for_reading` take no lock: in WAL mode they neither wait for the writer nor block it.
    """
    made = create_async_engine(
        f"sqlite+aiosqlite:///file:{path}?mode=rw&uri=true", pool_size=4, max_overflow=0, pool_timeout=4
    )

    @event.listens_for(made.sync_engine, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None
        for pragma in _PRAGMAS:
            connection.execute(pragma)

    @event.listens_for(made.sync_engine, "invalidate")
    def abandon(connection: AdaptedConnection, *_: object) -> None:
        connection.run_async(_roll_back_before_it_closes)

    @event.listens_for(made.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        reads = connection.get_execution_options().get(_READS, False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return made


async def _roll_back_before_it_closes(connection: Any) -> None:
    """Of a transaction that ran out of time: its statement may still run, and a file that is closed under a statement
    keeps its locks until somebody collects the statement (sqlite3_close_v2): 20 s without tokens. Nobody waits for it.
    """
    ended = asyncio.ensure_future(connection.rollback())
    ended.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.wait((ended,), timeout=0)  # one turn of the loop: now it is in the connection's queue


def for_reading(writing: AsyncEngine) -> AsyncEngine:
    """The same engine for read-only transactions; each sees one snapshot and takes no lock."""
    return writing.execution_options(**{_READS: True})


class SqliteReader:
    """Reads for `View`; synchronous behind the asynchronous port."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = open_database(path)
        self._inode = os.stat(path).st_ino
        self._tenant = msgspec.json.Decoder(Tenant).decode
        self._application = msgspec.json.Decoder(Application).decode
        self._api = msgspec.json.Decoder(Api).decode
        self._role = msgspec.json.Decoder(Role).decode
        self._key = msgspec.json.Decoder(SigningKey).decode
        self._group = msgspec.json.Decoder(GroupLimit).decode
        self._authority = msgspec.json.Decoder(DeviceAuthority).decode
        self._issuer = msgspec.json.Decoder(TrustedIssuer).decode

    def _rows(self, sql: str, *arguments: object) -> list[tuple[bytes, ...]]:
        try:
            return self._connection.execute(sql, arguments).fetchall()
        except sqlite3.Error as error:
            raise StorageUnavailable(str(error)) from None

    async def tenant(self, slug: str, now: float) -> TenantState | None:
        """A live tenant with all that belongs to it."""
        found = self._rows(
            "SELECT body FROM tenant WHERE tenant_id = '' AND sort = ? AND NOT deleted",
            slug,
        )
        if not found:
            return None
        tenant = self._tenant(found[0][0])
        id_ = tenant.tenant_id
        revoked = self._rows(
            "SELECT token_id, expires_at FROM revoked WHERE tenant_id = ? AND expires_at > ?",
            id_,
            int(now),
        )
        return TenantState(
            tenant,
            [self._api(row[0]) for row in self._rows("SELECT body FROM api WHERE tenant_id = ? AND NOT deleted", id_)],
            [
                self._role(row[0])
                for row in self._rows("SELECT body FROM role WHERE tenant_id = ? AND NOT deleted", id_)
            ],
            [
                self._key(row[0])
                for row in self._rows(
                    "SELECT body FROM signing_key WHERE tenant_id = ? AND NOT deleted",
                    id_,
                )
            ],
            {str(row[0]): int(row[1]) for row in revoked},
            [
                self._issuer(row[0])
                for row in self._rows("SELECT body FROM trusted_issuer WHERE tenant_id = ? AND NOT deleted", id_)
            ],
            [
                self._authority(row[0])
                for row in self._rows("SELECT body FROM device_authority WHERE tenant_id = ? AND NOT deleted", id_)
            ],
            [
                self._group(row[0])
                for row in self._rows("SELECT body FROM enrolment_group WHERE tenant_id = ? AND NOT deleted", id_)
            ],
        )

    async def application(self, tenant_id: str, client_id: str) -> Application | None:
        """One live application."""
        sql = "SELECT body FROM application WHERE tenant_id = ? AND id = ? AND NOT deleted"
        found = self._rows(sql, tenant_id, client_id)
        return self._application(found[0][0]) if found else None

    async def opaque(self, tenant_id: str, hash: str) -> bytes | None:
        """The claims of an opaque token."""
        found = self._rows(
            "SELECT claims FROM opaque_token WHERE tenant_id = ? AND hash = ?",
            tenant_id,
            hash,
        )
        return found[0][0] if found else None

    async def changes(self, since: int) -> Sequence[Change]:
        """The change feed after `since`; a database file that was replaced or removed counts as unavailable."""
        try:
            if os.stat(self._path).st_ino != self._inode:
                raise StorageUnavailable(f"{self._path} is another file than the one that was opened")
        except OSError as error:
            raise StorageUnavailable(f"{self._path} is gone: {error.strerror}") from None
        return [Change(*row) for row in self._rows(_CHANGES, since)]  # type: ignore[arg-type]

    async def revocations(
        self, tenant_id: str, audience: str, after: int, now: int, limit: int
    ) -> Sequence[tuple[int, Revocation]]:
        """Revocations for this API or for all, after `after`."""
        rows: list[Any] = self._rows(_REVOCATIONS, tenant_id, audience, after, now, limit)
        return [
            (row[0], Revocation(kind=row[1], ref=row[2], audience=row[3], enabled=bool(row[4]),
                                not_before_ms=row[5], expires_at=row[6]))
            for row in rows
        ]  # fmt: skip

    async def revoked_indexes(self, tenant_id: str, list_name: str) -> Sequence[int]:
        """The indexes of a status list's revoked tokens."""
        return [int(row[0]) for row in self._rows(_STATUS_ENTRIES, tenant_id, list_name)]

    async def newest_revocation(self) -> int:
        """The greatest `seq` that is kept."""
        return int(self._rows("SELECT coalesce(max(seq), 0) FROM revocation")[0][0])

    async def newest_change(self) -> int:
        """The feed's last `seq`."""
        return int(self._rows("SELECT coalesce(max(seq), 0) FROM change")[0][0])

    async def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


class SqliteJournal:
    """The group commit, on one connection that one thread owns."""

    def __init__(self, path: Path, turn: asyncio.Lock) -> None:
        self._path, self._turn = path, turn
        self._connection = open_database(path)
        for statement in _WITH_MARKS:
            self._connection.execute(statement)
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="journal", daemon=True)
        self._thread.start()

    async def commit(
        self, rows: Sequence[Row], tokens: Sequence[OpaqueRow], as_of: int, marks: Sequence[MarkRow] = ()
    ) -> Sequence[Change]:
        """Empty: committed and on disk. Otherwise, or with `Replayed`, nothing was written."""
        async with self._turn:
            return await self._on_thread(lambda: self._commit(rows, tokens, as_of, marks))

    async def save_uses(self, used: Mapping[tuple[str, str], int]) -> None:
        """Written in order of the key: neighbouring rows share a page."""
        rows = [(*key, at) for key, at in sorted(used.items())]
        async with self._turn:
            await self._on_thread(lambda: self._save_uses(rows))

    async def close(self) -> None:
        """Finish the queued commits, then close the file."""
        self._work.put(None)
        await asyncio.to_thread(self._thread.join)
        self._connection.close()

    def _commit(
        self, rows: Sequence[Row], tokens: Sequence[OpaqueRow], as_of: int, marks: Sequence[MarkRow]
    ) -> Sequence[Change]:
        if not self._path.exists():
            raise StorageUnavailable(f"{self._path} is gone")
        try:
            if len(rows) == 1 and not tokens and self._at_once(rows[0], as_of, marks):
                return ()
            return self._together(rows, tokens, as_of, marks)
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise StorageUnavailable(str(error)) from None

    def _save_uses(self, rows: Sequence[tuple[str, str, int]]) -> None:
        db = self._connection
        try:
            db.execute("BEGIN IMMEDIATE")
            db.executemany(_USED, rows)
            db.execute("COMMIT")
        except sqlite3.Error as error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise StorageUnavailable(str(error)) from None

    def _at_once(self, row: Row, as_of: int, marks: Sequence[MarkRow]) -> bool:
        """The usual commit, one row and its replay marks, as one statement: each further one takes the GIL twice more.

        A statement that writes takes the write lock before it reads, so nothing changes between the two. False: nothing
        was written, since something changed or a proof was used before; `_together` says which.
        """
        if not marks:
            return self._connection.execute(_UNLESS_CHANGED, (*_columns(row), as_of)).rowcount == 1
        named = msgspec.json.encode([(mark.tenant_id, mark.expires_at) for mark in marks]).decode()
        keys = b"".join([mark.key for mark in marks])
        try:
            self._connection.execute(_TOGETHER_WITH_MARKS, (as_of, named, keys, *_columns(row)))
        except sqlite3.IntegrityError:
            return False
        return True

    def _together(
        self, rows: Sequence[Row], tokens: Sequence[OpaqueRow], as_of: int, marks: Sequence[MarkRow]
    ) -> Sequence[Change]:
        db = self._connection
        db.execute("BEGIN IMMEDIATE")
        changes = [Change(*row) for row in db.execute(_CHANGES, (as_of,))]
        if changes:
            db.execute("ROLLBACK")
            return changes
        self._consume(marks)
        db.executemany(f"{_AUDIT} VALUES (?,?,?,?,?,?,?,?)", [_columns(row) for row in rows])
        db.executemany(
            "INSERT INTO opaque_token (tenant_id, hash, expires_at, claims) VALUES (?,?,?,?)",
            [(t.tenant_id, t.hash, t.expires_at, t.claims) for t in tokens],
        )
        db.execute("COMMIT")
        return ()

    def _consume(self, marks: Sequence[MarkRow]) -> None:
        """The insert decides: it fails when a key exists. The read after that only says which proof was used before."""
        db = self._connection
        try:
            db.executemany(_CONSUME, [(mark.tenant_id, mark.key, mark.expires_at) for mark in marks])
        except sqlite3.IntegrityError:
            db.execute("ROLLBACK")
            used = [mark for mark in marks if db.execute(_CONSUMED, (mark.tenant_id, mark.key)).fetchone()]
            raise Replayed(frozenset((mark.tenant_id, mark.key) for mark in used)) from None

    def _on_thread(self, work: Callable[[], R]) -> asyncio.Future[R]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[R] = loop.create_future()

        def task() -> None:
            try:
                result = work()
            except BaseException as error:
                loop.call_soon_threadsafe(_settle, done, None, error)
            else:
                loop.call_soon_threadsafe(_settle, done, result, None)

        self._work.put(task)
        return done

    def _serve(self) -> None:
        while (task := self._work.get()) is not None:
            task()


def _columns(row: Row) -> tuple[object, ...]:
    return row.tenant_id, row.chain, row.seq, row.at, row.count, row.payload, row.hash, row.mac


def _settle(done: asyncio.Future[R], result: R | None, error: BaseException | None) -> None:
    if done.done():
        return
    if error is not None:
        done.set_exception(error)
    else:
        done.set_result(result)  # type: ignore[arg-type]
