"""A server behind nginx, HAProxy and Caddy that share its connections among callers: nobody gets another's answer.

Attackers send their heads first and their bodies later; victims ask beside them, and each knows its own answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.attack.requests import CHUNKED, FORM
from tests.interop.gateways import free_port, program, running

ROUNDS = 4
"""Of every attack at every proxy."""
PATH = b"/t/default/token"
WEBSOCKET = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
Through = Callable[[int, Path], AbstractContextManager[str]]


@contextmanager
def direct(upstream: int, folder: Path) -> Iterator[str]:
    """Nothing between."""
    yield f"http://127.0.0.1:{upstream}"


@contextmanager
def nginx(upstream: int, folder: Path) -> Iterator[str]:
    """With the lines that everybody copies for WebSockets, and connections to us that are kept."""
    port, config = free_port(), folder / "nginx.conf"
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    config.write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log stderr; events {{}}\nhttp {{ access_log off;\n{temporary}"
        f"upstream us {{ server 127.0.0.1:{upstream}; keepalive 2; }}\n"
        "map $http_upgrade $wish { default upgrade; '' ''; }\n"
        f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://us; proxy_http_version 1.1;\n"
        "proxy_request_buffering off; proxy_set_header Host $host;\n"
        "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $wish; } } }\n"
    )
    with running([program("nginx"), "-e", "stderr", "-c", str(config)], port, folder) as url:
        yield url


@contextmanager
def haproxy(upstream: int, folder: Path) -> Iterator[str]:
    """Connections to us are anybody's."""
    port, config = free_port(), folder / "haproxy.cfg"
    config.write_text(
        "defaults\n mode http\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n http-reuse always\n"
        f"frontend f\n bind 127.0.0.1:{port}\n default_backend b\n"
        f"backend b\n server s 127.0.0.1:{upstream} pool-max-conn 2\n"
    )
    with running([program("haproxy"), "-db", "-f", str(config)], port, folder) as url:
        yield url


@contextmanager
def caddy(upstream: int, folder: Path) -> Iterator[str]:
    """One line, as its manual has it."""
    port, config = free_port(), folder / "Caddyfile"
    config.write_text(
        "{\n\tadmin off\n\tauto_https off\n}\n"
        f"http://:{port} {{\n\tbind 127.0.0.1\n\treverse_proxy 127.0.0.1:{upstream}\n}}\n"
    )
    command = [program("caddy"), "run", "--config", str(config), "--adapter", "caddyfile"]
    with running(command, port, folder) as url:
        yield url


THROUGH: dict[str, Through] = {"direct": direct, "nginx": nginx, "haproxy": haproxy, "caddy": caddy}


def _asking(name: str) -> bytes:
    """A token request that is refused under its own name."""
    body = b"grant_type=client_credentials&client_id=nobody"
    head = b"POST %b HTTP/1.1\r\nHost: a\r\nX-Request-ID: %b\r\n%bContent-Length: %d\r\n\r\n"
    return head % (PATH, name.encode(), FORM, len(body)) + body


def _attacks() -> dict[str, tuple[bytes, bytes]]:
    """Head and body, by name; the body is a whole request."""
    hidden = _asking("smuggled")
    start = b"POST %b HTTP/1.1\r\nHost: a\r\nX-Request-ID: attacker\r\n%b" % (PATH, FORM)
    length, found = b"Content-Length: %d\r\n\r\n" % len(hidden), {}
    chunks = b"%x\r\n%b\r\n0\r\nX-Request-ID: smuggled\r\nClient-Cert: :AAAA:\r\n\r\n" % (len(hidden), hidden)
    for name, wish in (("", b""), (", websocket", WEBSOCKET), (", h2c", H2C)):
        found[f"length{name}"] = (start + wish + length, hidden)
        found[f"chunks{name}"] = (start + wish + CHUNKED + b"\r\n", chunks)
    return found


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status of the next answer, and the request id in it."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
    fields = dict(line.lower().partition(b": ")[::2] for line in head.split(b"\r\n")[1:])
    await reader.readexactly(int(fields.get(b"content-length", b"0")))
    return int(head.split(b" ", 2)[1]), fields.get(b"x-request-id", b"")


class Victim:
    """A caller who keeps a connection and knows what it asked."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str) -> None:
        self._reader, self._writer, self._name, self._asked = reader, writer, name, 0

    async def wrong(self) -> list[str]:
        """What it got that was not for it."""
        self._asked += 1
        name = f"{self._name}-{self._asked}"
        self._writer.write(_asking(name))
        got = await _answer(self._reader)
        return [] if got == (401, name.encode()) else [f"{name} got {got}"]

    def end(self) -> None:
        """No more of it."""
        self._writer.transport.abort()


async def attacked(port: int, where: str) -> list[str]:
    """What went wrong at this address."""
    wrong: list[str] = []
    victims = [Victim(*await asyncio.open_connection("127.0.0.1", port), f"victim{n}") for n in range(2)]
    for name, (head, body) in _attacks().items():
        for _ in range(ROUNDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for piece in (head, body[:9], body[9:]):
                writer.write(piece)
                for victim in victims:
                    wrong += [f"{where}, {name}: {line}" for line in await victim.wrong()]
            got = await _answer(reader)
            if got[1] != b"attacker":
                wrong.append(f"{where}, {name}: the attacker got {got}")
            writer.transport.abort()
    for victim in victims:
        wrong += await victim.wrong()
        victim.end()
    return wrong


def through(name: str, upstream: int, folder: Path) -> list[str]:
    """What went wrong at a server on that port, through this proxy."""
    folder.mkdir(exist_ok=True)
    with THROUGH[name](upstream, folder) as url:
        return asyncio.run(attacked(int(url.rpartition(":")[2]), name))
