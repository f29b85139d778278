"""A real socket in front of an ASGI application of this process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

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
