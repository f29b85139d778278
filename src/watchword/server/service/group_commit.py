"""Group commit: concurrent requests share one durable database transaction.

While one commit is written to disk, the next requests gather for the next commit. A request has to be
judged again when the registry changed between its judgement and the commit in a way that concerns it:
an application gets no token from any worker after the answer that disabled it (docs/decisions/0006).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from msgspec import Struct

from ..audit.chain import Chains, Row
from ..audit.events import Event
from ..protocol.proof_jwt import ReplayMark
from .contention import again
from .ports import Change, Journal, MarkRow, OpaqueRow, Replayed, StorageUnavailable

_ATTEMPTS = 8
_TURNS = 3
"""Turns of the event loop before a commit begins: callers that the last commit answered send their next request, and
one commit serves all. It doubles the batch of a busy server and costs an idle one microseconds."""
A_CROWD, MANY = 256, 4_096
"""Entries that wait: a worker has more of them only if the disk hangs."""
_NONE: frozenset[tuple[str, bytes]] = frozenset()


class Entry(Struct):
    """One audit event to commit, with the tokens and replay marks that belong to it."""

    tenant_id: str
    client_id: str
    event: Event | None
    token: OpaqueRow | None
    marks: tuple[MarkRow, ...]
    as_of: int
    done: asyncio.Future[bool]
    depends_on: frozenset[str] = frozenset()
    """The ids of further applications, and of tokens, that the judgement depends on."""


class GroupCommit:
    """Commits the token events of one worker, in its audit chain."""

    def __init__(
        self,
        journal: Journal,
        heed: Callable[[Sequence[Change]], None],
        clock: Callable[[], float],
        chains: Chains,
    ) -> None:
        self._journal, self._heed, self._clock, self._chains = journal, heed, clock, chains
        self.heads = chains.heads
        self._waiting: list[Entry] = []
        self._room = MANY
        self._running: asyncio.Task[None] | None = None

    def submit(
        self,
        tenant_id: str,
        client_id: str,
        event: Event | None,
        token: OpaqueRow | None,
        as_of: int,
        marks: Sequence[ReplayMark] = (),
        depends_on: frozenset[str] = frozenset(),
    ) -> asyncio.Future[bool]:
        """Resolves to True once the event is on disk, to False when the request must be judged again.

        Its replay marks are stored with it, all or none. Raises `Replayed` when one was used before,
        `StorageUnavailable` when the database is away.
        """
        rows = tuple(MarkRow(tenant_id, mark.key, mark.expires_at) for mark in marks) if marks else ()
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(Entry(tenant_id, client_id, event, token, rows, as_of, done, depends_on))
        if len(self._waiting) > self._room:
            self._drop_abandoned()
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run())
        return done

    async def drain(self) -> None:
        """Wait until every entry submitted so far is committed or rejected."""
        while self._running is not None:
            await asyncio.shield(self._running)

    async def _run(self) -> None:
        try:
            while self._waiting:
                for _ in range(_TURNS):
                    await asyncio.sleep(0)
                if len(self._waiting) > A_CROWD:
                    self._drop_abandoned()
                batch, self._waiting = self._waiting, []
                if batch:
                    await self._commit(batch)
        finally:
            self._running = None

    def _drop_abandoned(self) -> None:
        """Forget the entries whose callers are gone: their tokens are in nobody's hands, and a disk that hangs for an
        hour would fill the memory with them.
        """
        self._waiting = [entry for entry in self._waiting if not entry.done.done()]
        self._room = max(MANY, 2 * len(self._waiting))

    async def _commit(self, batch: list[Entry]) -> None:
        """Write the entries whose judgement is still valid; the others get False, or `Replayed`."""
        batch = _without_twins(batch)
        as_of = min(entry.as_of for entry in batch)
        try:
            for _ in range(_ATTEMPTS):
                try:
                    changes = await self._write(batch, as_of)
                except Replayed as used:
                    batch = _without(batch, used.keys)
                else:
                    if not changes:
                        return _decide(batch, True)
                    self._heed(changes)
                    as_of = changes[-1].seq
                    batch = _unconcerned(batch, changes)
                if not batch:
                    return None
            return _decide(batch, False)
        except Exception as error:
            self._chains.begin_anew()
            batch, self._waiting = (
                [*batch, *self._waiting],
                [],
            )  # entries that waited for the failed commit do not wait as long again
            kind = type(error) if isinstance(error, StorageUnavailable) else StorageUnavailable
            for entry in batch:
                if not entry.done.done():  # one for each: an exception that many raise keeps all of their frames
                    entry.done.set_exception(kind(str(error)))

    async def _write(self, batch: list[Entry], as_of: int) -> Sequence[Change]:
        """Empty: committed and on disk. Otherwise nothing was written, and these changes came first."""
        rows = self._rows(batch)
        tokens = [entry.token for entry in batch if entry.token is not None]
        marks = sorted(mark for entry in batch for mark in entry.marks)
        changes = await again(lambda: self._journal.commit(rows, tokens, as_of, marks))
        if not changes:
            self._chains.advance(rows)
        return changes

    def _rows(self, batch: list[Entry]) -> list[Row]:
        by_tenant: dict[str, list[Event]] = {}
        for entry in batch:
            if entry.event is not None:
                by_tenant.setdefault(entry.tenant_id, []).append(entry.event)
        return self._chains.rows(by_tenant, self._clock())


def _keys(entry: Entry) -> frozenset[tuple[str, bytes]]:
    return frozenset((mark.tenant_id, mark.key) for mark in entry.marks) if entry.marks else _NONE


def _without_twins(batch: list[Entry]) -> list[Entry]:
    """The first of the requests in this batch that came with the same proof.

    Also when the first is rejected later: a proof sent twice at once is good for one request at most.
    """
    seen: set[tuple[str, bytes]] = set()
    first: list[Entry] = []
    for entry in batch:
        keys = _keys(entry)
        if keys & seen:
            _refuse(entry, keys & seen)
            continue
        seen |= keys
        first.append(entry)
    return first


def _without(batch: list[Entry], used: frozenset[tuple[str, bytes]]) -> list[Entry]:
    """The entries whose proofs were not used before; none, when it is unknown which proof was used."""
    rest: list[Entry] = []
    for entry in batch:
        refused = _keys(entry) & used if used else _keys(entry)
        if refused:
            _refuse(entry, refused)
        else:
            rest.append(entry)
    return rest


def _refuse(entry: Entry, keys: frozenset[tuple[str, bytes]]) -> None:
    if not entry.done.done():
        entry.done.set_exception(Replayed(keys))


def _decide(batch: list[Entry], durable: bool) -> None:
    for entry in batch:
        if not entry.done.done():
            entry.done.set_result(durable)


def _unconcerned(batch: list[Entry], changes: Sequence[Change]) -> list[Entry]:
    """The entries that no newer change concerns; one stale entry does not delay the others."""
    rest: list[Entry] = []
    for entry in batch:
        if any(change.seq > entry.as_of and _concerns(change, entry) for change in changes):
            _decide([entry], False)
        else:
            rest.append(entry)
    return rest


def _concerns(change: Change, entry: Entry) -> bool:
    if change.kind == "revocation" or change.tenant_id != entry.tenant_id:
        return False
    if change.kind == "revoked":
        return change.ref.partition(" ")[0] in entry.depends_on
    if change.kind != "application":
        return True
    return any(client_id == entry.client_id or client_id in entry.depends_on for client_id in change.ref.split("\n"))
