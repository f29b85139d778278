"""The CoAP listener of one worker. All workers bind the one port: the system gives each sender to one of them, always
the same, so that what a worker remembers of a sender's message ids is enough to answer a repeated one once.
"""

from __future__ import annotations

from time import monotonic

from aiocoap import Context

from .kept import Repeats
from .token import TokenResource


class CoapListener:
    """UDP alone (RFC 7252): no TCP, no WebSocket, no DTLS, no OSCORE (decision 0049)."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @classmethod
    async def start(cls, resource: TokenResource, host: str, port: int) -> CoapListener:
        """Raises OSError for an address that cannot be bound."""
        context = await Context.create_server_context(resource, bind=(host, port), transports=["udp6"])
        for interface in context.request_interfaces:
            Repeats(interface.token_interface, monotonic)
        return cls(context)

    async def close(self) -> None:
        """Stop listening; what is being answered is not waited for, and its sender asks again."""
        await self._context.shutdown()
