"""`watchword broker-auth`: the services that brokers ask about logins, where configuration alone is not enough."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import profile, say

if TYPE_CHECKING:
    from watchword.resource import Verifier
    from watchword.resource.feed import RevocationFeed

broker_auth = typer.Typer(no_args_is_help=True, help="Services that brokers ask about logins.")

Api = Annotated[str, typer.Option(help="The API's identifier: the audience that tokens must have")]
Issuer = Annotated[str | None, typer.Option(help="Whose tokens; else the profile's")]
Revocations = Annotated[
    bool,
    typer.Option("--revocations", help="Refuse what was revoked; the profile's application introspects the API"),
]


@broker_auth.command()
def nats(
    api: Api,
    keys: Annotated[Path, typer.Option(help="Folder of the keys that `broker-config nats` made")],
    server: Annotated[list[str], typer.Option(help="nats:// or tls:// address; repeat for a cluster")],
    account: Annotated[str, typer.Option(help="The account in which clients live")] = "APP",
    revocations: Revocations = False,
    issuer: Issuer = None,
) -> None:
    """Answer NATS auth callouts: scopes nats.pub:SUBJECT and nats.sub:SUBJECT say what a client may do."""
    try:
        from watchword.sasl.nats_callout import Callout, serve

        from .nats_keys import KeysMissing, read_keys
    except ImportError:
        say.fail("nats-py and nkeys are not installed", "pip install 'watchword[nats]'")
    try:
        signing = read_keys(keys)
    except KeysMissing as missing:
        say.fail(str(missing), f"make them with `watchword broker-config nats --keys {keys}`")

    async def service(verifier: Verifier, _feed: RevocationFeed | None, stopped: asyncio.Event) -> None:
        from nats.aio.client import Client
        from nats.errors import Error

        connection = Client()
        try:
            await connection.connect(
                server, nkeys_seed_str=signing.responder, name="watchword broker-auth",
                max_reconnect_attempts=-1, closed_cb=_setting(stopped), error_cb=_log_error,
            )  # fmt: skip
        except (OSError, Error) as error:
            say.fail(f"no connection to {', '.join(server)}: {error}", "is the server's watchword.conf of these keys?")
        callout = Callout(signing.account, account)
        await serve(connection, callout, verifier.averify, now=time.time, new_id=secrets.token_hex)
        say.done(f"answering the auth callouts of {', '.join(server)}")
        await stopped.wait()
        if connection.is_closed:
            say.fail("the server ended the connection", "its log says why")
        await connection.drain()

    _run(service, api, issuer, revocations)


@broker_auth.command()
def mosquitto(
    api: Api,
    socket: Annotated[Path, typer.Option(help="Where the plugin asks; the folder's group may, and nobody else")],
    revocations: Revocations = False,
    issuer: Issuer = None,
) -> None:
    """Answer Mosquitto's plugin: scopes mqtt.pub:FILTER and mqtt.sub:FILTER say what a client may do."""
    from watchword.sasl.mosquitto import Gate

    async def service(verifier: Verifier, feed: RevocationFeed | None, stopped: asyncio.Event) -> None:
        gate = Gate(verifier.averify, now=time.time, check=None if feed is None else feed.check)
        before = os.umask(0o117)
        try:
            server = await asyncio.start_unix_server(gate.serve, socket)
        except OSError as error:
            say.fail(f"{socket} cannot be made: {error}", "name a folder that this user may write to")
        finally:
            os.umask(before)
        ending = asyncio.create_task(gate.end_the_revoked())
        say.done(f"answering Mosquitto at {socket}")
        async with server:
            await stopped.wait()
        # The socket stays: by now it may be that of a service that was started to take over.
        ending.cancel()

    _run(service, api, issuer, revocations)


def _setting(stopped: asyncio.Event) -> Callable[[], Awaitable[None]]:
    async def closed() -> None:
        stopped.set()

    return closed


async def _log_error(error: Exception) -> None:
    logging.getLogger("watchword.sasl").warning("nats: %s", error)


def _run(
    service: Callable[[Verifier, RevocationFeed | None, asyncio.Event], Awaitable[None]],
    api: str,
    issuer: str | None,
    revocations: bool,
) -> None:
    """The service over a verifier, until SIGTERM or SIGINT."""

    async def until_told() -> None:
        stopped = asyncio.Event()
        for told in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(told, stopped.set)
        async with AsyncExitStack() as stack:
            await service(*await _verifier(stack, api, issuer, revocations), stopped)

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    asyncio.run(until_told())


async def _verifier(
    stack: AsyncExitStack, api: str, issuer: str | None, revocations: bool
) -> tuple[Verifier, RevocationFeed | None]:
    """With the feed, nothing is judged before its first answer: old revocations count from the start."""
    from watchword.resource import Issuer as TokenIssuer
    from watchword.resource import RevocationsUnknown, Verifier
    from watchword.resource.feed import RevocationFeed

    if not revocations:
        return Verifier(issuer or profile.issuer() or profile.load().issuer, audience=api), None
    known = profile.load()
    feed = RevocationFeed(
        issuer or known.issuer, audience=api, client_id=known.client_id, client_secret=known.secret()().reveal()
    )
    try:
        await feed.arefresh()
    except RevocationsUnknown as error:
        say.fail(f"no revocations: {error}", f"is {known.client_id} an introspector of {api}?", say.TRY_LATER)
    await stack.enter_async_context(feed)
    return Verifier(TokenIssuer(feed.issuer, revocations=feed), audience=api), feed
