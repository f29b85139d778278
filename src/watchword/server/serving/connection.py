"""One connection of a caller: uvicorn's HTTP/1.1 over httptools, with less work a request and bounds on what it holds.

What differs from uvicorn's own protocol, and why:

- An answer whose length is known leaves in one write (`cycle.py`).
- No byte of one request becomes part of another, whatever the headers say and however the bytes are split: `Upgrade`
  changes nothing, trailer fields are dropped, and what several readers could read differently is refused
  (`framing.py`, decision 0071).
- The head of a request is bounded in bytes and in time. llhttp bounds neither, and uvicorn bounds neither.
- A caller that sends requests ahead gets its answers in their order, a refusal of what came last included.
- One timer a connection, looked at every few seconds, in place of one made and cancelled for each request.
- A connection above the ceiling (`crowd.py`) is told to come again before its request is looked at; uvicorn counts
  answers that are being made, which the application does itself (server/http/door.py).
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
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from watchword.server.http.door import TOO_LATE

from .crowd import Crowd, Member
from .cycle import OneWrite
from .framing import NO_HTTP, NOTED, TOO_LARGE, Header, Refused, SlowHead, WithoutUpgrade, check_head, closing

HEAD_BYTES, HEAD_COUNT = 2_097_152, 1_000
"""Request line and headers together, and how many. Far above what the application takes (server/http/wire.py), so that
its refusal, which says why, comes first; these bounds are for those who never stop."""
BETWEEN_BYTES = 65_536
"""Bytes that frame a body (chunk sizes, their extensions, trailer fields) without a byte of the body among them."""
HEAD_SECONDS = 10.0
"""From the first byte of a request, or from the connection, to the end of its headers."""
WATCH_SECONDS = 5.0
"""How often a connection is looked at: it outlives its limits by at most this."""
SCARCE_SECONDS = 5.0
"""What an idle connection gets in place of the keep-alive time when connections are scarce."""
AT_ONCE = 4_096
"""Bytes that the parser gets at once: it cannot stop in them, and each request in them is kept until its turn."""
_LINE = 1_024
"""Bytes in which a request line is looked for above the ceiling."""
_LAST_DATA_RECEIVED = 52
"""Where `struct tcp_info` of Linux keeps the milliseconds since the last bytes came in, in 4 bytes; its first is the
connection's state."""
_ENDED = (7, 8)
"""TCP_CLOSE and TCP_CLOSE_WAIT: the caller has ended it."""

SPREAD = (2, 12)
"""Seconds after which those above the ceiling are to come again, by chance."""
_BUSY = b'{"error":"temporarily_unavailable","error_description":"too many connections; ask again after Retry-After"}'

_HEAD_SAID = closing(431, b"the request line and the headers are too long")
Message = dict[str, Any]


class Connection(HttpToolsProtocol):
    """What uvicorn serves each connection with (its `http` setting). `cycle` is the newest request's."""

    crowd: Crowd | None = None
    """The other connections of this worker (`listener.py` sets it)."""
    came_from: Member | None = None
    """Who held its place during its handshake."""
    _tls: Message | None = None
    _watch: asyncio.TimerHandle | None = None
    _deadline: float | None = None
    _idle = False
    _head_size = _fed = _between = 0
    _above = _read_before = _upgrades = _in_head = _tls_on = False
    _first = _held = b""
    _slow: SlowHead | None = None
    _last: bytes | None = None
    """What is written after the answers that are due: nothing that comes is read any more."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The handshake is over: the certificate is known for as long as the connection lives."""
        super().connection_made(transport)
        if self.crowd is not None:
            self._above = self.crowd.enter(self, self.client[0] if self.client else "", self.came_from)
            self.came_from = None
            if self.crowd.overrun:
                return transport.close()
        connection = transport.get_extra_info("ssl_object")
        der = connection.getpeercert(binary_form=True) if connection is not None else None
        self._tls = {"tls": {"client_cert": der}} if der else None
        self._tls_on = connection is not None
        self._root = self.root_path.encode("ascii")
        self._deadline = self.loop.time() + HEAD_SECONDS
        self._watch = self.loop.call_later(WATCH_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is left that could fire."""
        if self._watch is not None:
            self._watch.cancel()
        if self.crowd is not None:
            self.crowd.leave(self)
        self.pipeline.clear()
        super().connection_lost(exc)

    @property
    def idle(self) -> bool:
        """Whether it waits for its next request."""
        return self._idle

    def close(self) -> None:
        """Its place is needed for another."""
        self.transport.close()

    def _look(self) -> None:
        """Close a connection that lets its time pass: no head, or no next request."""
        if self.transport.is_closing():
            return
        if self._deadline is not None and self.loop.time() >= self._deadline - self._too_much():
            self.transport.close()
            return
        self._watch = self.loop.call_later(WATCH_SECONDS, self._look)

    def _too_much(self) -> float:
        """Seconds by which the keep-alive time is too long just now."""
        if not self._idle or self.crowd is None or not self.crowd.scarce:
            return 0.0
        return max(0.0, self.timeout_keep_alive - SCARCE_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Bytes of a caller. What is no HTTP is refused, and what never ends.

        Bytes are counted here: the parser keeps a header to itself until it is whole.
        """
        if self._last is not None:
            return
        if self._deadline is not None:
            self._head_size += len(data)
            if self._above or not self._read_before or self._head_size > BETWEEN_BYTES:
                data = self._looked_over(data)
                if not data:
                    return
        if self._deadline is None or self._held or self.pipeline or len(data) > AT_ONCE:
            self._held = self._held + data if self._held else data
            self._feed_held()
        else:
            self._feed(data)

    def _looked_over(self, data: bytes) -> bytes:
        """What of it the parser gets now: of the first bytes of a connection, and of a head that is long."""
        if self._head_size > HEAD_BYTES:
            self._refuse(_HEAD_SAID)
            return b""
        if self._above and not self._may_come_in(data):
            return b""
        data, self._first = self._first + data, b""
        if not self._read_before and self._too_late(data):
            return b""
        if self._head_size > BETWEEN_BYTES:
            self._slow = self._slow or SlowHead(BETWEEN_BYTES)
            data = self._slow.add(data)
        return data

    def _may_come_in(self, data: bytes) -> bool:
        """Judges a connection above the ceiling by its first line, once that is there."""
        line, ended, _ = (self._first + data).partition(b"\n")
        if not ended and len(line) < _LINE:
            self._first = line
            return False
        if _asks_for_health(line):
            self._above = False
            return True
        self._turn_away()
        return False

    def _feed_held(self) -> None:
        """In pieces, and only while no request waits for its turn; else nothing more is read until then."""
        held, start = self._held, 0
        while start < len(held) and not self.pipeline and self._last is None and not self.transport.is_closing():
            enough = min(max(AT_ONCE, self._fed), BETWEEN_BYTES) if self._in_head else AT_ONCE
            piece = held[start : start + enough]
            start += len(piece)
            self._fed += len(piece)
            if self._deadline is None:
                self._between += len(piece)
            self._feed(piece)
            if self._deadline is None and self._between > BETWEEN_BYTES:
                self._refuse(TOO_LARGE)
        self._held = held[start:] if self._last is None else b""
        if self._held:
            self.flow.pause_reading()

    def _feed(self, data: bytes | memoryview) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = memoryview(data)[upgrade.args[0] :]
                self._upgrades = False
                method, version = self.scope["method"].encode(), self.scope["http_version"]
                self.parser = WithoutUpgrade(self).parser_behind(method, version, self._noted)
                if data:
                    continue
            except httptools.HttpParserError as error:
                found = error.__context__
                self._refuse(found.answer if isinstance(found, Refused) else NO_HTTP)
            return

    def _refuse(self, answer: bytes) -> None:
        """End the connection with this, after the answers to what came before it. Nothing that comes is read any more.

        Of a request whose end did not come, and which is answered already, nothing more is said.
        """
        if self._last is not None:
            return
        self._last, self._held, self._deadline = answer, b"", None
        cycle = self.cycle
        if cycle is not None and cycle.more_body:
            if self.pipeline and self.pipeline[0][0] is cycle:
                self.pipeline.popleft()
            else:
                self._last = b"" if cycle.response_started else answer
                self._give_up(cycle)
        if cycle is None or cycle.response_complete or cycle.disconnected:
            self._end()

    def _give_up(self, cycle: RequestResponseCycle) -> None:
        """Its handler waits for a body that does not come."""
        if not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()

    def _end(self) -> None:
        if self._last:
            self.transport.write(self._last)
        self.transport.close()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Its caller says nothing more, and may wait for answers still (RFC 9112 section 9.6).

        Over TLS no loop lets us answer then.
        """
        self._refuse(b"")
        return None if self._tls_on or self.transport.is_closing() else True

    def _too_late(self, data: bytes) -> bool:
        """Whether its first bytes lay in the kernel too long; then it is answered."""
        self._read_before = True
        judge, info = self.app_state.get(TOO_LATE), _tcp_info(self.transport)
        answer = judge(*info, data) if judge is not None and info is not None else None
        if answer is None:
            return False
        self._last = answer
        self._end()
        return True

    def _turn_away(self) -> None:
        """RFC 9110 section 15.6.4."""
        head = b"content-type: application/json\r\ncache-control: no-store\r\ncontent-length: %d\r\n" % len(_BUSY)
        again = b"retry-after: %d\r\nconnection: close\r\n\r\n" % random.randint(*SPREAD)
        self._last = STATUS_LINE[503] + head + again + _BUSY
        self._end()

    def on_message_begin(self) -> None:
        """A scope of its own for each request; what one handler puts in is not seen by the next."""
        super().on_message_begin()
        self._head_size, self._fed, self._deadline = 0, 0, self.loop.time() + HEAD_SECONDS
        self._in_head, self._idle = True, False
        self._noted: list[Header] = []
        if self._tls is not None:
            self.scope["extensions"] = {**self._tls}

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; parsed, not yet judged. What comes behind the body is dropped (RFC 9110 section 6.5.1)."""
        if not self._in_head:
            return
        if len(self.headers) >= HEAD_COUNT:
            raise Refused(_HEAD_SAID)
        name = name.lower()
        if name in NOTED:
            self._noted.append((name, value))
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is whole: the application may begin, unless an earlier request of this connection is unanswered."""
        parser = self.parser
        version = parser.get_http_version()
        self._upgrades = check_head(version, parser.get_method(), self._noted) and parser.should_upgrade()
        self._in_head, self._deadline, self._slow, self._between = False, None, None, 0
        self._fill_scope(version)
        earlier = self.cycle
        self.cycle = OneWrite(
            scope=self.scope, transport=self.transport, flow=self.flow, logger=self.logger,
            access_logger=self.access_logger, access_log=self.access_log,
            default_headers=self.server_state.default_headers, message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and parser.should_keep_alive(), on_response=self.on_response_complete,
        )  # fmt: skip
        if earlier is None or earlier.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        """Of the newest request. What is behind its answer is dropped."""
        self._between, cycle = 0, self.cycle
        if not cycle.response_complete:
            cycle.body += body
            if len(cycle.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            cycle.message_event.set()

    def on_message_complete(self) -> None:
        """The newest request is whole: not yet, where llhttp takes what follows for another protocol."""
        if not self._upgrades:
            cycle = self.cycle
            cycle.more_body = False
            cycle.message_event.set()

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
            return None
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._last is not None:
            return self._end()
        elif not self._in_head:
            self._deadline, self._idle = self.loop.time() + self.timeout_keep_alive, True
            self.headers = self._noted = []
        if self._held and not self.pipeline:
            self._feed_held()


def _asks_for_health(line: bytes) -> bool:
    path = b"".join(line.split(b" ", 2)[1:2]).partition(b"?")[0]
    return path.endswith((b"/health/live", b"/health/ready", b"/metrics"))


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
