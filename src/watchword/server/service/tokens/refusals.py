"""Rejected requests, added up: what, from which network, how many, first and last.

Strangers can neither fill the disk nor hide. A flush writes a bounded number of sums, the largest and the oldest; the
rest waits for the next flush, and goes on counting. Memory is bounded, too: the network that was quiet longest loses
its own sum, and is counted with others of its kind. Log lines name the error's private detail, and never a secret, a
token or a header.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from msgspec import Struct

from ...audit.events import Event, RequestsRefused
from ...protocol.errors import InvalidClient, OAuthError, SlowDown, without_frames
from ...protocol.rate import network_of
from ..clients.guesses import Guesses

MOST_SUMS = 1_000
"""Sums of one network each that are kept in memory."""
MOST_ROWS = 48
"""Sums that one flush writes: about 10 KB every ten seconds and worker at most."""
OTHERS, SEVERAL = "others", "several"
_MOST_OTHERS = 1_000
_log: Any = structlog.get_logger("watchword.refusals")


Key = tuple[str, str, str]
"""Tenant's slug, what, network."""


class _Sum(Struct):
    count: int
    first: float
    last: float
    sources: int = 1

    def add(self, other: _Sum) -> None:
        self.count += other.count
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)
        self.sources += other.sources


class Refusals:
    """One object per worker."""

    def __init__(self, clock: Callable[[], float], new_id: Callable[[], str], guesses: Guesses) -> None:
        self._clock, self._new_id, self._guesses = clock, new_id, guesses
        self._sums: dict[Key, _Sum] = {}
        self._others: dict[Key, _Sum] = {}
        self.total = 0

    def note(
        self,
        slug: str,
        error: OAuthError,
        peer: tuple[str, int] | None,
        unverified_client_id: str,
        request_id: str,
    ) -> tuple[OAuthError, str]:
        """Count one refusal and write one log line.

        Returns what to answer, which for a source that keeps failing is `SlowDown`, and the id that joins the line
        with the answer, new if none was sent.
        """
        without_frames(error)
        request_id = request_id or self._new_id()
        source = peer[0] if peer else "unknown"
        now = self._clock()
        if isinstance(error, InvalidClient):
            seconds = self._guesses.failed(unverified_client_id, source, now)
            error = SlowDown(seconds, rule="wrong credentials") if seconds else error
        what = f"{error.error} ({error.rule})" if error.rule else error.error
        self._count((slug, what, network_of(source)), now)
        _log.info(
            "request refused", tenant=slug, error=error.error, status=error.status, why=error.detail or error.public,
            source=source, unverified_client_id=printable(unverified_client_id), request_id=request_id,
        )  # fmt: skip
        return error, request_id

    def note_administration(
        self, slug: str, surface: str, status: int, why: tuple[str, str], peer: tuple[str, int] | None, request_id: str
    ) -> str:
        """The same for a rejected administrator: `why` is error and description. Returns the request's id."""
        request_id = request_id or self._new_id()
        source = peer[0] if peer else "unknown"
        self._count((slug, f"{why[0]} ({surface})", network_of(source)), self._clock())
        _log.info(
            "request refused", tenant=slug, error=why[0], status=status, why=why[1], source=source,
            request_id=request_id,
        )  # fmt: skip
        return request_id

    def take(self, most: int | None = None) -> list[tuple[Key, _Sum]]:
        """The sums since the last call; with `most`, so many: the largest, and a third for the oldest of the rest."""
        found = sorted([*self._others.items(), *self._sums.items()], key=lambda each: -each[1].count)
        if most is None:
            taken = found
        else:
            large, rest = found[: most * 2 // 3], found[most * 2 // 3 :]
            taken = [*large, *sorted(rest, key=lambda each: each[1].first)[: most - len(large)]]
        for key, _ in taken:
            self._sums.pop(key, None)
            self._others.pop(key, None)
        return taken

    def put_back(self, taken: list[tuple[Key, _Sum]]) -> None:
        """After a failure to write them."""
        for key, found in taken:
            there = self._others if key[2] == OTHERS else self._sums
            if key in there:
                there[key].add(found)
            else:
                there[key] = found
        while len(self._sums) > MOST_SUMS:
            self._merge_oldest()

    def event(self, key: Key, found: _Sum) -> Event:
        """The audit event of a sum."""
        return RequestsRefused(
            at=self._clock(), what=key[1], source=key[2], sources=found.sources, count=found.count,
            first=found.first, last=found.last,
        )  # fmt: skip

    def _count(self, key: Key, now: float) -> None:
        self.total += 1
        found = self._sums.pop(key, None) or _Sum(0, now, now)
        found.count += 1
        found.last = now
        self._sums[key] = found  # the last of the dictionary: the first is the one that was quiet longest
        if len(self._sums) > MOST_SUMS:
            self._merge_oldest()

    def _merge_oldest(self) -> None:
        key = next(iter(self._sums))
        found = self._sums.pop(key)
        others = (key[0], key[1], OTHERS)
        if others not in self._others and len(self._others) >= _MOST_OTHERS:
            others = (key[0], SEVERAL, OTHERS)
        if others in self._others:
            self._others[others].add(found)
        else:
            self._others[others] = found


def printable(unverified_text: str) -> str:
    """Safe for a log and a terminal: escaped, and cut."""
    return unverified_text[:64].encode("unicode_escape", "backslashreplace").decode("ascii")
