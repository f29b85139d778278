"""Hash chains of the audit log: each row's hash covers the row before it, and every writing process has its own chain.

A row holds the events of one commit. A writer never waits for another: every process (and, inside
it, every writing connection) has a chain of its own, and signed checkpoints bind the chains
together, so that an altered, missing or reordered row shows, and a chain that vanished, too.

Anybody can recompute the hashes. The MAC of a row needs a key that is derived from the master key, so rows cannot be
added by an attacker with the database alone (docs/decisions/0085).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec import Struct

from .events import AnyEvent, Event

GENESIS = "0" * 64
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[AnyEvent])


class Row(Struct, frozen=True):
    """One row of the audit table; `payload` is a JSON array of events."""

    tenant_id: str
    chain: str
    seq: int
    at: float
    count: int
    payload: bytes
    hash: str
    mac: bytes | None = None
    """HMAC-SHA-256 of the hash. None: a version that had no MACs wrote the row."""


class Break(Struct, frozen=True, kw_only=True):
    """A place where a chain is broken, and why."""

    chain: str
    seq: int
    why: str


def row_hash(previous: str, tenant_id: str, chain: str, seq: int, at: float, payload: bytes) -> str:
    """SHA-256 over the previous hash and everything in the row."""
    head = f"{previous}\n{tenant_id}\n{chain}\n{seq}\n{at:.6f}\n".encode()
    return hashlib.sha256(head + payload).hexdigest()


def row_mac(key: bytes, digest: str) -> bytes:
    """HMAC-SHA-256 over the row's hash, which covers the row and all rows before it."""
    return hmac.digest(key, digest.encode(), "sha256")


class Chain:
    """The writing end of one chain in one tenant: makes rows; `advance` only after their commit."""

    def __init__(self, tenant_id: str, name: str, key: bytes) -> None:
        self.tenant_id, self.name, self._key = tenant_id, name, key
        self.seq, self.head = 0, GENESIS

    def next_row(self, events: Sequence[Event], at: float) -> Row:
        """The next row of the chain; not committed yet."""
        payload = _encoder.encode(events)
        seq = self.seq + 1
        digest = row_hash(self.head, self.tenant_id, self.name, seq, at, payload)
        return Row(self.tenant_id, self.name, seq, at, len(events), payload, digest, row_mac(self._key, digest))

    def advance(self, row: Row) -> None:
        """Make this row the head, once it is committed."""
        self.seq, self.head = row.seq, row.hash


class Chains:
    """The chains of one writer, one for each tenant."""

    def __init__(self, new_name: Callable[[], str], key: bytes) -> None:
        self._new_name, self._key = new_name, key
        self._name = new_name()
        self._living: dict[str, Chain] = {}
        self._ended: dict[str, tuple[int, str]] = {}

    def rows(self, by_tenant: Mapping[str, Sequence[Event]], at: float) -> list[Row]:
        """The next row of each tenant's chain; not committed yet."""
        return [self._chain(tenant_id).next_row(events, at) for tenant_id, events in by_tenant.items()]

    def advance(self, rows: Sequence[Row]) -> None:
        """Make these rows the heads, once they are committed."""
        for row in rows:
            self._living[row.tenant_id].advance(row)

    def begin_anew(self) -> None:
        """After a failure it is unknown whether the row is on disk, so the next row starts a new chain."""
        self._ended.update(self.heads())
        self._name = self._new_name()
        self._living.clear()

    def heads(self) -> dict[str, tuple[int, str]]:
        """The head of every chain, also of chains that ended with a failed commit: "tenant/chain" -> (seq, hash)."""
        living = {f"{c.tenant_id}/{c.name}": (c.seq, c.head) for c in self._living.values() if c.seq}
        return {**self._ended, **living}

    def _chain(self, tenant_id: str) -> Chain:
        chain = self._living.get(tenant_id)
        if chain is None:
            chain = self._living[tenant_id] = Chain(tenant_id, self._name, self._key)
        return chain


def events_of(row: Row) -> list[AnyEvent]:
    """The events of a row, decoded."""
    return _decoder.decode(row.payload)
