"""How much is let in at once: what was lately answered in a second, times the seconds that an answer may take.

By Little's law that is as much as can be in flight while every answer comes in time; one more would make all of them
wait longer, until their callers give up and ask again. Whoever is not let in is told when to come again, one after
another, at the rate at which others leave.
"""

from __future__ import annotations

from collections.abc import Callable

from .rate import turn

FLOOR, FIRST = 64, 1_024
"""Let in whatever was measured (a slow disk must not talk us down to nothing), and let in before anything was."""
SHORTEST, LONGEST = 0.25, 1.0
"""Seconds of one measurement; an older one has idle time in it and is begun anew."""
A_QUEUE = 32
"""So many that came late one after another are a queue before the door; fewer are a hiccup, and are served."""


class Admission:
    """One share of a worker: its limit, and who is in.

    `within` is in seconds. `idle` counts those among them who do no work, for their bodies are still on the way: to
    refuse others on their account would let anybody close the door with a few hundred half requests.
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
        """Whether one more of this group has to be refused.

        A group that has less than its part of the limit gets in whatever the others have: what they all may have
        together is bounded still, by the limit times the logarithm of how many groups are in.
        """
        if self.in_flight < self.limit or self.in_flight - self._idle() < self.limit:
            return False
        groups = self._groups
        own = groups.get(group, 0)
        return own >= max(1, self.limit // (len(groups) + (not own)))

    def late(self, waited: float, gone: bool) -> bool:
        """Whether one has to be refused who waited so many seconds before he was seen at all.

        What waits before the door is not in flight: the kernel keeps it for as long as we are busy with others. Of two
        that are late one is let in all the same. To refuse a new connection costs a third of what a token does, so
        who refuses everybody while more come than he can refuse serves nobody. One who is gone by now is not served.
        """
        if waited <= self._within:
            self._late -= self._late > 0
            return False
        if gone:
            return True
        self._late += 1 if self._late < 2 * A_QUEUE else -1
        return self._late > A_QUEUE and self._late % 2 == 0

    def measure(self, now: float, *, full: bool = True) -> None:
        """To be called when one has to be refused: what is answered at leisure says nothing of what could be.

        Only who is full learns a limit. Who refuses what came late spends on refusals what he would answer with.
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
        """One more is in."""
        self.in_flight += 1
        self.admitted += 1
        self._groups[group] = self._groups.get(group, 0) + 1

    def leave(self, group: str) -> None:
        """It was answered, or went away."""
        self.in_flight -= 1
        left = self._groups[group] - 1
        if left:
            self._groups[group] = left
        else:
            del self._groups[group]

    def refuse(self, now: float) -> float:
        """Seconds until the turn of the one who is refused."""
        self.refused += 1
        self._queue = turn(self._queue, now, max(self.rate, self._floor))
        return self._queue - now
