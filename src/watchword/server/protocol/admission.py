"""Admission control: limit requests in flight to the measured answers a second, times the seconds an answer may take.

By Little's law that is the most that can be in flight while every answer comes in time; more would make all of them
wait longer, until callers give up and retry. Rejected requests get staggered retry times, at the rate of the answers.
"""

from __future__ import annotations

from collections.abc import Callable

from .rate import turn

FLOOR, FIRST = 64, 1_024
"""The least limit, also when a slow disk was measured, and the limit before the first measurement."""
SHORTEST, LONGEST = 0.25, 1.0
"""Seconds of one measurement; a longer one contains idle time and is started again."""
A_QUEUE = 32
"""This many late requests in a row mean a queue in the kernel; fewer are a short delay, and are served."""


class Admission:
    """The admission control of one kind of requests in a worker: its limit, and the requests in flight.

    `within` is in seconds. `idle` counts requests whose bodies are still being received: if they counted, a few
    hundred incomplete requests could block all others.
    """

    __slots__ = ("_begun", "_done", "_floor", "_groups", "_idle", "_late", "_queue", "_within",
                 "admitted", "in_flight", "limit", "rate", "refused")  # fmt: skip

    def __init__(self, within: float, *, first: int = FIRST, floor: int = FLOOR, idle: Callable[[], int] = int) -> None:
        self._within, self._floor, self._idle = within, floor, idle
        self._groups: dict[str, int] = {}
        self._begun, self._done, self._queue, self._late = float("-inf"), 0, 0.0, 0
        self.limit, self.rate = first, first / within
        self.in_flight = self.admitted = self.refused = 0

    def full(self, group: str) -> bool:
        """Whether one more request of this group has to be rejected.

        A group with less than its part of the limit is admitted whatever the others have. The total is still
        bounded, by the limit times the logarithm of the number of groups.
        """
        if self.in_flight < self.limit or self.in_flight - self._idle() < self.limit:
            return False
        groups = self._groups
        own = groups.get(group, 0)
        return own >= max(1, self.limit // (len(groups) + (not own)))

    def late(self, waited: float, gone: bool) -> bool:
        """Whether to reject a request that waited this many seconds before it was read.

        Requests that wait in the kernel are not in flight yet. Every second late request is admitted all the same:
        rejecting a new connection costs a third of a token, so a worker that rejects every late request under
        more load than it can reject would serve nobody. A caller that has gone away is not served.
        """
        if waited <= self._within:
            self._late -= self._late > 0
            return False
        if gone:
            return True
        self._late += 1 if self._late < 2 * A_QUEUE else -1
        return self._late > A_QUEUE and self._late % 2 == 0

    def measure(self, now: float, *, full: bool = True) -> None:
        """Measure the rate of answers; call it when a request has to be rejected, because an idle rate says nothing.

        Only a full worker adjusts its limit: while late requests are rejected, the rejections take the time of answers.
        """
        past = now - self._begun
        if past < SHORTEST:
            return
        if past <= LONGEST:
            found = (self.admitted - self.in_flight - self._done) / past
            self.rate = found if full else (self.rate + found) / 2
            if full:
                self.limit = max(self._floor, int(found * self._within))
        self._begun, self._done = now, self.admitted - self.in_flight

    def enter(self, group: str) -> None:
        """Count a request in flight."""
        self.in_flight += 1
        self.admitted += 1
        self._groups[group] = self._groups.get(group, 0) + 1

    def leave(self, group: str) -> None:
        """Count a request that was answered or has gone away."""
        self.in_flight -= 1
        left = self._groups[group] - 1
        if left:
            self._groups[group] = left
        else:
            del self._groups[group]

    def refuse(self, now: float) -> float:
        """Seconds after which the rejected request may be repeated."""
        self.refused += 1
        self._queue = turn(self._queue, now, max(self.rate, self._floor))
        return self._queue - now
