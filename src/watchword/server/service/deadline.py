"""The longest time that a request waits for anything: after that it gets 503, whatever hangs.

Each wait has a limit of its own, but a request can wait several times in a row: for somebody else's keys, for a turn
at the database, for the disk. One clock counts for all requests: a timer for each would cost 1 % of a token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

from ..protocol.errors import Unavailable

TICK, TICKS = 0.5, 8
"""A request is ended after 3.5 to 4 seconds: with the rest of it, less than the promised five."""
_OVERDUE = -1
_current_task = asyncio.current_task  # each token asks twice: no attribute is looked up for it


def _later(seconds: float, tick: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(seconds, tick)


class Deadline:
    """`with deadline:` around what a request waits for, once in each task. Raises `Unavailable` when it is over.

    It is unknown then whether a commit took effect. The clock stands still while there are no requests.
    """

    __slots__ = ("_began", "_later", "_now", "_ticks")

    def __init__(self, later: Callable[[float, Callable[[], None]], None] = _later) -> None:
        self._later, self._now, self._ticks = later, 0, False
        self._began: dict[asyncio.Task[object] | None, int] = {}

    def __enter__(self) -> None:
        self._began[_current_task()] = self._now
        if not self._ticks:
            self._ticks = True
            self._later(TICK, self.tick)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._began.pop(_current_task()) < 0:
            task = asyncio.current_task()
            assert task is not None  # what has no task cannot be overdue
            task.uncancel()
            if kind is asyncio.CancelledError:
                raise Unavailable("this takes too long; try again", detail="the deadline of a request") from None

    @property
    def waiting(self) -> int:
        """How many requests there are."""
        return len(self._began)

    def tick(self) -> None:
        """End what is overdue; called every `TICK` seconds."""
        self._now += 1
        for task, began in self._began.items():
            if began > self._now - TICKS:
                break  # those behind it began later
            if task is not None and began != _OVERDUE:
                self._began[task] = _OVERDUE
                task.cancel()
        if self._began:
            self._later(TICK, self.tick)
        else:
            self._ticks = False
