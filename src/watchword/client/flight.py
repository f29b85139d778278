"""Single flight: one token request for all threads and tasks that need a token at the same time.

Threads and tasks never wait on a lock of another event loop. They wait for the result, check once a second whether the
leader (the thread or task that sends the request) is still there, and send the request themselves when it is gone.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING

from watchword.client.errors import TokenError
from watchword.client.token import AccessToken

if TYPE_CHECKING:
    import asyncio

LOOK_UP = 1.0
"""Seconds between two checks whether the leader is still there."""


class Flight:
    """Started and ended by its leader. An outcome of None means that the leader gave up."""

    __slots__ = ("_done", "_loop", "_pid")

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._loop = running_loop()
        self._done: Future[AccessToken | TokenError | None] = Future()

    def is_lost(self) -> bool:
        """The leader is in the parent of a fork, or in an event loop that stopped."""
        return self._pid != os.getpid() or (self._loop is not None and not self._loop.is_running())

    def is_in_this_loop(self) -> bool:
        """Whether blocking this thread would block the leader."""
        return self._loop is not None and self._loop is running_loop()

    def end(self, outcome: AccessToken | TokenError | None) -> None:
        """Give the outcome to everybody that waits."""
        if not self._done.done():
            self._done.set_result(outcome)

    def wait(self) -> AccessToken | TokenError | None:
        """Block this thread until the end, or until the flight is lost."""
        while not self._done.done() and not self.is_lost():
            wait([self._done], timeout=LOOK_UP)
        return self._done.result() if self._done.done() else None

    async def await_(self) -> AccessToken | TokenError | None:
        """`wait`, for an event loop."""
        import asyncio

        arrived = asyncio.wrap_future(self._done)
        while not self._done.done() and not self.is_lost():
            await asyncio.wait([arrived], timeout=LOOK_UP)  # does not cancel it when its caller is cancelled
        return self._done.result() if self._done.done() else None


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of this thread, or None; asyncio is not imported only to find that there is none."""
    if (loaded := sys.modules.get("asyncio")) is None:
        return None
    try:
        running: asyncio.AbstractEventLoop = loaded.get_running_loop()
        return running
    except RuntimeError:
        return None
