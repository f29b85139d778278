"""Devices without number: each a connection of its own, one token, and patience; one process, one epoll."""

from __future__ import annotations

import gc
import heapq
import random
import re
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from watchword.client.flow import ASKED_TRIES, FIRST_PAUSE, LONGEST_PAUSE

SOURCES = [f"127.0.0.{n}" for n in range(2, 34)]
HELD = 15_000
"""Connections at once: below the limit on open files. Whoever is due beyond it waits, and his wait counts."""
PATIENCE = 10.0
"""Seconds for one try."""
TRIES = 3
"""Of `watchword.client` without being told when to come again; with that it is `ASKED_TRIES`."""
ANEW = 20.0
"""Seconds, by chance half as many more or less, after which a device asks again whose client gave up."""
_BIND_ADDRESS_NO_PORT = 24
_RETRY = re.compile(rb"\r\nretry-after: (\d+)\r\n", re.IGNORECASE)


@dataclass(slots=True)
class Device:
    """Whoever asks for a token. A hammerer asks `every` so many seconds whatever he is told, and never has enough."""

    request: bytes
    name: str = ""
    every: float = 0.0
    due: float = 0.0
    tries: int = 0
    row: int = 0
    """Of these, since its client began."""
    gave_up: int = 0
    served_at: float = 0.0
    tokens: int = 0
    told: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Second:
    """What happened to the devices, not to those who hammer, in one second."""

    came: int = 0
    served: int = 0
    refused: int = 0
    failed: int = 0
    latencies: list[float] = field(default_factory=list)
    """Of the tries that got a token, in seconds from the connection's beginning."""


class _Try:
    __slots__ = ("begun", "connected", "device", "socket")

    def __init__(self, device: Device, made: socket.socket, begun: float) -> None:
        self.device, self.socket, self.begun, self.connected = device, made, begun, False


class Crowd:
    """Runs until every device has its token, or `most` seconds are over."""

    def __init__(self, port: int, devices: Sequence[Device], hammerers: Sequence[Device]) -> None:
        self._port, self._devices, self._hammerers = port, devices, hammerers
        self._poll = select.epoll()
        self._tries: dict[int, _Try] = {}
        self._due: list[tuple[float, int, Device]] = []
        self._order = 0
        self.seconds: list[Second] = []
        self.served = 0
        self.most_held = 0
        self.arrived = 0.0
        """Seconds until every device had come once: later than was asked for, where this process cannot keep up."""

    def run(self, arrive_within: float, most: float) -> float:
        """Seconds until the last was served."""
        self._start = time.perf_counter()
        for n, device in enumerate(self._devices):
            device.due = (n + random.random()) * arrive_within / len(self._devices)
            self._line_up(device, device.due)
        for device in self._hammerers:
            self._line_up(device, 0.0)
        gc.disable()
        swept = 0.0
        while self.served < len(self._devices) and self._now() < most:
            now = self._now()
            self._begin_due(now)
            for number, _ in self._poll.poll(0.002, 4_096):
                self._go_on(self._tries[number])
            if now - swept > 0.5:
                swept = now
                self._give_up(now)
        gc.enable()
        return self._now()

    def _now(self) -> float:
        return time.perf_counter() - self._start

    def _second(self) -> Second:
        second = int(self._now())
        while len(self.seconds) <= second:
            self.seconds.append(Second())
        return self.seconds[second]

    def _line_up(self, device: Device, due: float) -> None:
        self._order += 1
        heapq.heappush(self._due, (due, self._order, device))

    def _begin_due(self, now: float) -> None:
        for _ in range(500):  # then the answers have their turn
            if not self._due or self._due[0][0] > now or len(self._tries) >= HELD:
                return
            self._begin(heapq.heappop(self._due)[2])

    def _begin(self, device: Device) -> None:
        device.tries += 1
        if device.tries == 1:
            self.arrived = self._now()
        if not device.every:
            self._second().came += 1
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        made.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
        made.bind((SOURCES[self._order % len(SOURCES)], 0))
        made.connect_ex(("127.0.0.1", self._port))
        one = self._tries[made.fileno()] = _Try(device, made, self._now())
        try:
            made.send(device.request)  # on loopback it is connected by now, unless the listener's queue is full
            one.connected = True
        except OSError:
            pass
        self._poll.register(made.fileno(), select.EPOLLIN if one.connected else select.EPOLLOUT)
        self.most_held = max(self.most_held, len(self._tries))

    def _go_on(self, one: _Try) -> None:
        try:
            if not one.connected:
                one.socket.send(one.device.request)
                one.connected = True
                self._poll.modify(one.socket.fileno(), select.EPOLLIN)
                return
            answer = one.socket.recv(16_384)
        except OSError:
            answer = b""
        self._end(one)
        self._judge(one, answer)

    def _end(self, one: _Try) -> None:
        del self._tries[one.socket.fileno()]
        one.socket.close()  # which takes it out of the epoll

    def _judge(self, one: _Try, answer: bytes) -> None:
        device, now, second = one.device, self._now(), self._second()
        status = int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0
        device.told[status] = device.told.get(status, 0) + 1
        if device.every:
            device.tokens += status == 200
            return self._line_up(device, max(one.begun + device.every, now))
        if status == 200:
            second.served += 1
            second.latencies.append(now - one.begun)
            device.served_at, device.tokens = now, device.tokens + 1
            self.served += 1
            return None
        if status in (429, 503):
            second.refused += 1
        else:
            second.failed += 1
        return self._line_up(device, now + _pause(device, answer))

    def _give_up(self, now: float) -> None:
        for one in [one for one in self._tries.values() if now - one.begun > PATIENCE]:
            self._end(one)
            self._judge(one, b"")


def _pause(device: Device, answer: bytes) -> float:
    """As `watchword.client` waits: as long as it is told and by chance some more, or by itself.

    When its patience has ended its device has an error, and begins anew after a while.
    """
    found = _RETRY.search(answer)
    asked = int(found[1]) if found is not None else None
    device.row += 1
    if device.row >= (TRIES if asked is None else ASKED_TRIES) or (asked or 0) > LONGEST_PAUSE:
        device.row, device.gave_up = 0, device.gave_up + 1
        return ANEW * (0.5 + random.random())
    if asked is None:
        return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (device.row - 1)) * (1 - random.random() / 2)
    return asked + random.random() * min(LONGEST_PAUSE, 2.0 ** (device.row - 1))
