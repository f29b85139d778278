"""Watchword's own listener on a real socket of this process, and networks that tell what passes through them."""

from __future__ import annotations

import asyncio
import queue
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import uvicorn
from tests.support.witness import Witness

from watchword.server.serving.listener import Certificates, Listener


def free_socket() -> socket.socket:
    """Bound to a port of loopback that nobody else has."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    return bound


@asynccontextmanager
async def listening(
    application: Callable[..., Any], bound: socket.socket, tls_cert: str = "", tls_key: str = ""
) -> AsyncIterator[None]:
    """What `watchword serve` serves with (cli/serving/serve.py), in this event loop, until the end of the block."""
    config = uvicorn.Config(
        application, http=Listener(Certificates(tls_cert, tls_key) if tls_cert else None),  # type: ignore[arg-type]
        lifespan="off", log_config=None, ws="none", access_log=False, server_header=False, proxy_headers=False,
    )  # fmt: skip
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[bound])
    try:
        yield
    finally:
        await _closed(server)
        bound.close()


async def _closed(server: uvicorn.Server) -> None:
    """As uvicorn ends when its patience has ended too, but for its pauses."""
    for socket_server in server.servers:
        socket_server.close()
    state = server.server_state
    for task in list(state.tasks):
        task.cancel()
    for connection in list(state.connections):
        connection.transport.abort()  # type: ignore[union-attr]
    async with asyncio.timeout(10):
        while state.tasks or state.connections:  # noqa: ASYNC110 (uvicorn tells nobody)
            await asyncio.sleep(0)


class Door(httpx.AsyncHTTPTransport):
    """Real HTTPS to a listener of this process, whatever host and port the URL names.

    So tests spell issuers as constants, also those with names that lead nowhere. The certificate is checked against the
    address that is connected to.
    """

    def __init__(self, app: Any, port: int, ca: Path, witness: Witness, address: str = "127.0.0.1") -> None:
        self.app, self.port, self.ca, self.witness = app, port, ca, witness
        super().__init__(verify=ssl.create_default_context(cafile=str(ca)), local_address=address)

    def from_address(self, address: str) -> Door:
        """For a caller who has another address of loopback."""
        return Door(self.app, self.port, self.ca, self.witness, address)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self.witness.watch(self.app.services, request, self._passed)

    async def _passed(self, request: httpx.Request) -> httpx.Response:
        there = request.url.copy_with(scheme="https", host="127.0.0.1", port=self.port)
        passed = httpx.Request(
            request.method, there, headers=request.headers, stream=request.stream, extensions=request.extensions
        )
        return await super().handle_async_request(passed)

    async def as_written(self, path: str, *headers: tuple[str, str], body: bytes = b"") -> httpx.Response:
        """A POST with headers that no HTTP library would send."""
        context = ssl.create_default_context(cafile=str(self.ca))
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
        lines = [f"POST {path} HTTP/1.1", "Host: x", "Connection: close", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        head, _, answered = (await reader.read()).partition(b"\r\n\r\n")
        writer.transport.abort()
        first, *fields = head.split(b"\r\n")
        named = [(name, value.strip()) for name, _, value in (field.partition(b":") for field in fields)]
        return httpx.Response(int(first.split(b" ")[1]), headers=named, content=answered)


class Cursors(httpx.BaseTransport):
    """The network, for a feed in a thread: every question's cursor is put down before it is asked."""

    def __init__(self) -> None:
        self.network = httpx.HTTPTransport()
        self.asked: queue.SimpleQueue[str] = queue.SimpleQueue()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        form = parse_qs(request.content.decode(), keep_blank_values=True)
        self.asked.put(form["cursor"][0])
        return self.network.handle_request(request)

    async def behind(self, cursor: str) -> str:
        """The first cursor other than this one: what came before it has been learnt. Nothing after 20 s."""

        def wait() -> str:
            while (found := self.asked.get(timeout=20)) == cursor:
                pass
            return found

        return await asyncio.to_thread(wait)
