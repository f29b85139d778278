"""Where one request ends and the next begins (RFC 9112), beyond what llhttp looks at.

Whatever two readers of the same bytes could read differently is refused: a proxy before us and we would no longer agree
on whose bytes are whose.
"""

from __future__ import annotations

from typing import Any, Protocol

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

Header = tuple[bytes, bytes]
NOTED = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"expect"})
"""Headers that say how the request is framed, or for whom it is."""
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection"})
_HOST = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:[]%"
_LENGTH_DIGITS = 18
_ENDS = (b"\r", b"\n")


def closing(status: int, said: bytes) -> bytes:
    """A whole answer of this listener's own, after which the connection ends. `said` needs no escapes in JSON."""
    body = b'{"error":"invalid_request","error_description":"%b"}' % said
    head = b"content-type: application/json\r\ncache-control: no-store\r\ncontent-length: %d\r\nconnection: close\r\n"
    return STATUS_LINE[status] + head % len(body) + b"\r\n" + body


NO_HTTP = closing(400, b"this is no HTTP/1.1 request (RFC 9112)")
TOO_LARGE = closing(413, b"the chunks of the body, or the fields after it, are framed by more bytes than they carry")
_HOST_SAID = closing(400, b"send one Host header, with a host in it (RFC 9112 section 3.2)")
_LENGTH_SAID = closing(400, b"Content-Length has more digits than any length of a body")
_CODING_SAID = closing(501, b"of the transfer codings only chunked is understood here (RFC 9112 section 6.1)")
_OLD_CODING_SAID = closing(400, b"an HTTP/1.0 request has no Transfer-Encoding (RFC 9112 section 6.1)")
_TUNNEL_SAID = closing(501, b"no tunnels are made here")


class Refused(Exception):
    """A request that is not read to its end; `answer` is all that its sender gets."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer


def check_head(version: str, method: bytes, noted: list[Header]) -> bool:
    """Whether it asks for another protocol (RFC 9110 section 7.8), which nobody has to grant. Raises `Refused`."""
    if version not in ("1.1", "1.0"):
        raise Refused(NO_HTTP)
    if method == b"CONNECT":
        raise Refused(_TUNNEL_SAID)
    hosts, upgrades = 0, False
    for name, value in noted:
        if name == b"host":
            hosts += 1
            if value.translate(None, _HOST):
                raise Refused(_HOST_SAID)
        elif name == b"content-length":
            if len(value) > _LENGTH_DIGITS:
                raise Refused(_LENGTH_SAID)
        elif name == b"upgrade":
            upgrades = True
        elif name == b"transfer-encoding":
            _check_coding(version, value)
    if hosts != 1 and (hosts or version == "1.1"):
        raise Refused(_HOST_SAID)
    return upgrades


def _check_coding(version: str, value: bytes) -> None:
    if version == "1.0":
        raise Refused(_OLD_CODING_SAID)
    if value.strip(b" \t").lower() != b"chunked":
        raise Refused(_CODING_SAID)


class SlowHead:
    """A long head that comes in small pieces: the parser gets it in large ones.

    It copies what it has of a header with each piece, so that a header of 2 MiB, byte by byte, would keep a worker busy
    for minutes.
    """

    def __init__(self, piece: int) -> None:
        self._piece, self._kept = piece, bytearray()

    def add(self, data: bytes) -> bytes:
        """What the parser gets now; empty: nothing yet. Where the head may end it gets all there is."""
        start = max(0, len(self._kept) - 3)
        self._kept += data
        if len(self._kept) < self._piece and not self._kept.startswith(_ENDS) and self._kept.find(b"\n\r\n", start) < 0:
            return b""
        found, self._kept = bytes(self._kept), bytearray()
        return found


class Reader(Protocol):
    """Who is told what a parser finds."""

    def on_message_begin(self) -> None: ...
    def on_url(self, url: bytes) -> None: ...
    def on_header(self, name: bytes, value: bytes) -> None: ...
    def on_headers_complete(self) -> None: ...
    def on_body(self, body: bytes) -> None: ...
    def on_message_complete(self) -> None: ...


class WithoutUpgrade:
    """Goes on behind a head that asked for another protocol, where llhttp stops and would drop the body.

    A parser of its own gets the framing of that head once more, without the wish; what is in it is not told again.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader, self._told = reader, False
        self.on_body, self.on_message_complete = reader.on_body, reader.on_message_complete

    def parser_behind(self, method: bytes, version: str, noted: list[Header]) -> Any:
        """A parser that expects the body of that request."""
        parser = httptools.HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        lines = [b"%b / HTTP/%b" % (method, version.encode())]
        lines += [b"%b: %b" % header for header in noted if header[0] in _FRAMING]
        parser.feed_data(b"\r\n".join([*lines, b"", b""]))
        return parser

    def on_message_begin(self) -> None:
        """Of the next request."""
        if self._told:
            self._reader.on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Of the next request."""
        if self._told:
            self._reader.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Of the next request."""
        if self._told:
            self._reader.on_header(name, value)

    def on_headers_complete(self) -> None:
        """From here on everything is told."""
        if self._told:
            self._reader.on_headers_complete()
        self._told = True
