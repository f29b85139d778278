"""One connection of a caller: uvicorn's HTTP/1.1 over httptools, with less work a request and bounds on what it holds.

What differs from uvicorn's own protocol, and why:

- An answer whose length is known leaves in one write. Two writes are two system calls, and two packets (decision 0041).
- The head of a request is bounded in bytes and in time. llhttp bounds neither, and uvicorn bounds neither.
- One timer a connection, looked at every few seconds, in place of one made and cancelled for each request.
- A connection above the ceiling (`limit_concurrency`) is told to come again before its request is looked at; uvicorn
  counts answers that are being made, which the application does itself (server/http/door.py).
- The certificate of a caller on our own TLS listener is in the scope, under the ASGI extension `tls`.
"""

from __future__ import annotations

import asyncio
import random
import socket
import sys
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from watchword.server.http.door import TOO_LATE

HEAD_BYTES, HEAD_COUNT = 2_097_152, 1_000
"""Request line and headers together, and how many. Far above what the application takes (server/http/wire.py), so that
its refusal, which says why, comes first; these bounds are for those who never stop."""
HEAD_SECONDS = 10.0
"""From the first byte of a request, or from the connection, to the end of its headers."""
WATCH_SECONDS = 5.0
"""How often a connection is looked at: it outlives its limits by at most this."""
_LAST_DATA_RECEIVED = 52
"""Where `struct tcp_info` of Linux keeps the milliseconds since the last bytes came in, in 4 bytes; its first is the
connection's state."""
_ENDED = (7, 8)
"""TCP_CLOSE and TCP_CLOSE_WAIT: the caller has ended it."""

RESERVE = 100
"""Connections above the ceiling for those who ask whether we live: no answer would have us restarted in the storm."""
SPREAD = (2, 12)
"""Seconds after which those above the ceiling are to come again, by chance."""
_BUSY = b'{"error":"temporarily_unavailable","error_description":"too many connections; ask again after Retry-After"}'

_SAID = b'{"error":"invalid_request","error_description":"this is no HTTP/1.1 request (RFC 9112)"}'
_NO_HTTP = STATUS_LINE[400] + (
    b"content-type: application/json\r\ncache-control: no-store\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
) % (len(_SAID), _SAID)

Message = dict[str, Any]


class HeadTooLarge(Exception):
    """A caller sends headers without end."""


class OneWrite(RequestResponseCycle):
    """A request and its answer. The start of the answer waits for its body."""

    _start: Message | None = None
    _streams = False

    async def send(self, message: Message) -> None:  # type: ignore[override]
        """ASGI `send`. An answer in pieces, and one to HEAD, goes uvicorn's way.

        Until the body comes nothing is written: an application that fails between the two is answered for with a 500,
        not with half an answer.
        """
        if self._streams:
            return await super().send(message)  # type: ignore[arg-type]
        if message["type"] == "http.response.start" and not self.response_complete:
            self._start = message
            return None
        if self._start is None or message.get("more_body") or self.scope["method"] == "HEAD":
            return await self._in_pieces(message)
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if not self.disconnected:
            self._whole(self._start, message.get("body", b""))
        return None

    async def receive(self) -> Message:  # type: ignore[override]
        """ASGI `receive`. A body that is there already is handed over without waiting for it."""
        if self.more_body or not self.message_event.is_set() or self.disconnected or self.response_complete:
            return await super().receive()  # type: ignore[return-value]
        self.message_event.clear()
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": False}

    async def _in_pieces(self, message: Message) -> None:
        self._streams = True
        if self._start is not None:
            await super().send(self._start)  # type: ignore[arg-type]
        await super().send(message)  # type: ignore[arg-type]

    def _whole(self, start: Message, body: bytes) -> None:
        head, closes = _head(start, len(body), self.default_headers)
        if closes:
            self.keep_alive = False
        elif not self.keep_alive:
            head = head[:-2] + b"connection: close\r\n\r\n"
        self.response_started = True
        self.waiting_for_100_continue = False
        self.transport.write(head + body)
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


def _head(start: Message, length: int, default: list[tuple[bytes, bytes]]) -> tuple[bytes, bool]:
    """Status line and headers, and whether they end the connection.

    Raises `RuntimeError` when a header would be more than one line, or tells another length than the body has.
    """
    parts = [STATUS_LINE[start["status"]]]
    told, closes = -1, False
    headers = [*default, *start["headers"]] if default else start["headers"]
    for name, value in headers:
        if name == b"content-length":
            told = int(value)
        elif name == b"connection":
            closes = b"close" in value.lower()
        parts += (name, b": ", value, b"\r\n")
    if told < 0:
        parts.append(b"content-length: %d\r\n" % length)
    elif told != length:
        raise RuntimeError("the answer's Content-Length is not its length")
    parts.append(b"\r\n")
    head = b"".join(parts)
    lines = len(headers) + 2 + (told < 0)
    if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head:
        raise RuntimeError("a header of the answer is more than one line")
    return head, closes


class Connection(HttpToolsProtocol):
    """What uvicorn serves each connection with (its `http` setting)."""

    _tls: Message | None = None
    _watch: asyncio.TimerHandle | None = None
    _deadline: float | None = None
    _head_size = 0
    _above = False
    _read_before = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The handshake is over: the certificate is known for as long as the connection lives."""
        super().connection_made(transport)
        self._above = len(self.connections) > (self.limit_concurrency or len(self.connections))
        connection = transport.get_extra_info("ssl_object")
        der = connection.getpeercert(binary_form=True) if connection is not None else None
        self._tls = {"tls": {"client_cert": der}} if der else None
        self._root = self.root_path.encode("ascii")
        self._deadline = self.loop.time() + HEAD_SECONDS
        self._watch = self.loop.call_later(WATCH_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is left that could fire."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        """Close a connection that lets its time pass: no head, or no next request."""
        if self.transport.is_closing():
            return
        if self._deadline is not None and self.loop.time() >= self._deadline:
            self.transport.close()
            return
        self._watch = self.loop.call_later(WATCH_SECONDS, self._look)

    def data_received(self, data: bytes) -> None:
        """Bytes of a caller. What is no HTTP is refused, and what never ends.

        Bytes are counted here: the parser keeps a header to itself until it is whole.
        """
        if self._deadline is not None:
            if self._above and not self._asks_for_health(data):
                return self._turn_away()
            if not self._read_before and self._too_late(data):
                return None
            self._head_size += len(data)
            if self._head_size > HEAD_BYTES:
                return self._refuse_head()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._unsupported_upgrade_warning()
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, HeadTooLarge):
                self._refuse_head()
            else:
                self.send_400_response("Invalid HTTP request received.")
        return None

    def _asks_for_health(self, data: bytes) -> bool:
        line = data.partition(b"\r")[0]
        asks = b"/health/" in line or b"/metrics" in line
        return asks and len(self.connections) <= (self.limit_concurrency or 0) + RESERVE

    def _too_late(self, data: bytes) -> bool:
        """Whether its first bytes lay in the kernel too long; then it is answered."""
        self._read_before = True
        judge, info = self.app_state.get(TOO_LATE), _tcp_info(self.transport)
        answer = judge(*info, data) if judge is not None and info is not None else None
        if answer is None:
            return False
        self.transport.write(answer)
        self.transport.close()
        return True

    def _turn_away(self) -> None:
        """RFC 9110 section 15.6.4."""
        head = b"content-type: application/json\r\ncache-control: no-store\r\ncontent-length: %d\r\n" % len(_BUSY)
        again = b"retry-after: %d\r\nconnection: close\r\n\r\n" % random.randint(*SPREAD)
        self.transport.write(STATUS_LINE[503] + head + again + _BUSY)
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is refused as every other request is: in JSON, and not to be kept."""
        self.logger.info(msg)
        self.transport.write(_NO_HTTP)
        self.transport.close()

    def _refuse_head(self) -> None:
        """RFC 6585 section 5."""
        self.transport.write(STATUS_LINE[431] + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()

    def on_message_begin(self) -> None:
        """A scope of its own for each request; what one handler puts in is not seen by the next."""
        super().on_message_begin()
        self._head_size, self._deadline = 0, self.loop.time() + HEAD_SECONDS
        if self._tls is not None:
            self.scope["extensions"] = {**self._tls}

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; parsed, not yet judged."""
        if len(self.headers) >= HEAD_COUNT:
            raise HeadTooLarge
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole: the application may begin, unless an earlier request of this connection is unanswered."""
        self._deadline = None
        version = self.parser.get_http_version()
        self._fill_scope(version)
        earlier = self.cycle
        self.cycle = OneWrite(
            scope=self.scope, transport=self.transport, flow=self.flow, logger=self.logger,
            access_logger=self.access_logger, access_log=self.access_log,
            default_headers=self.server_state.default_headers, message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(), on_response=self.on_response_complete,
        )  # fmt: skip
        if earlier is None or earlier.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _fill_scope(self, version: str) -> None:
        scope = self.scope
        scope["method"] = self.parser.get_method().decode("ascii")
        if version != "1.1":
            scope["http_version"] = version
        url = self.url
        if url.startswith(b"/") and not (b"?" in url or b"%" in url or b"#" in url):
            path, query = url, b""
        else:
            parsed = httptools.parse_url(url)
            path, query = parsed.path, parsed.query or b""
        scope["raw_path"] = self._root + path
        scope["path"] = self.root_path + _decoded(path)
        scope["query_string"] = query

    def on_response_complete(self) -> None:
        """Answered: the next request of this connection, or the wait for it."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._deadline = self.loop.time() + self.timeout_keep_alive


def _tcp_info(transport: asyncio.Transport) -> tuple[float, bool] | None:
    """Seconds that a new connection's first bytes lay in the kernel, and whether its caller has ended it since.

    None where nobody says. A loop that is busy accepts late (libuv: one connection a turn), and what waits there is in
    nobody's count.
    """
    own = transport.get_extra_info("socket") if sys.platform == "linux" else None
    if own is None or own.family == socket.AF_UNIX:
        return None
    told = own.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_RECEIVED + 4)
    return int.from_bytes(told[_LAST_DATA_RECEIVED:], sys.byteorder) / 1_000, told[0] in _ENDED


def _decoded(path: bytes) -> str:
    text = path.decode("ascii")
    return unquote(text) if "%" in text else text
