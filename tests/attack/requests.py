"""Requests that two readers of the same bytes could read differently, and what each has to be answered with.

Each has a body that looks like a request; no server may ever act on that one.
"""

from __future__ import annotations

from dataclasses import dataclass

HOST = b"Host: 127.0.0.1\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
HIDDEN = b"GET /smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\n" + HOST + b"\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(HIDDEN)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"7\r\n" + HIDDEN[:7] + b"\r\n%x;a=b\r\n" % len(HIDDEN[7:]) + HIDDEN[7:] + b"\r\n0\r\n\r\n"
TRAILED = CHUNKS[:-2] + b"Authorization: Bearer stolen\r\nClient-Cert: :AAAA:\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n"


@dataclass(frozen=True)
class Sent:
    """Bytes of one connection, and the statuses they get when all of them arrive at once."""

    name: str
    data: bytes
    statuses: tuple[int, ...]


def _post(*headers: bytes, body: bytes = HIDDEN, version: bytes = b"1.1") -> bytes:
    return b"POST /first HTTP/" + version + b"\r\n" + b"".join(headers) + b"\r\n" + body


def _upgrades() -> list[Sent]:
    wishes = {
        "websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
        "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "unknown": b"Upgrade: x/1\r\nConnection: keep-alive, upgrade\r\n",
        "empty": b"Connection: upgrade\r\nUpgrade:\r\n",
        "unasked": b"Upgrade: h2c\r\n",
    }
    found = []
    for name, wish in wishes.items():
        found += [
            Sent(f"upgrade {name}, length", _post(HOST, wish, LENGTH) + NEXT, (200, 200)),
            Sent(f"upgrade {name}, chunks", _post(HOST, wish, CHUNKED, body=CHUNKS) + NEXT, (200, 200)),
            Sent(f"upgrade {name}, trailers", _post(HOST, wish, CHUNKED, body=TRAILED) + NEXT, (200, 200)),
            Sent(f"upgrade {name}, no body", _post(HOST, wish, b"Content-Length: 0\r\n", body=b"") + NEXT, (200, 200)),
            Sent(f"upgrade {name}, twice", 2 * _post(HOST, wish, LENGTH) + NEXT, (200, 200, 200)),
            Sent(f"upgrade {name}, bad chunk", _post(HOST, wish, CHUNKED, body=b"zz\r\n" + HIDDEN), (400,)),
        ]
    return found


SENT = [
    Sent("length", _post(HOST, LENGTH) + NEXT, (200, 200)),
    Sent("chunks", _post(HOST, CHUNKED, body=CHUNKS) + NEXT, (200, 200)),
    Sent("trailers", _post(HOST, CHUNKED, body=TRAILED) + NEXT, (200, 200)),
    *_upgrades(),
    Sent("upgrade and close", _post(HOST, b"Connection: upgrade, close\r\nUpgrade: x\r\n", LENGTH) + NEXT, (200,)),
    Sent("upgrade of 1.0", _post(HOST, b"Connection: upgrade\r\nUpgrade: x\r\n", LENGTH, version=b"1.0"), (200,)),
    Sent("two hosts", _post(HOST, HOST, LENGTH) + NEXT, (400,)),
    Sent("no host", _post(LENGTH) + NEXT, (400,)),
    Sent("a path for a host", _post(b"Host: a/b\r\n", LENGTH) + NEXT, (400,)),
    Sent("no host in 1.0", _post(LENGTH, version=b"1.0"), (200,)),
    Sent("two lengths", _post(HOST, LENGTH, LENGTH) + NEXT, (400,)),
    Sent("length and chunks", _post(HOST, LENGTH, CHUNKED, body=CHUNKS) + NEXT, (400,)),
    Sent("chunks and length", _post(HOST, CHUNKED, LENGTH, body=CHUNKS) + NEXT, (400,)),
    Sent("chunks twice", _post(HOST, CHUNKED, CHUNKED, body=CHUNKS) + NEXT, (400,)),
    Sent("gzip, chunked", _post(HOST, b"Transfer-Encoding: gzip, chunked\r\n", body=CHUNKS) + NEXT, (501,)),
    Sent("chunks of 1.0", _post(HOST, CHUNKED, body=CHUNKS, version=b"1.0") + NEXT, (400,)),
    Sent("1001 digits", _post(HOST, b"Content-Length: %b1\r\n" % (b"0" * 1000), body=b"a") + NEXT, (400,)),
    Sent("a signed length", _post(HOST, b"Content-Length: +5\r\n") + NEXT, (400,)),
    Sent("a folded header", _post(HOST, b"A: b\r\n c\r\n", LENGTH) + NEXT, (400,)),
    Sent("a space before the colon", _post(HOST, b"Content-Length : 5\r\n") + NEXT, (400,)),
    Sent("bare LF", _post(HOST, LENGTH).replace(b"\r\n", b"\n"), (400,)),
    Sent("HTTP/0.9", b"GET /first\r\n\r\n", (400,)),
    Sent("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400,)),
    Sent("version 2.0", b"GET /first HTTP/2.0\r\n" + HOST + b"\r\n", (400,)),
    Sent("a tunnel", b"CONNECT a:443 HTTP/1.1\r\n" + HOST + b"\r\n" + HIDDEN, (501,)),
    Sent("five ahead", NEXT * 5, (200,) * 5),
    Sent("a request, then garbage", NEXT + b"\x16\x03\x01 garbage\r\n\r\n", (200, 400)),
    Sent("a request, then a broken body", NEXT + _post(HOST, CHUNKED, body=b"zz\r\n"), (200, 400)),
    Sent("no body at once", _post(HOST, b"Expect: 100-continue\r\n", LENGTH) + NEXT, (200, 200)),
]
