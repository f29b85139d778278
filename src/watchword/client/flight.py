"""One renewal under way, and those who wait for it: threads, and tasks of any event loop.

Nobody waits on a lock of another loop: they wait for a result, look up once a second, and take over
when the loop that should bring it has stopped.
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
"""Seconds after which one who waits looks whether the leader is still there."""


class Flight:
    """Started by its leader, who ends it; ``outcome`` None means that it was given up."""

    __slots__ = ("_done", "_loop", "_pid")

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._loop = running_loop()
        self._done: Future[AccessToken | TokenError | None] = Future()

    def is_lost(self) -> bool:
        """Its leader is in the parent of a fork, or in a loop that stopped."""
        return self._pid != os.getpid() or (self._loop is not None and not self._loop.is_running())

    def is_in_this_loop(self) -> bool:
        """Whether to block this thread would be to block the leader."""
        return self._loop is not None and self._loop is running_loop()

    def end(self, outcome: AccessToken | TokenError | None) -> None:
        """Tell all who wait."""
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
    """The event loop that runs in this thread; a program that never imported asyncio has none, and need not."""
    if (loaded := sys.modules.get("asyncio")) is None:
        return None
    try:
        running: asyncio.AbstractEventLoop = loaded.get_running_loop()
        return running
    except RuntimeError:
        return None
