"""A request and its answer, for `connection.py`: uvicorn's cycle with one write an answer (decision 0041)."""

from __future__ import annotations

import secrets
from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from watchword.server.http.wire import encode_json, request_id_of

_log = structlog.get_logger("watchword.http")
Message = dict[str, Any]


def _nothing() -> None:
    """An answer is told once."""


class OneWrite(RequestResponseCycle):
    """A request and its answer. The start of the answer waits for its body."""

    _start: Message | None = None
    _streams = False

    async def run_asgi(self, app: Any) -> None:
        """Whatever happens, a request gets one complete answer without internals in it; the log has the rest."""
        try:
            await app(self.scope, self.receive, self.send)
        except BaseException as error:
            await self._failed(error)
        else:
            if not self.response_complete and not self.disconnected:
                await self._failed(RuntimeError("the application did not complete its answer"))
        finally:
            self.on_response = _nothing
            self.scope = {}  # type: ignore[typeddict-item] # what an idle connection need not keep

    async def _failed(self, error: BaseException) -> None:
        """One line in the log, and a 500 that names it, where no answer has begun."""
        request_id = request_id_of(list(self.scope["headers"])) or secrets.token_hex(8)
        path = str(self.scope["path"])[:200]
        _log.error("internal error", path=path, request_id=request_id, exc_info=error)
        if self.response_started or self.disconnected:
            self.transport.close()
        else:
            self._start, self._streams = None, False
            await self._answer_failure(request_id)

    async def _answer_failure(self, request_id: str) -> None:
        """RFC 9110 section 15.6.1."""
        told = f"internal error; the server's log says more under request id {request_id}"
        body = encode_json({"error": "server_error", "error_description": told})
        headers = [
            (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"), (b"x-request-id", request_id.encode()), (b"connection", b"close"),
        ]  # fmt: skip
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

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
