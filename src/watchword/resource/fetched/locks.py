"""Locks that allow one fetch at a time across threads, across the tasks of an event loop, and after a fork."""

from __future__ import annotations

import asyncio
import os
import threading
from weakref import WeakKeyDictionary


class Locks:
    """A lock for the threads of this process, and one for the tasks of each loop."""

    def __init__(self) -> None:
        self._new()

    def thread(self) -> threading.Lock:
        """The lock of this process: after a fork, the parent's lock might never be released in the child."""
        if self._pid != os.getpid():
            self._new()
        return self._lock

    def loop(self) -> asyncio.Lock:
        """This loop's lock."""
        self.thread()
        return self._loops.setdefault(asyncio.get_running_loop(), asyncio.Lock())

    def _new(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
