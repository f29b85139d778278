"""Refusals, added up: what, from where, how many, first and last.

A stranger can neither fill the disk (one row a flush, a bounded number of entries) nor hide (the
count goes on). Log lines name the refusal's private detail and never a secret, a token or a header.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from msgspec import Struct

from ...audit.events import Event, RequestsRefused
from ...protocol.errors import InvalidClient, OAuthError, SlowDown, without_frames
from ..clients.guesses import Guesses

_MAX_KINDS = 1_000
_log: Any = structlog.get_logger("watchword.refusals")


class _Sum(Struct):
    count: int
    first: float
    last: float


class Refusals:
    """One object per worker."""

    def __init__(self, clock: Callable[[], float], new_id: Callable[[], str], guesses: Guesses) -> None:
        self._clock, self._new_id, self._guesses = clock, new_id, guesses
        self._sums: dict[tuple[str, str, str], _Sum] = {}
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
        self.total += 1
        what = f"{error.error} ({error.rule})" if error.rule else error.error
        key = (slug, what, source)
        found = self._sums.get(key)
        if found is None:
            if len(self._sums) >= _MAX_KINDS:
                key = (slug, what, "elsewhere")
            found = self._sums.setdefault(key, _Sum(0, now, now))
        found.count += 1
        found.last = now
        _log.info(
            "request refused", tenant=slug, error=error.error, status=error.status, why=error.detail or error.public,
            source=source, unverified_client_id=printable(unverified_client_id), request_id=request_id,
        )  # fmt: skip
        return error, request_id

    def take(self) -> list[tuple[str, Event]]:
        """The sums since the last call, as events by tenant slug."""
        sums, self._sums = self._sums, {}
        now = self._clock()
        return [
            (
                slug,
                RequestsRefused(
                    at=now,
                    what=what,
                    source=source,
                    count=s.count,
                    first=s.first,
                    last=s.last,
                ),
            )
            for (slug, what, source), s in sums.items()
        ]


def printable(unverified_text: str) -> str:
    """Safe for a log and a terminal: escaped, and cut."""
    return unverified_text[:64].encode("unicode_escape", "backslashreplace").decode("ascii")
