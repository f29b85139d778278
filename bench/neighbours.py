"""One tenant, or one application, asks for ten times what it may; how long do the others wait for their tokens?"""

from __future__ import annotations

import multiprocessing
import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from .load import LOAD_CORE
from .servers import GRANT, Ours, basic, watchword
from .table import Row, heading, ratio, show

MAY = 100
"""Tokens a second that the noisy ones may have; they ask for ten times as many."""
QUIET = 100
"""Tokens a second that are asked for beside them."""


def neighbours(folder: Path, rounds: int, seconds: int) -> None:
    """By turns with the noise and without."""
    heading(f"A token for one, {QUIET} a second, while another asks for ten times its {MAY} a second")
    os.sched_setaffinity(0, {int(LOAD_CORE)})
    with watchword(folder / "neighbours", "ES256", "EdDSA") as ours:
        quiet = _request(ours.base, *ours.callers["ES256"])
        for name, noise in (("tenant", _noisy_tenant(ours)), ("application", _noisy_application(ours))):
            alone: list[list[float]] = []
            beside: list[list[float]] = []
            for _ in range(rounds):
                alone.append(_waits(ours, quiet, seconds))
                with _noise(ours, noise):
                    beside.append(_waits(ours, quiet, seconds))
            _show(name, alone, beside)


def _show(name: str, alone: list[list[float]], beside: list[list[float]]) -> None:
    for part, told in ((0.5, "p50"), (0.99, "p99")):
        idle, noisy = [_part(each, part) for each in alone], [_part(each, part) for each in beside]
        show(
            Row(f"{told} alone", idle, " ms"),
            Row(f"{told} beside a noisy {name}", noisy, " ms"),
            Row(f"times as long, {told}", ratio("", noisy, idle).figures, "", 2.0, most=True),
        )


def _noisy_tenant(ours: Ours) -> bytes:
    made = ours.command("tenant", "create", "noisy")
    ours.command("tenant", "update", "noisy", "--rate", f"{MAY}/s")
    return _request(urlsplit(made["issuer"]).path, made["client_id"], made["client_secret"])


def _noisy_application(ours: Ours) -> bytes:
    client_id, secret = ours.callers["EdDSA"]
    ours.command("app", "limit", client_id, f"{MAY}/s")
    return _request(ours.base, client_id, secret)


def _request(base: str, client_id: str, secret: str) -> bytes:
    fields = {"Host": "127.0.0.1", "Content-Length": str(len(GRANT)), **basic(client_id, secret)}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {urlsplit(base).path}/token HTTP/1.1\r\n{head}\r\n{GRANT}".encode()


def _connected(ours: Ours) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", int(urlsplit(ours.base).port or 0)), timeout=10)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def _waits(ours: Ours, request: bytes, seconds: int) -> list[float]:
    """Milliseconds of each token. One that is refused makes the run worthless."""
    found: list[float] = []
    with _connected(ours) as connection:
        due = time.perf_counter()
        for _ in range(QUIET * seconds):
            due += random.uniform(0.5, 1.5) / QUIET
            time.sleep(max(0.0, due - time.perf_counter()))
            begun = time.perf_counter()
            connection.sendall(request)
            answer = connection.recv(16_384)
            found.append((time.perf_counter() - begun) * 1_000)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"the quiet one was refused: {answer[:60]!r}")
    return found


@contextmanager
def _noise(ours: Ours, request: bytes) -> Iterator[None]:
    """Ten times as often as it may, whatever it is told."""
    stop = multiprocessing.Event()
    told: multiprocessing.Queue[dict[bytes, float]] = multiprocessing.Queue()
    child = multiprocessing.Process(target=_hammer, args=(ours, request, stop, told), daemon=True)
    child.start()
    try:
        yield
    finally:
        stop.set()
        rates = told.get(timeout=10)
        child.join(10)
    if rates.get(b"429", 0.0) < 5 * MAY:
        raise SystemExit(f"that was no noise: {rates}")


def _hammer(ours: Ours, request: bytes, stop: object, told: multiprocessing.Queue[dict[bytes, float]]) -> None:
    counts: dict[bytes, int] = {}
    hands = [_connected(ours) for _ in range(10)]
    begun = due = time.perf_counter()
    while not stop.is_set():  # type: ignore[attr-defined]
        due += 1 / MAY
        time.sleep(max(0.0, due - time.perf_counter()))
        for hand in hands:
            hand.sendall(request)
        for hand in hands:
            status = hand.recv(16_384)[9:12]
            counts[status] = counts.get(status, 0) + 1
    past = time.perf_counter() - begun
    told.put({status: count / past for status, count in counts.items()})


def _part(waits: list[float], part: float) -> float:
    return sorted(waits)[int(part * len(waits))]
