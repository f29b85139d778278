"""Find events by type, application, request and time. A row holds many events: it is decoded only if one may match."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from .chain import Row, events_of
from .events import AnyEvent, Event

_LATE = 60.0
"""Seconds by which a row is written later than its events, at most."""


def _names(kind: type[Event]) -> Iterator[str]:
    for one in kind.__subclasses__():
        yield one.__name__
        yield from _names(one)


EVENT_NAMES = frozenset(_names(Event)) - {"Updated"}


class Wanted(Struct, frozen=True, kw_only=True):
    """A filter; empty fields match everything."""

    event: str = ""
    client_id: str = ""
    """The application that caused the event, or that it is about."""
    request_id: str = ""
    since: float | None = None
    until: float | None = None
    """Seconds since the epoch; `since` is included, `until` is not."""

    @property
    def rows_from(self) -> float:
        """The time before which no row has a matching event."""
        return self.since if self.since is not None else 0.0

    @property
    def rows_to(self) -> float | None:
        """The time after which no row has one."""
        return self.until + _LATE if self.until is not None else None

    def matches(self, event: AnyEvent) -> bool:
        """Whether an event is wanted."""
        return (
            (not self.event or type(event).__name__ == self.event)
            and (not self.client_id or self.client_id in (event.actor, getattr(event, "client_id", None)))
            and (not self.request_id or event.request_id == self.request_id)
            and (self.since is None or event.at >= self.since)
            and (self.until is None or event.at < self.until)
        )

    def may_be_in(self, row: Row) -> bool:
        """Cheap, and never wrong when it says no."""
        texts = (self.event, self.client_id, self.request_id)
        return all(msgspec.json.encode(text) in row.payload for text in texts if text)


class Place(Struct, frozen=True, order=True):
    """A place in the log, newest first: behind the event `index` (counted from the newest of its row) of a row."""

    at: float
    chain: str
    seq: int
    index: int


class Page(Struct, frozen=True):
    """Events, newest first, and where the next page begins; None at the end."""

    events: list[AnyEvent]
    following: Place | None


def take(rows: Sequence[Row], wanted: Wanted, after: Place | None, most: int) -> Page:
    """The first `most` wanted events of rows that stand newest first; `following` is None if the rows ended first."""
    found: list[AnyEvent] = []
    for row in rows:
        if not wanted.may_be_in(row):
            continue
        begun = after is not None and (row.at, row.chain, row.seq) == (after.at, after.chain, after.seq)
        for index, event in enumerate(reversed(events_of(row))):
            if begun and after is not None and index <= after.index:
                continue
            if wanted.matches(event):
                found.append(event)
                if len(found) == most:
                    return Page(found, Place(row.at, row.chain, row.seq, index))
    return Page(found, None)


def moment(unverified_text: str) -> float:
    """Seconds since the epoch of a date or time in ISO 8601 (UTC if it names no zone). Raises ValueError."""
    found = datetime.fromisoformat(unverified_text)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
