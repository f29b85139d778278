"""Requests at a given pace, whatever comes of those before: each latency counts from the moment it was due."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Sequence
from typing import cast

import uvloop

HELD = 256
"""Connections, used in turn so that none stands idle until the server closes it; whoever is due beyond it waits, and his wait counts."""


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, pace: _Pace) -> None:
        self._pace = pace
        self._due = 0.0
        self._answer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own kind

    def ask(self, request: bytes, due: float) -> None:
        """Send it."""
        assert self._transport is not None
        self._due, self._answer = due, b""
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """An answer of the token endpoint is JSON and ends with a brace."""
        self._answer += data
        if self._answer.endswith(b"}"):
            self._pace.answered(self, self._due, self._answer.startswith(b"HTTP/1.1 200 "))

    def connection_lost(self, error: Exception | None) -> None:
        """Which the server does not do to us."""
        self._pace.lost()

    def close(self) -> None:
        """No more."""
        if self._transport is not None:
            self._transport.abort()


class _Pace:
    def __init__(self, requests: Sequence[bytes], rate: float) -> None:
        self._requests, self._rate = requests, rate
        self._idle: deque[_Connection] = deque()
        self._all: list[_Connection] = []
        self._next = 0
        self._began = 0.0
        self._ending = False
        self.latencies: list[float] = []
        self.broken = False
        self.done = asyncio.Event()

    async def run(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(HELD):
            _, made = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", port)
            self._all.append(made)
        self._idle = deque(self._all)
        self._began = time.perf_counter()
        while self._next < len(self._requests) and not self.done.is_set():
            self._send_due()
            await asyncio.sleep(0.0005)
        await self.done.wait()
        self._ending = True
        for each in self._all:
            each.close()

    def _send_due(self) -> None:
        now = time.perf_counter()
        while self._idle and self._next < len(self._requests):
            due = self._began + self._next / self._rate
            if due > now:
                return
            self._idle.popleft().ask(self._requests[self._next], due)
            self._next += 1

    def answered(self, connection: _Connection, due: float, good: bool) -> None:
        self.latencies.append(time.perf_counter() - due if good else math.inf)
        self._idle.append(connection)
        if len(self.latencies) == len(self._requests):
            self.done.set()

    def lost(self) -> None:
        if not self._ending:
            self.broken = True
            self.done.set()


def paced(port: int, requests: Sequence[bytes], rate: float) -> list[float]:
    """Seconds of each from when it was due; infinite when it was refused. Exits when a connection is lost."""

    async def go() -> list[float]:
        pace = _Pace(requests, rate)
        await pace.run(port)
        if pace.broken:
            raise SystemExit("the server closed a connection: see server.log")
        return pace.latencies

    return uvloop.run(go())
