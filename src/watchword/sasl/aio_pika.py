"""Tokens for AMQP 0-9-1 with aio-pika (``watchword[aio-pika]``): RabbitMQ takes them as the password.

>>> async with token_connection("amqps://rabbit.example/", auth.atoken) as connection:          # doctest: +SKIP
...     channel = await connection.channel()
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import aio_pika
from yarl import URL

from watchword.sasl.token import AsyncTokenSource

_log = logging.getLogger("watchword.sasl")
ASK_EVERY = 5.0
"""Seconds between two calls of the source, which returns its cached token until a renewal is due."""


@asynccontextmanager
async def token_connection(
    url: str, source: AsyncTokenSource, *, username: str = "token", ask_every: float = ASK_EVERY, **options: Any
) -> AsyncIterator[aio_pika.RobustConnection]:
    """A robust connection whose token is renewed while it is open (``connection.update-secret``).

    ``options`` go to `aio_pika.connect_robust`. Raises its exceptions, and those of the first call of the source.
    """
    first = (await source()).value
    address = URL(url).with_user(username).with_password(first)
    connection = cast(aio_pika.RobustConnection, await aio_pika.connect_robust(address, **options))
    try:
        task = asyncio.create_task(keep_fresh(connection, source, first, ask_every=ask_every))
        try:
            yield connection
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    finally:
        await connection.close()


async def keep_fresh(
    connection: aio_pika.RobustConnection,
    source: AsyncTokenSource,
    known: str,
    *,
    ask_every: float = ASK_EVERY,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Give each new token to the broker, and to the connection's own reconnects; runs until cancelled.

    ``known`` is the token that the broker has. After a failure of the source or the broker it tries again: the
    connection works until the old token expires.
    """
    while True:
        await sleep(ask_every)
        try:
            token = (await source()).value
            if token == known:
                continue
            connection.url = connection.url.with_password(token)
            await connection.update_secret(token, reason="the access token was renewed")
            known = token
        except Exception as error:
            _log.warning("the broker did not get a new token yet: %s", type(error).__name__)
