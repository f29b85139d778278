"""A real socket in front of an ASGI application of this process, and a network that tells what passes through it."""

from __future__ import annotations

import asyncio
import queue
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import httpx
import uvicorn


def free_socket() -> socket.socket:
    """Bound to a port of loopback that nobody else has."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    return bound


@asynccontextmanager
async def listening(application: Callable[..., Any], bound: socket.socket) -> AsyncIterator[None]:
    """uvicorn in this event loop, until the end of the block."""
    config = uvicorn.Config(application, lifespan="off", log_config=None, ws="none", timeout_graceful_shutdown=0)
    server = uvicorn.Server(config)
    serving = asyncio.get_running_loop().create_task(server.serve(sockets=[bound]))
    try:
        yield
    finally:
        server.should_exit = True
        await serving


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
