"""A connection of our listener over a transport that keeps what is written, and a clock that tests move."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from copy import copy
from functools import cache
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from watchword.server.serving.connection import Connection
from watchword.server.serving.crowd import Crowd

Message = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Callable[[], Awaitable[Message]], Send], Awaitable[None]]


class Wire(asyncio.Transport):
    """Each write, by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.socket: socket.socket | None = None
        self.closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """A socket, where there is one."""
        return {"socket": self.socket, "peername": ("203.0.113.1", 5)}.get(name, default)

    def write(self, data: Any) -> None:
        """Kept."""
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        """As a socket's."""
        return self.closed

    def close(self) -> None:
        """As a socket's."""
        self.closed = True

    def pause_reading(self) -> None:
        """Nothing is read by itself here."""

    def resume_reading(self) -> None:
        """Nothing is read by itself here."""


class Loop:
    """Tasks are real; time is moved by hand, and what was due is called."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, Callable[[], None], Timer]] = []

    def time(self) -> float:
        """Seconds."""
        return self.now

    def create_task(self, work: Any) -> Any:
        """The running loop's."""
        return asyncio.get_running_loop().create_task(work)

    def call_later(self, delay: float, call: Callable[[], None]) -> Timer:
        """Called by `move`."""
        timer = Timer()
        self._due.append((self.now + delay, call, timer))
        return timer

    def move(self, seconds: float) -> None:
        """In steps of a second."""
        for _ in range(int(seconds)):
            self.now += 1
            due = [each for each in self._due if each[0] <= self.now]
            self._due = [each for each in self._due if each[0] > self.now]
            for _, call, timer in due:
                if not timer.cancelled:
                    call()


class Timer:
    """What `call_later` hands out."""

    cancelled = False

    def cancel(self) -> None:
        """Never called then."""
        self.cancelled = True


class Member:
    """Another connection, in use."""

    idle = False
    closed = False

    def close(self) -> None:
        """Its place is taken."""
        self.closed = True


@cache
def _config() -> uvicorn.Config:
    """Loaded once: it is slow."""
    config = uvicorn.Config(
        "none", http=Connection, ws="none", lifespan="off", server_header=False, log_config=None, timeout_keep_alive=5
    )
    config.load_app = lambda: None  # type: ignore[method-assign, assignment, return-value]
    config.load()
    return config


class Caller:
    """One connection to an application."""

    def __init__(self, app: App, ceiling: int | None = None, others: int = 0) -> None:
        config = copy(_config())
        config.loaded_app = app
        self.wire, self.loop, state = Wire(), Loop(), ServerState()
        state.default_headers = []
        self.connection = Connection(config, state, {}, _loop=self.loop)  # type: ignore[arg-type]
        self.connection.crowd = self.crowd = Crowd(ceiling)
        for n in range(others):
            self.crowd.enter(Member(), f"192.0.2.{n}")
        self.connection.connection_made(self.wire)
        self._state = state

    async def send(self, *pieces: bytes) -> list[bytes]:
        """Send, let every request come to its end; what was written, write by write."""
        for piece in pieces:
            self.connection.data_received(piece)
        while self._state.tasks:
            await asyncio.gather(*self._state.tasks)
        return self.wire.writes
