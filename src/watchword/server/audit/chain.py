"""Hash chains of the audit log: each row's hash covers the row before it, and every writing process has its own chain.

A row holds the events of one commit. A writer never waits for another: every process (and, inside
it, every writing connection) has a chain of its own, and signed checkpoints bind the chains
together, so that an altered, missing or reordered row shows, and a chain that vanished, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

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


class Break(Struct, frozen=True, kw_only=True):
    """A place where a chain is broken, and why."""

    chain: str
    seq: int
    why: str


def row_hash(previous: str, tenant_id: str, chain: str, seq: int, at: float, payload: bytes) -> str:
    """SHA-256 over the previous hash and everything in the row."""
    head = f"{previous}\n{tenant_id}\n{chain}\n{seq}\n{at:.6f}\n".encode()
    return hashlib.sha256(head + payload).hexdigest()


class Chain:
    """The writing end of one chain in one tenant: makes rows; `advance` only after their commit."""

    def __init__(self, tenant_id: str, name: str) -> None:
        self.tenant_id, self.name = tenant_id, name
        self.seq, self.head = 0, GENESIS

    def next_row(self, events: Sequence[Event], at: float) -> Row:
        """The next row of the chain; not committed yet."""
        payload = _encoder.encode(events)
        digest = row_hash(self.head, self.tenant_id, self.name, self.seq + 1, at, payload)
        return Row(self.tenant_id, self.name, self.seq + 1, at, len(events), payload, digest)

    def advance(self, row: Row) -> None:
        """Make this row the head, once it is committed."""
        self.seq, self.head = row.seq, row.hash


def events_of(row: Row) -> list[AnyEvent]:
    """The events of a row, decoded."""
    return _decoder.decode(row.payload)
