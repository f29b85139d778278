"""The chain of checkpoints: each names the heads of audit chains, and the hash of the checkpoint before it.

A checkpoint names the chains that have grown since the last one, so the checkpoints together name all chains. Each has
a number and a MAC under a key that is derived from the master key. A missing checkpoint is a gap in the numbers; if the
newest are missing, the epoch shows it: number and hash of the newest, kept outside of the database.
"""

from __future__ import annotations

import hashlib
import hmac
import re

import msgspec
from msgspec import Struct

from .chain import GENESIS, Break
from .verification import Place

_PLACE = re.compile(r"(\d{1,15}):([0-9a-f]{64})")


class CheckpointHere(Struct, frozen=True):
    """A row of the table: number, statement (JSON) and MAC, as they are in the database."""

    number: int
    statement: bytes
    mac: bytes

    @property
    def place(self) -> Place:
        """Number and hash, as the next checkpoint and the epoch name it."""
        return self.number, hashlib.sha256(self.statement).hexdigest()


class SignedHeads(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a checkpoint says."""

    number: int
    previous: str
    """The hash of the checkpoint before this one."""
    at: float
    first: int = 1
    """The oldest checkpoint that was not pruned."""
    heads: dict[str, Place] = {}
    """Chains that have grown, "tenant/chain" -> (seq, hash) of the newest row."""
    resumes: Place | None = None
    """After a backup was restored and accepted: the newest checkpoint of the backup. Those in between are lost."""


def text_of(place: Place) -> str:
    """A checkpoint for an outside witness: "number:hash"."""
    return f"{place[0]}:{place[1]}"


def place_of(unverified_text: str) -> Place:
    """The reverse of `text_of`. Raises ValueError."""
    found = _PLACE.fullmatch(unverified_text.strip())
    if found is None:
        raise ValueError("not a checkpoint: expected NUMBER:HASH, as `watchword audit verify` prints it")
    return int(found[1]), found[2]


def written(key: bytes, said: SignedHeads) -> CheckpointHere:
    """The row for a checkpoint."""
    statement = msgspec.json.encode(said)
    return CheckpointHere(said.number, statement, hmac.digest(key, statement, "sha256"))


def opened(key: bytes, unverified: CheckpointHere) -> SignedHeads | None:
    """What a checkpoint says; None if its MAC or its number is wrong."""
    if not hmac.compare_digest(hmac.digest(key, unverified.statement, "sha256"), unverified.mac):
        return None
    said = msgspec.json.decode(unverified.statement, type=SignedHeads)
    return said if said.number == unverified.number else None


class CheckpointWalk:
    """Call `read` with each checkpoint in order of its number, then `finish`."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._last: Place = (0, GENESIS)
        self._first = self._found = 0
        self.newest_at = 0.0
        self.places: set[Place] = set()
        self.breaks: list[Break] = []
        self.restores: list[tuple[float, int, int]] = []
        """Accepted restores: time, and the first and last number of the checkpoints that were lost."""

    def read(self, unverified: CheckpointHere) -> SignedHeads | None:
        """Verify the next checkpoint; None if it is forged."""
        said = opened(self._key, unverified)
        if said is None:
            self._break(unverified.number, "its MAC is wrong: it is forged, or was changed")
            return None
        if not self.places:
            self._found = said.number
        if said.resumes == self._last:
            self.restores.append((said.at, self._last[0] + 1, said.number - 1))
        elif said.number != self._last[0] + 1 and self.places:
            self._break(said.number, f"missing: expected checkpoint {self._last[0] + 1}, found {said.number}")
        elif said.previous != self._last[1] and (self.places or said.number == 1):
            self._break(said.number, "it does not follow the checkpoint before it")
        self._last, self._first, self.newest_at = unverified.place, said.first, max(self.newest_at, said.at)
        self.places.add(self._last)
        return said

    def finish(self, epoch: Place | None, expected: Place | None) -> list[Break]:
        """All breaks, including those that show only against the epoch and against what a witness has."""
        if self._found > max(self._first, 1):
            self._break(self._first, f"missing: the checkpoints {self._first} to {self._found - 1}")
        if epoch is not None:
            self._compare(epoch, "the epoch beside the master key", pruned_counts=True)
        if expected is not None:
            self._compare(expected, "--expect", pruned_counts=False)
        return self.breaks

    @property
    def newest(self) -> Place | None:
        """The newest valid checkpoint."""
        return self._last if self.places else None

    def _compare(self, known: Place, whose: str, *, pruned_counts: bool) -> None:
        number = known[0]
        if known in self.places or (pruned_counts and number < self._first):
            return
        if number > self._last[0]:
            why = f"missing: {whose} names checkpoint {number}, the newest here is {self._last[0]}"
        elif number < self._first:
            why = f"{whose} names checkpoint {number}, which was pruned: compare with a newer one"
        elif any(first <= number <= last for _, first, last in self.restores):
            if pruned_counts:
                return
            why = f"{whose} names checkpoint {number}, which was lost when a backup was restored"
        else:
            why = f"rewritten: {whose} names another checkpoint {number}"
        self._break(number, why)

    def _break(self, number: int, why: str) -> None:
        self.breaks.append(Break(chain="checkpoints", seq=number, why=why))
