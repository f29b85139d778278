"""One connection, byte by byte: what a caller gets, and what a caller cannot do to us.

The protocol runs over a transport that keeps what was written and a clock that the tests move.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
from typing import Any

import pytest
from tests.support.wire import App, Caller, Message, Send

from watchword.server.http.door import TOO_LATE
from watchword.server.serving.connection import HEAD_BYTES, HEAD_COUNT, HEAD_SECONDS, WATCH_SECONDS

GET = b"GET /a HTTP/1.1\r\nhost: h\r\n\r\n"
START: Message = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
BODY: Message = {"type": "http.response.body", "body": b"ok"}
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def answering(*messages: Message) -> App:
    """Says these for every request."""

    async def app(scope: Message, receive: Any, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


async def test_an_answer_is_one_write() -> None:
    """Each token would cost a second system call and a second packet."""
    assert await Caller(answering(START, BODY)).send(GET) == [ANSWER]


async def test_a_missing_length_is_told() -> None:
    """A caller would wait for the end of an answer that never says how long it is."""
    written = await Caller(answering({**START, "headers": []}, BODY)).send(GET)
    assert written == [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"]


async def test_an_answer_in_pieces() -> None:
    """An export that does not fit into memory could not be sent."""
    pieces = ({**BODY, "more_body": True}, BODY)
    written = await Caller(answering({**START, "headers": []}, *pieces)).send(GET)
    assert b"".join(written) == (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n2\r\nok\r\n0\r\n\r\n"
    )


async def test_head_has_no_body() -> None:
    """What follows an answer to HEAD would be read as the next answer."""
    written = await Caller(answering(START, BODY)).send(GET.replace(b"GET", b"HEAD"))
    assert b"".join(written) == ANSWER.removesuffix(b"ok")


@pytest.mark.parametrize(
    ("headers", "leaked"),
    [
        ([(b"x-request-id", b"a\r\nset-cookie: b"), (b"content-length", b"2")], b"set-cookie"),
        ([(b"x-request-id", b"a\nset-cookie: b"), (b"content-length", b"2")], b"set-cookie"),
        ([(b"x-other", b"a\rb"), (b"content-length", b"2")], b"x-other"),
        ([(b"x-other", b"a\0b"), (b"content-length", b"2")], b"x-other"),
        ([(b"content-length", b"3")], b"ok"),
        ([(b"content-length", b"1")], b"ok"),
    ],
)
async def test_an_answer_that_would_be_read_as_two(headers: list[tuple[bytes, bytes]], leaked: bytes) -> None:
    """Whoever gets a newline into a header, or a length wrong, would write the next caller's answer."""
    caller = Caller(answering({**START, "headers": headers}, BODY))
    written = b"".join(await caller.send(GET))
    assert written.startswith(b"HTTP/1.1 500 ")
    assert leaked not in written.replace(b"token", b"")
    assert caller.wire.closed


async def test_a_failure_between_head_and_body() -> None:
    """A caller would take half an answer for a 200."""

    async def app(scope: Message, receive: Any, send: Send) -> None:
        await send(START)
        raise ZeroDivisionError

    written = b"".join(await Caller(app).send(GET))
    assert written.startswith(b"HTTP/1.1 500 ")
    assert b"200" not in written


async def test_a_head_without_a_body() -> None:
    """A handler that forgets its body would leave the caller waiting."""
    written = b"".join(await Caller(answering(START)).send(GET))
    assert written.startswith(b"HTTP/1.1 500 ")


async def test_many_requests_of_one_connection() -> None:
    """Callers that keep a connection, or send ahead, would get answers in the wrong order or none."""
    paths: list[str] = []

    async def app(scope: Message, receive: Any, send: Send) -> None:
        paths.append(scope["path"])
        body = scope["path"].encode()
        await send({**START, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({**BODY, "body": body})

    caller = Caller(app)
    await caller.send(GET, GET.replace(b"/a", b"/b") + GET.replace(b"/a", b"/c"))
    written = b"".join(await caller.send(GET.replace(b"/a", b"/%64?q=1")))
    assert paths == ["/a", "/b", "/c", "/d"]
    assert [written.index(path.encode()) for path in paths] == sorted(written.index(path.encode()) for path in paths)
    assert not caller.wire.closed


@pytest.mark.parametrize(
    "request_", [b"GET /a HTTP/1.0\r\n\r\n", b"GET /a HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"]
)
async def test_the_last_request_of_a_connection(request_: bytes) -> None:
    """A caller that says it is the last would wait for the connection to end."""
    caller = Caller(answering(START, BODY))
    assert await caller.send(request_) == [ANSWER.replace(b"\r\n\r\nok", b"\r\nconnection: close\r\n\r\nok")]
    assert caller.wire.closed


async def test_an_answer_ends_the_connection() -> None:
    """A body that was refused for its size would be read as the next request."""
    headers = [(b"content-length", b"2"), (b"connection", b"close")]
    caller = Caller(answering({**START, "headers": headers}, BODY))
    await caller.send(GET)
    assert caller.wire.closed


async def test_what_the_application_sees() -> None:
    """A path or a query would reach the handlers in another form than the one that was authorised."""
    seen: list[Message] = []

    async def app(scope: Message, receive: Any, send: Send) -> None:
        seen.append({**scope, "body": (await receive())["body"]})
        await answering(START, BODY)(scope, receive, send)

    await Caller(app).send(b"POST /t/%C3%BC%2Fx?a=b%20c HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na", b"bc")
    await Caller(app).send(b"POST /t HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc")
    first, second = seen
    assert (first["method"], first["path"], first["raw_path"]) == ("POST", "/t/ü/x", b"/t/%C3%BC%2Fx")
    assert (first["query_string"], first["headers"]) == (b"a=b%20c", [(b"host", b"h"), (b"content-length", b"3")])
    assert (second["raw_path"], second["query_string"], second["http_version"]) == (b"/t", b"", "1.0")
    assert second["body"] == b"abc"


# -- callers that never stop, and callers that never go on ---------------------------------------------


async def test_headers_without_end() -> None:
    """One caller would fill the memory of the server with small headers."""
    caller = Caller(answering(START, BODY))
    written = await caller.send(b"GET /a HTTP/1.1\r\n" + b"a: b\r\n" * (HEAD_COUNT + 2))
    assert [each[:13] for each in written] == [b"HTTP/1.1 431 "]
    assert caller.wire.closed


async def test_a_header_without_end() -> None:
    """One caller would fill the memory of the server with one header, which the parser keeps to itself."""
    caller = Caller(answering(START, BODY))
    written = await caller.send(b"GET /a HTTP/1.1\r\na: ", *[b"b" * 65_536] * (HEAD_BYTES // 65_536 + 1))
    assert written[0].startswith(b"HTTP/1.1 431 ")
    assert caller.wire.closed


async def test_a_long_body_is_not_a_long_head() -> None:
    """An import through the admin API would be refused for its size before anyone looked at it."""
    caller = Caller(answering(START, BODY))
    length = HEAD_BYTES * 2
    head = b"POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n" % length
    assert await caller.send(head, *[b"b" * 65_536] * (length // 65_536)) == [ANSWER]


async def test_no_http() -> None:
    """A port scan would leave a trace in the log of errors, or a connection open."""
    caller = Caller(answering(START, BODY))
    written = await caller.send(b"\x16\x03\x01 hello\r\n\r\n")
    head, _, body = written[0].partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"cache-control: no-store" in head
    assert b"content-length: %d" % len(body) in head
    assert json.loads(body)["error"] == "invalid_request"
    assert caller.wire.closed


@pytest.mark.parametrize("sent", [b"", b"GET /a HTTP/1.1\r\n", GET + b"G"])
async def test_a_head_that_never_comes(sent: bytes) -> None:
    """Some hundred callers who say nothing would hold all connections for good."""
    caller = Caller(answering(START, BODY))
    await caller.send(sent)
    caller.loop.move(HEAD_SECONDS - 1)
    open_before = not caller.wire.closed
    caller.loop.move(WATCH_SECONDS + 1)
    assert (open_before or sent == GET + b"G", caller.wire.closed) == (True, True)


async def test_a_connection_that_nobody_uses() -> None:
    """Idle connections would pile up; one in use would be cut."""
    caller = Caller(answering(START, BODY))
    await caller.send(GET)
    caller.loop.move(3)
    await caller.send(GET)
    caller.loop.move(3)
    assert not caller.wire.closed
    caller.loop.move(2 * WATCH_SECONDS)
    assert caller.wire.closed


async def test_an_application_may_take_its_time() -> None:
    """An export of a large instance would be cut in the middle."""
    go_on = asyncio.Event()

    async def app(scope: Message, receive: Any, send: Send) -> None:
        await go_on.wait()
        await answering(START, BODY)(scope, receive, send)

    caller = Caller(app)
    caller.connection.data_received(GET)
    await asyncio.sleep(0)
    caller.loop.move(10 * HEAD_SECONDS)
    go_on.set()
    assert await caller.send() == [ANSWER]


async def test_nothing_fires_after_the_end() -> None:
    """A timer for each connection that ever was would stay behind."""
    caller = Caller(answering(START, BODY))
    await caller.send(GET)
    caller.connection.connection_lost(None)
    caller.wire.closed = False
    caller.loop.move(10 * HEAD_SECONDS)
    assert not caller.wire.closed


# -- more connections than there is room for -----------------------------------------------------------


def crowded(others: int) -> Caller:
    """A connection beside so many others, where there is room for two."""
    return Caller(answering(START, BODY), ceiling=2, others=others)


async def test_one_connection_too_many() -> None:
    """Without a descriptor left nobody is answered at all, and nothing says when to come again."""
    caller = crowded(2)
    written = b"".join(await caller.send(GET))
    head, _, body = written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert re.search(rb"\r\nretry-after: [1-9]\d?\r\n", head)
    assert b"\r\ncontent-length: %d\r\n" % len(body) in head
    assert b'"temporarily_unavailable"' in body
    assert caller.wire.closed


async def test_health_above_the_ceiling() -> None:
    """What watches us would take a full house for a dead one, and restart it."""
    assert await crowded(2).send(GET.replace(b"/a", b"/health/live")) == [ANSWER]


async def test_below_the_ceiling() -> None:
    """A ceiling of one would refuse the one."""
    assert await crowded(1).send(GET) == [ANSWER]


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("busy", [b"", b"HTTP/1.1 503 Service Unavailable\r\n\r\n"])
async def test_how_long_a_connection_waited(busy: bytes, ended: bool) -> None:
    """A queue in the kernel is invisible to the door, which would let in everybody who is too late or gone already."""
    told: list[tuple[float, bool, bytes]] = []

    def too_late(waited: float, gone: bool, first_bytes: bytes) -> bytes | None:
        told.append((waited, gone, first_bytes))
        return busy or None

    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as calling,
        listener.accept()[0] as accepted,
    ):
        calling.sendall(GET)
        if ended:
            calling.shutdown(socket.SHUT_WR)
        caller = Caller(answering(START, BODY))
        caller.wire.socket = accepted
        caller.connection.app_state[TOO_LATE] = too_late
        written = await caller.send(*([GET] if busy else [GET, GET]))
    assert [each[1:] for each in told] == [(ended, GET)]
    assert 0 <= told[0][0] < 60
    assert (written, caller.wire.closed) == (([busy], True) if busy else ([ANSWER, ANSWER], False))


# -- what is behind, and what is not there -------------------------------------------------------------


async def test_a_caller_that_says_no_more_gets_its_answer() -> None:
    """RFC 9112 section 9.6: `nc` and some devices close their half of the connection with the request."""
    caller = Caller(answering(START, BODY))
    caller.connection.data_received(GET)
    assert caller.connection.eof_received() is True
    assert await caller.send() == [ANSWER]
    assert caller.wire.closed
    idle = Caller(answering(START, BODY))
    await idle.send(GET)
    assert not idle.connection.eof_received()
    assert idle.wire.closed


async def test_requests_sent_ahead_wait_outside() -> None:
    """One read full of requests would be thousands of them in memory, for each connection."""
    caller = Caller(answering(START, BODY))
    caller.connection.data_received(GET * 5_000)
    assert len(caller.connection.pipeline) <= 4_096 / len(GET)
    for _ in range(5_000):
        await caller.send()
    assert b"".join(caller.wire.writes) == ANSWER * 5_000


@pytest.mark.parametrize("what", [b"1;" + b"a" * 4_000 + b"\r\nb\r\n", b"1\r\nb\r\n0\r\nx: " + b"a" * 200_000])
async def test_much_that_frames_little(what: bytes) -> None:
    """Chunk extensions and trailers without end would fill the memory, or the processor, of the server."""

    async def app(scope: Message, receive: Any, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass

    caller = Caller(app)
    caller.connection.data_received(b"POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n")
    if what.startswith(b"1;"):
        what = b"5;" + b"a" * 70_000
    caller.connection.data_received(what)
    assert (await caller.send())[-1].startswith(b"HTTP/1.1 413 ")
    assert caller.wire.closed


async def test_a_long_header_in_small_pieces() -> None:
    """Each piece would be copied with all that came before it: a header of 2 MiB would stop a worker for minutes."""
    fed: list[int] = []

    class Counting:
        def feed_data(self, data: bytes) -> None:
            fed.append(len(data))
            parser.feed_data(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(parser, name)

    caller = Caller(answering(START, BODY))
    parser, caller.connection.parser = caller.connection.parser, Counting()  # type: ignore[assignment]
    pieces = [b"a" * 1_000] * 1_000
    written = await caller.send(b"GET /a HTTP/1.1\r\nhost: h\r\na: ", *pieces, b"\r\n\r\n")
    assert written == [ANSWER]
    assert len(fed) < 64 + 4 * 1_000_000 / 65_536


async def test_the_log_names_the_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """An operator who is told of an internal error could not find it."""

    async def app(scope: Message, receive: Any, send: Send) -> None:
        raise ZeroDivisionError

    written = b"".join(await Caller(app).send(GET[:-2] + b"x-request-id: r-1\r\n\r\n"))
    head, _, body = written.partition(b"\r\n\r\n")
    assert b"cache-control: no-store" in head
    assert b"x-request-id: r-1" in head
    assert json.loads(body)["error"] == "server_error"
    assert "r-1" in capsys.readouterr().out


async def test_idle_connections_end_sooner_when_places_are_scarce() -> None:
    """The time that balancers need would be the time for which strangers hold all places."""
    caller = Caller(answering(START, BODY), ceiling=10, others=8)
    caller.connection.timeout_keep_alive = 75
    await caller.send(GET)
    caller.loop.move(60)
    roomy = Caller(answering(START, BODY), ceiling=10, others=2)
    roomy.connection.timeout_keep_alive = 75
    await roomy.send(GET)
    roomy.loop.move(60)
    assert (caller.wire.closed, roomy.wire.closed) == (True, False)
