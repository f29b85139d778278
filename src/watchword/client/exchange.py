"""Send one request with httpx, with limits on size and time, and without following redirects.

Each request opens a client and closes it: requests are rare, and no socket is ever shared between threads, event loops
or a parent and its forked child. The first request imports httpx: a program that finds its token in the cache does not
spend the time for that import.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast

from watchword.client.errors import InvalidAnswer
from watchword.client.flow import Found, NoAnswer, Pause, Steps
from watchword.client.wire import Answer, Ask, may_use_proxy

if TYPE_CHECKING:
    import ssl

    import httpx

    Transport = httpx.BaseTransport | httpx.AsyncBaseTransport

BIGGEST_ANSWER: Final = 65_536
"""Bytes of body that are read before the answer is refused."""


class Exchange:
    """Sends an `Ask`, reads at most 64 KiB, and ends within ``timeout`` seconds of being connected.

    ``transport`` replaces the network; it stays the caller's and is not closed. ``tls`` makes the TLS context, where
    it is not the usual one.
    """

    __slots__ = ("_context", "_timeout", "_transport")

    def __init__(
        self, timeout: float, transport: Transport | None, tls: Callable[[], ssl.SSLContext] | None = None
    ) -> None:
        self._context = tls or _tls
        self._timeout = timeout
        self._transport = transport

    def send(self, ask: Ask) -> Answer | NoAnswer:
        """The answer, or why there is none. Raises `InvalidAnswer` for one that is too large or encoded."""
        import httpx

        try:
            with _Deadline(self._timeout) as deadline, self._client(ask.url) as client:
                request = client.build_request(
                    ask.method,
                    ask.url,
                    headers=dict(ask.headers),
                    content=ask.body,
                    extensions={"trace": deadline.watch},
                )
                response = client.send(request, stream=True, auth=None)
                try:
                    _refuse_encoded(response)
                    body = bytearray()
                    for chunk in response.iter_bytes():
                        _grow(body, chunk)
                finally:
                    response.close()
                return _answer(response, body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return NoAnswer(f"no answer from the issuer ({type(error).__name__})")

    async def asend(self, ask: Ask) -> Answer | NoAnswer:
        """`send`, for an event loop."""
        import asyncio

        import httpx

        try:
            async with asyncio.timeout(self._timeout), self._async_client(ask.url) as client:
                request = client.build_request(ask.method, ask.url, headers=dict(ask.headers), content=ask.body)
                response = await client.send(request, stream=True, auth=None)
                try:
                    _refuse_encoded(response)
                    body = bytearray()
                    async for chunk in response.aiter_bytes():
                        _grow(body, chunk)
                finally:
                    await response.aclose()
                return _answer(response, body)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            return NoAnswer(f"no answer from the issuer ({type(error).__name__})")

    def drive(self, steps: Steps[Found], sleep: Callable[[float], None]) -> Found:
        """Do what the steps ask for, until they are done. Raises what they raise."""
        with closing(steps):
            try:
                wanted = next(steps)
                while True:
                    if isinstance(wanted, Pause):
                        sleep(wanted.seconds)
                        wanted = steps.send(None)
                    else:
                        wanted = steps.send(self.send(wanted))
            except StopIteration as done:
                return cast("Found", done.value)

    async def adrive(self, steps: Steps[Found], asleep: Callable[[float], Awaitable[None]]) -> Found:
        """`drive`, for an event loop."""
        with closing(steps):
            try:
                wanted = next(steps)
                while True:
                    if isinstance(wanted, Pause):
                        await asleep(wanted.seconds)
                        wanted = steps.send(None)
                    else:
                        wanted = steps.send(await self.asend(wanted))
            except StopIteration as done:
                return cast("Found", done.value)

    @contextmanager
    def _client(self, url: str) -> Iterator[httpx.Client]:
        import httpx

        if self._transport is None:
            with httpx.Client(
                verify=self._context(), timeout=self._timeout, follow_redirects=False, trust_env=may_use_proxy(url)
            ) as client:
                yield client
        elif isinstance(self._transport, httpx.BaseTransport):
            yield httpx.Client(transport=self._transport, timeout=self._timeout, follow_redirects=False)
        else:
            raise TypeError("the injected transport is asynchronous only")

    @asynccontextmanager
    async def _async_client(self, url: str) -> AsyncIterator[httpx.AsyncClient]:
        import httpx

        if self._transport is None:
            async with httpx.AsyncClient(
                verify=self._context(), timeout=self._timeout, follow_redirects=False, trust_env=may_use_proxy(url)
            ) as client:
                yield client
        elif isinstance(self._transport, httpx.AsyncBaseTransport):
            yield httpx.AsyncClient(transport=self._transport, timeout=self._timeout, follow_redirects=False)
        else:
            raise TypeError("the injected transport is synchronous only")


class _Deadline:
    """Shuts the connection when the time is up: httpx's own time-outs begin anew with every byte.

    It holds a duplicate of the socket, because TLS takes the first one over.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._socket: socket.socket | None = None
        self._timer: threading.Timer | None = None

    def __enter__(self) -> _Deadline:
        return self

    def watch(self, event: str, info: dict[str, Any]) -> None:
        """httpcore's trace hook."""
        if event == "connection.connect_tcp.complete" and self._socket is None:
            self._socket = info["return_value"].get_extra_info("socket").dup()
            self._timer = threading.Timer(self._seconds, self._shut)
            self._timer.daemon = True
            self._timer.start()

    def _shut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()  # a timer that runs late would shut whatever got the descriptor next
        if self._socket is not None:
            self._socket.close()


@cache
def _tls() -> ssl.SSLContext:
    """One for the process: reading the certificate store takes tens of milliseconds; it holds no socket."""
    import httpx

    return httpx.create_ssl_context()


def _refuse_encoded(response: httpx.Response) -> None:
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise InvalidAnswer("the answer is compressed though none was asked for")


def _grow(body: bytearray, chunk: bytes) -> None:
    body += chunk
    if len(body) > BIGGEST_ANSWER:
        raise InvalidAnswer(f"the answer is larger than {BIGGEST_ANSWER} bytes")


def _answer(response: httpx.Response, body: bytearray) -> Answer:
    return Answer(response.status_code, {name.lower(): value for name, value in response.headers.items()}, bytes(body))
