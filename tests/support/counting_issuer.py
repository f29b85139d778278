"""A real HTTP server on loopback that plays issuer and API, counts what it is asked and answers what a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """One answer."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})


def token(n: int, **more: Any) -> Reply:
    """A token with the number of its request in it."""
    body = {"access_token": f"token-{n}", "token_type": "Bearer", "expires_in": 300, **more}
    return Reply(200, json.dumps(body).encode())


class CountingIssuer:
    """`url` is the issuer; `asked` the token requests' headers and bodies; `called` what reached ``/api``."""

    def __init__(self, server: ThreadingHTTPServer, answer: Callable[[int], Reply] | None) -> None:
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        self.answer = answer or token
        self.asked: list[tuple[dict[str, str], bytes]] = []
        self.called: list[str] = []
        self.good: str | None = None
        self.redirect: str | None = None
        self._lock = threading.Lock()

    def get(self, path: str, headers: dict[str, str]) -> Reply:
        if path.startswith("/.well-known/oauth-authorization-server"):
            issuer = self.url + path.removeprefix("/.well-known/oauth-authorization-server")
            return Reply(200, json.dumps({"issuer": issuer, "token_endpoint": f"{self.url}/token"}).encode())
        with self._lock:
            self.called.append(headers.get("authorization", ""))
        if path == "/moved" and self.redirect:
            return Reply(302, headers={"location": self.redirect})
        return Reply(200 if self.called[-1] == f"Bearer {self.good}" else 401, b"{}")

    def post(self, path: str, headers: dict[str, str], body: bytes) -> Reply:
        if path != "/token":
            return self.get(path, headers)
        with self._lock:
            self.asked.append((headers, body))
            number = len(self.asked)
        return self.answer(number)


class _Server(ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = True


@contextmanager
def counting_issuer(answer: Callable[[int], Reply] | None = None) -> Iterator[CountingIssuer]:
    """The server, listening until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(issuer.get(self.path, self._headers()))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            self._reply(issuer.post(self.path, self._headers(), body))

        def _headers(self) -> dict[str, str]:
            return {name.lower(): value for name, value in self.headers.items()}

        def _reply(self, reply: Reply) -> None:
            self.send_response_only(reply.status)
            for name, value in {"content-length": str(len(reply.body)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: object) -> None:
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    issuer = CountingIssuer(server, answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
