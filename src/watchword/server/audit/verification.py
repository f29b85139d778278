"""Verify a tenant's hash chains against the signed checkpoints, and report every break.

A history may begin at an anchor: the signed statement, made when old rows were removed on purpose,
of the last row that was pruned and its hash. The rows after an anchor are verified from its hash; the rows
that it covers may be missing. Without a valid anchor a missing beginning is a break like any other.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from .chain import GENESIS, Break, Row, row_hash

Place = tuple[int, str]
"""A row's seq and hash."""


class Signed(Struct, frozen=True):
    """What the validly signed checkpoints and anchors say of one tenant, by chain."""

    heads: dict[str, dict[int, str]]
    """seq -> hash of each row that was a chain's head at a checkpoint."""
    anchors: dict[str, Place]
    """The last row that was pruned."""


class Verification:
    """Call `read` with each row in order of (chain, seq), then `finish`."""

    def __init__(self, signed: Signed) -> None:
        self._signed = signed
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
