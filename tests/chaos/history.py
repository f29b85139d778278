"""A history of what clients asked and were told, and what no order of single steps can explain (RAC-011).

Each application is an object of its own: a secret that a rotation replaces, tokens, an end. An operation takes effect
at one moment between its beginning and its end; one that nobody answered, at any moment after its beginning, or never.
So a later operation has to know of an earlier one that was acknowledged before it began, on whatever node. Where the
design allows a worker to learn of a change within a second (docs/ARCHITECTURE.md), `visible` is that second.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

NEVER = float("inf")


@dataclass(frozen=True)
class Event:
    """One operation. Times are of one clock, in seconds; `end` is `NEVER` when no answer came."""

    what: Literal["create", "read", "rotate", "issue", "introspect", "revoke", "delete"]
    client_id: str
    begin: float
    end: float
    yes: bool = True
    """What it said: here, given, active, done."""
    secret: str = ""
    """That it made, or was proved with."""
    token: str = ""
    """That it gave, asked about or revoked."""

    @property
    def answered(self) -> bool:
        return self.end < NEVER

    def before(self, other: Event, visible: float = 0.0) -> bool:
        """Whether the other must know of it."""
        return self.answered and self.end + visible < other.begin

    def may_precede(self, other: Event) -> bool:
        """Whether the other may know of it."""
        return self.begin < other.end


def violations(history: Iterable[Event], visible: float, noticed: float) -> list[str]:
    """What cannot be, in words.

    `visible`: seconds after which a change must count everywhere where only memory is asked (introspection).
    `noticed`: seconds after which a new secret must be known everywhere: until then a refusal is only a nuisance.
    """
    by_client: dict[str, list[Event]] = defaultdict(list)
    for event in sorted(history, key=lambda e: e.begin):
        by_client[event.client_id].append(event)
    found: list[str] = []
    for events in by_client.values():
        found += _existence(events)
        found += _secrets(events, noticed)
        found += _tokens(events, visible)
    return found


def _of(events: list[Event], *whats: str) -> list[Event]:
    return [event for event in events if event.what in whats]


def _effects(events: list[Event], *whats: str) -> list[Event]:
    """All but those that were answered with no."""
    return [event for event in _of(events, *whats) if event.yes or not event.answered]


def _existence(events: list[Event]) -> Iterator[str]:
    """The admin API asks the database: there is no second of grace."""
    (created,) = _of(events, "create")
    ends = _effects(events, "delete")
    for change in _of(events, "rotate"):
        if change.answered and change.yes and any(end.before(change) for end in ends):
            yield f"rotated after its deletion: {change}"
    for read in _of(events, "read"):
        if read.yes and any(end.before(read) for end in ends):
            yield f"read after its deletion: {read}"
        if not read.yes and created.before(read) and not any(end.may_precede(read) for end in ends):
            yield f"not there, and nobody deleted it: {read}"


def _secrets(events: list[Event], noticed: float) -> Iterator[str]:
    births = {event.secret: event for event in _effects(events, "create", "rotate") if event.answered}
    killers = _effects(events, "rotate", "delete")
    tries: dict[str, list[Event]] = defaultdict(list)
    for event in _of(events, "issue"):
        tries[event.secret].append(event)
    for secret, asked in tries.items():
        birth = births[secret]
        others = [k for k in killers if k is not birth]
        after = [k for k in others if birth.before(k)]
        dead = NEVER
        for one in asked:
            if one.yes and any(killer.before(one) for killer in after):
                yield f"a token for a secret that had ended: {one}"
            if one.yes and dead < one.begin:
                yield f"a token for a secret that was refused before: {one}"
            if not one.yes and birth.before(one, noticed):
                dead = min(dead, one.end)
                if not any(k.may_precede(one) and not k.before(birth) for k in others):
                    yield f"refused, and nothing had ended it: {one}"


def _tokens(events: list[Event], visible: float) -> Iterator[str]:
    given = {event.token: event for event in _of(events, "issue") if event.yes}
    ends = _effects(events, "delete")
    inactive: dict[str, float] = {}
    for ask in _of(events, "introspect"):
        killers = [*ends, *(r for r in _effects(events, "revoke") if r.token == ask.token)]
        if ask.yes and any(killer.before(ask, visible) for killer in killers):
            yield f"active after its end: {ask}"
        if ask.yes and inactive.get(ask.token, NEVER) + visible < ask.begin:
            yield f"active again: {ask}"
        if not ask.yes:
            inactive[ask.token] = min(inactive.get(ask.token, NEVER), ask.end)
            if given[ask.token].before(ask) and not any(killer.may_precede(ask) for killer in killers):
                yield f"inactive, and nothing had ended it: {ask}"
