"""The dashboard: a third identity that reads Kafka, and one page that is told what it read (server-sent events)."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer
from examples.brokers.kafka import Kafka
from examples.iot.fleet import FLEET

from watchword.client import AccessToken
from watchword.sasl.confluent_kafka import oauth_cb

PAGE = Path(__file__).with_name("board.html")
KEPT, REMEMBERED = 60, 10
"""Measurements of each device, and lines of what happened, for a page that has just been opened."""
WORDS = {"connected": "connected", "refused": "refused", "ended": "connection ended", "out": "locked out"}
Switch = Callable[[str, bool], None]
"""``switch(device, on)``: the operator's doing."""


class Board:
    """What is known of each device, and the pages that want to hear of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pages: set[queue.SimpleQueue[bytes]] = set()
        self._count, self._took = 0, 0.0
        self._happened: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)
        self._devices: dict[str, dict[str, Any]] = {
            one.name: {
                "name": one.name, "title": one.title, "topic": one.topic, "scope": one.scope, "state": "starting",
                "note": "", "enabled": True, "renewals": 0, "refusals": 0, "values": deque(maxlen=KEPT),
            }
            for one in FLEET
        }  # fmt: skip

    def tell(self, name: str, *, renewed: bool = False, refusals: int = 0, **facts: Any) -> None:
        """Something about a device."""
        with self._lock:
            device = self._devices[name]
            before = dict(device)
            device.update(facts)
            device["renewals"] += renewed
            device["refusals"] += refusals
            self._send({"device": {key: value for key, value in device.items() if key != "values"}})
            for text in _told(before, device):
                self._happened.append({"at": time.time(), "text": text})
                self._send({"happened": self._happened[-1]})

    def measured(self, name: str, celsius: float, at: float) -> None:
        """A measurement that came all the way."""
        with self._lock:
            self._devices[name]["values"].append(celsius)
            self._count, self._took = self._count + 1, max(0.0, time.time() - at)
            self._send({"measured": {"name": name, "celsius": celsius}, **self._counted()})

    def listen(self) -> queue.SimpleQueue[bytes]:
        """All that is known, and from now on all that is new."""
        mine: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        with self._lock:
            devices = [{**one, "values": list(one["values"])} for one in self._devices.values()]
            mine.put(_event({"devices": devices, "happened": list(self._happened), **self._counted()}))
            self._pages.add(mine)
        return mine

    def leave(self, mine: queue.SimpleQueue[bytes]) -> None:
        with self._lock:
            self._pages.discard(mine)

    def _counted(self) -> dict[str, float]:
        return {"count": self._count, "took": self._took}

    def _send(self, said: dict[str, Any]) -> None:
        for page in self._pages:
            page.put(_event(said))


def _told(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """What is worth a line."""
    if now["enabled"] != before["enabled"]:
        yield f"The operator {'enables' if now['enabled'] else 'disables'} {now['title']}."
    if now["state"] != before["state"]:
        yield f"{now['title']}: {WORDS[now['state']]}. {now['note']}"
    if now["renewals"] != before["renewals"]:
        yield f"{now['title']}: a newer token, on the live connection."


def _event(said: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(said).encode() + b"\n\n"


@contextmanager
def following(board: Board, source: Callable[[], AccessToken], kafka: Kafka, topic: str) -> Iterator[None]:
    """Kafka's records on the board. librdkafka proves itself again on the live connection with each new token."""
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.devices, "security.protocol": "SASL_PLAINTEXT", "sasl.mechanisms": "OAUTHBEARER",
            "oauth_cb": oauth_cb(source), "group.id": "board", "auto.offset.reset": "earliest",
        }
    )  # fmt: skip
    stopped = threading.Event()

    def follow() -> None:
        while not stopped.is_set():
            record = consumer.poll(0.5)
            if record is not None and record.error() is None:
                body = json.loads(record.value())
                board.measured(record.key().decode(), body["celsius"], body["at"])

    consumer.subscribe([topic])
    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
        consumer.close()


@contextmanager
def page(board: Board, switch: Switch, port: int) -> Iterator[str]:
    """The address of the page. On loopback, and for whoever sits at this machine: it has no login."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/":
                self._answer(200, PAGE.read_bytes(), "text/html; charset=utf-8")
            elif self.path == "/events":
                self._stream()
            else:
                self._answer(404, b"")

        def do_POST(self) -> None:
            """``/devices/NAME/on`` or ``off``; the header keeps other sites' pages from doing it."""
            where, known = self.path.split("/"), {one.name for one in FLEET}
            if self.headers.get("x-board") != "1" or self.headers.get("host") != own:
                self._answer(403, b"")
            elif len(where) == 4 and where[1] == "devices" and where[2] in known and where[3] in ("on", "off"):
                switch(where[2], where[3] == "on")
                self._answer(204, b"")
            else:
                self._answer(404, b"")

        def _answer(self, status: int, body: bytes, kind: str = "text/plain") -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.send_header("content-security-policy", "default-src 'self' 'unsafe-inline'; frame-ancestors 'none'")
            self.end_headers()
            self.wfile.write(body)

        def _stream(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("cache-control", "no-store")
            self.end_headers()
            mine = board.listen()
            try:
                while not stopped.is_set():
                    try:
                        self.wfile.write(mine.get(timeout=0.5))
                    except queue.Empty:
                        self.wfile.write(b": still here\n\n")
            except OSError:
                pass  # the page was closed
            finally:
                board.leave(mine)

        def log_message(self, *_: object) -> None:
            """Nothing is said."""

    stopped = threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        own, server.daemon_threads = f"127.0.0.1:{server.server_port}", False
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{own}/"
        finally:
            stopped.set()
            server.shutdown()
            thread.join()
