"""One fetch at a time: across threads, across the tasks of a loop, and after a fork."""

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
        """This process's lock: one that a parent held when it forked would never be released here."""
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
