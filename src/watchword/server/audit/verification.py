"""Verify a tenant's hash chains against the signed checkpoints, and report every break.

A history may begin at an anchor: the signed statement, made when old rows were removed on purpose,
of the last row that was pruned and its hash. The rows after an anchor are verified from its hash; the rows
that it covers may be missing. Without a valid anchor a missing beginning is a break like any other.

Rows after a chain's last checkpoint are unsigned: each has its MAC, so they were not invented, but the newest of them
could be cut off. They are counted. Rows that are older than a later checkpoint by more than `LATEST` should have been
in it, and are a break.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from msgspec import Struct

from .chain import GENESIS, Break, Row, row_hash, row_mac

Place = tuple[int, str]
"""A row's seq and hash; a checkpoint's number and hash."""
LATEST = 1_800.0
"""Seconds within which a running process signs rows, also those that another process left."""


class Signed(Struct, frozen=True):
    """What the validly signed checkpoints and anchors say of one tenant, by chain."""

    heads: dict[str, dict[int, str]]
    """seq -> hash of each row that was a chain's head at a checkpoint."""
    anchors: dict[str, Place]
    """The last row that was pruned."""
    newest_at: float = 0.0
    """When the newest checkpoint was signed."""


class Verified(Struct, frozen=True, kw_only=True):
    """What a verification found."""

    rows: int
    breaks: list[Break]
    unsigned: int = 0
    """Rows that no checkpoint covers yet."""
    unsigned_since: float | None = None
    """The time of the oldest of them."""
    without_mac: int = 0
    """Rows from versions that had no MACs: only checkpoints vouch for them."""
    restores: list[tuple[float, int, int]] = []
    """Accepted restores: time, and the first and last number of the checkpoints that were lost."""
    newest: str = ""
    """The newest checkpoint as "number:hash", for an outside witness."""
    epoch: str = ""
    """The checkpoint that the epoch beside the master key names; empty if there is none."""


class Verification:
    """Call `read` with each row in order of (chain, seq), then `finish`."""

    def __init__(self, signed: Signed, key: bytes) -> None:
        self._signed, self._key = signed, key
        self._covered = {chain: max(heads) for chain, heads in signed.heads.items()}
        self.unsigned, self.without_mac = 0, 0
        self.unsigned_since: float | None = None
        self._chain = ""
        self._place: Place = (0, GENESIS)
        self._last: dict[str, int] = {}
        self.count = 0
        self.breaks: list[Break] = []

    def read(self, row: Row) -> None:
        """Verify the next row."""
        self.count += 1
        if row.chain != self._chain:
            self._chain = row.chain
            self._place = self._beginning(row)
        seq, head = self._place
        if row.seq != seq + 1:
            self._break(row, f"missing: expected row {seq + 1}, found row {row.seq}")
        elif head and row_hash(head, row.tenant_id, row.chain, row.seq, row.at, row.payload) != row.hash:
            self._break(row, "altered or reordered: the hash does not fit the row")
        for signed in (self._signed.heads.get(row.chain, {}).get(row.seq), self._anchored(row.chain, row.seq)):
            if signed is not None and signed != row.hash:
                self._break(row, "rewritten: the hash is not the one that was signed")
        self._vouched(row)
        self._place = (row.seq, row.hash)
        self._last[row.chain] = row.seq

    def finish(self) -> list[Break]:
        """All breaks, including signed rows that are missing and were not pruned."""
        for chain, heads in self._signed.heads.items():
            newest = max(heads)
            if newest > max(self._last.get(chain, 0), self._signed.anchors.get(chain, (0, ""))[0]):
                why = f"missing: row {newest} was signed and is not here"
                self.breaks.append(Break(chain=chain, seq=newest, why=why))
        return self.breaks

    def _vouched(self, row: Row) -> None:
        """Every row has a MAC or stands before a checkpoint; rows without either were not written by Watchword."""
        covered = row.seq <= max(self._covered.get(row.chain, 0), self._signed.anchors.get(row.chain, (0, ""))[0])
        if row.mac is None:
            self.without_mac += 1
            if not covered:
                self._break(row, "not written by this server: the row has no MAC, and no checkpoint covers it")
            return
        if not hmac.compare_digest(row_mac(self._key, row.hash), row.mac):
            self._break(row, "not written by this server: its MAC is wrong")
        if covered:
            return
        self.unsigned += 1
        self.unsigned_since = row.at if self.unsigned_since is None else min(row.at, self.unsigned_since)
        if row.at < self._signed.newest_at - LATEST:
            self._break(row, "no checkpoint covers it, although later ones were signed: it was not there then")

    def _beginning(self, row: Row) -> Place:
        """The place before a chain's first row: none, the anchor, or a row that is being pruned."""
        anchor = self._signed.anchors.get(row.chain)
        if anchor is None:
            return (0, GENESIS)
        if row.seq <= anchor[0]:  # its predecessor was removed already; its own hash is checked by its successor
            return (row.seq - 1, "")
        return anchor

    def _anchored(self, chain: str, seq: int) -> str | None:
        anchor = self._signed.anchors.get(chain)
        return anchor[1] if anchor is not None and anchor[0] == seq else None

    def _break(self, row: Row, why: str) -> None:
        self.breaks.append(Break(chain=row.chain, seq=row.seq, why=why))


def newest_anchors(anchors: dict[str, Place], statement: Mapping[str, Place]) -> dict[str, Place]:
    """The newer of both anchors for each chain."""
    return {**anchors, **{name: place for name, place in statement.items() if place[0] > anchors.get(name, (0, ""))[0]}}
