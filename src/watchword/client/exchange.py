"""One request over httpx, with the caps that an unknown server needs: size, time, no redirect.

A client is opened for each fetch and closed after it: tokens are fetched rarely, and so no socket is
ever shared between threads, event loops or a parent and its forked child.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import httpx

from watchword.client.errors import InvalidAnswer
from watchword.client.flow import NoAnswer
from watchword.client.wire import Answer, Ask

BIGGEST_ANSWER: Final = 65_536
"""Bytes of body that are read before the answer is refused."""

Transport = httpx.BaseTransport | httpx.AsyncBaseTransport


class Exchange:
    """Sends an `Ask`, reads at most 64 KiB in at most ``timeout`` seconds of reading.

    ``transport`` replaces the network; it stays the caller's and is not closed.
    """

    def __init__(self, timeout: float, transport: Transport | None) -> None:
        self._timeout = timeout
        self._transport = transport
        self._tls: ssl.SSLContext | None = None

    def send(self, ask: Ask) -> Answer | NoAnswer:
        """The answer, or why there is none. Raises `InvalidAnswer` for one that is too large or encoded."""
        deadline = time.monotonic() + self._timeout
        try:
            with self._client() as client:
                request = client.build_request(ask.method, ask.url, headers=dict(ask.headers), content=ask.body)
                response = client.send(request, stream=True, auth=None)
                try:
                    body = bytearray()
                    _refuse_encoded(response)
                    for chunk in response.iter_bytes():
                        _grow(body, chunk, deadline)
                finally:
                    response.close()
                return _answer(response, body)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            return NoAnswer(f"no answer from the issuer ({type(error).__name__})")

    async def asend(self, ask: Ask) -> Answer | NoAnswer:
        """`send`, for an event loop."""
        deadline = time.monotonic() + self._timeout
        try:
            async with self._async_client() as client:
                request = client.build_request(ask.method, ask.url, headers=dict(ask.headers), content=ask.body)
                response = await client.send(request, stream=True, auth=None)
                try:
                    body = bytearray()
                    _refuse_encoded(response)
                    async for chunk in response.aiter_bytes():
                        _grow(body, chunk, deadline)
                finally:
                    await response.aclose()
                return _answer(response, body)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            return NoAnswer(f"no answer from the issuer ({type(error).__name__})")

    @contextmanager
    def _client(self) -> Iterator[httpx.Client]:
        if self._transport is None:
            with httpx.Client(verify=self._context(), timeout=self._timeout, follow_redirects=False) as client:
                yield client
        elif isinstance(self._transport, httpx.BaseTransport):
            yield httpx.Client(transport=self._transport, timeout=self._timeout, follow_redirects=False)
        else:
            raise TypeError("the injected transport is asynchronous only")

    @asynccontextmanager
    async def _async_client(self) -> AsyncIterator[httpx.AsyncClient]:
        if self._transport is None:
            async with httpx.AsyncClient(
                verify=self._context(), timeout=self._timeout, follow_redirects=False
            ) as client:
                yield client
        elif isinstance(self._transport, httpx.AsyncBaseTransport):
            yield httpx.AsyncClient(transport=self._transport, timeout=self._timeout, follow_redirects=False)
        else:
            raise TypeError("the injected transport is synchronous only")

    def _context(self) -> ssl.SSLContext:
        """Made once: reading the certificate store takes tens of milliseconds, and it holds no socket."""
        if self._tls is None:
            self._tls = httpx.create_ssl_context()
        return self._tls


def _refuse_encoded(response: httpx.Response) -> None:
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise InvalidAnswer("the answer is compressed though none was asked for")


def _grow(body: bytearray, chunk: bytes, deadline: float) -> None:
    body += chunk
    if len(body) > BIGGEST_ANSWER:
        raise InvalidAnswer(f"the answer is larger than {BIGGEST_ANSWER} bytes")
    if time.monotonic() > deadline:
        raise TimeoutError("the answer comes too slowly")


def _answer(response: httpx.Response, body: bytearray) -> Answer:
    return Answer(response.status_code, {name.lower(): value for name, value in response.headers.items()}, bytes(body))
