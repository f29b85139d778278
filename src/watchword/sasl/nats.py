"""Tokens for NATS with nats-py (``watchword[nats]``); the server's side is `watchword.sasl.nats_callout`.

>>> async with token_connection("tls://nats.example", auth.atoken) as connection:                # doctest: +SKIP
...     await connection.publish("devices.dev-1.temperature", b"21.5")
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from nats.aio.client import Client

from watchword.sasl.token import AsyncTokenSource

_log = logging.getLogger("watchword.sasl")
ASK_EVERY = 5.0
"""Seconds between two questions to the source, which answers from its cache until a renewal is due."""


class Renewing:
    """The token that nats-py puts into each CONNECT. nats-py cannot await it, so the last token is kept."""

    def __init__(self, source: AsyncTokenSource, known: str) -> None:
        self._source, self._known = source, known

    def token(self) -> str:
        """For ``connect(token=...)``."""
        return self._known

    async def keep_fresh(
        self,
        connection: Client,
        *,
        ask_every: float = ASK_EVERY,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Connect again with each new token; runs until cancelled.

        NATS ends a connection when its token expires, and nats-py 2.16 then does not reconnect. So this reconnects
        before: nats-py keeps subscriptions and pending messages. After a failure of the source it tries again.
        """
        while True:
            await sleep(ask_every)
            try:
                token = (await self._source()).value
                if token != self._known:
                    self._known = token
                    await connection.force_reconnect()
            except Exception as error:
                _log.warning("the NATS connection did not get a new token yet: %s", type(error).__name__)


@asynccontextmanager
async def token_connection(
    servers: str | list[str], source: AsyncTokenSource, *, ask_every: float = ASK_EVERY, **options: Any
) -> AsyncIterator[Client]:
    """A connection that reconnects, keeping its subscriptions, whenever there is a new token.

    ``options`` go to `nats.connect`. Raises its exceptions, and those of the first call of the source. At the end the
    connection is drained: published messages are sent.
    """
    renewing = Renewing(source, (await source()).value)
    connection = Client()
    await connection.connect(servers, token=renewing.token, **options)
    task = asyncio.create_task(renewing.keep_fresh(connection, ask_every=ask_every))
    try:
        yield connection
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        if connection.is_connected:
            await connection.drain()
        await connection.close()
