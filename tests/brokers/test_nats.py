"""NATS takes our tokens by auth callout, as `broker-config nats` sets it up and `broker-auth nats` answers.

The service judges each login; a token's scopes are subjects. NATS ends a connection with its token, so our client
changes it for a new one before. What was revoked is refused at the next login.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
from examples.brokers.processes import listening, saying
from nats.aio.client import Client
from nats.errors import Error
from tests.brokers.conftest import short_folder
from tests.brokers.issuer import Issuer, Registered
from tests.support.served import COMMAND, environment, free_ports, watchword

from watchword.client import AccessToken
from watchword.sasl.nats import token_connection

pytestmark = pytest.mark.xdist_group("nats")  # one worker starts it
API = "urn:nats"
SHORT = 3
"""Seconds; long enough to connect with."""
ALL = ["nats.pub:>", "nats.sub:>"]
CONFIG = "listen: 127.0.0.1:{port}\ninclude watchword.conf\n"


def own_subjects(device: str) -> list[str]:
    """One device: its own subjects and no others."""
    return [f"nats.pub:devices.{device}.>", f"nats.sub:devices.{device}.>"]


@pytest.fixture(scope="module")
def broker(issuer: Issuer) -> Iterator[str]:
    issuer.api(API, *ALL, *own_subjects("dev-1"), *own_subjects("dev-2"), "nats.pub:devices..dev-1", "unrelated")
    issuer.api("urn:another-nats", *ALL)
    feed = issuer.application(API, "unrelated")
    issuer.may_introspect(API, feed.client_id)
    for folder in short_folder("na"):
        with _nats(folder) as url, _service(issuer, feed, folder, url):
            yield url


@contextmanager
def _nats(folder: Path) -> Iterator[str]:
    server = shutil.which("nats-server", path=str(Path(sys.executable).parent))
    assert server is not None, "nats-server is missing: install requirements/dev.txt"
    made = watchword(folder, "broker-config", "nats", "--keys", f"{folder}/keys", "--out", str(folder))
    assert made.returncode == 0, made.stderr
    [port] = free_ports(1)
    (folder / "server.conf").write_text(CONFIG.format(port=port))
    with listening([server, "-c", "server.conf"], port, folder, {}):
        yield f"nats://127.0.0.1:{port}"


@contextmanager
def _service(issuer: Issuer, feed: Registered, folder: Path, url: str) -> Iterator[None]:
    command = [
        *COMMAND, "broker-auth", "nats", "--api", API, "--keys", f"{folder}/keys", "--server", url, "--revocations",
    ]  # fmt: skip
    told = {
        "SSL_CERT_FILE": str(issuer.ca), "WATCHWORD_ISSUER": issuer.url,
        "WATCHWORD_CLIENT_ID": feed.client_id, "WATCHWORD_CLIENT_SECRET": feed.secret,
    }  # fmt: skip
    with saying("answering", command, folder, environment(folder, **told)):
        yield


class Heard:
    """What nats-py reports beside its calls."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.any, self.closed = asyncio.Event(), asyncio.Event()

    async def on_error(self, error: Exception) -> None:
        self.errors.append(str(error))
        self.any.set()

    async def on_closed(self) -> None:
        self.closed.set()


@asynccontextmanager
async def connected(broker: str, token: str) -> AsyncIterator[tuple[Client, Heard]]:
    """One plain connection, which does not come back by itself."""
    heard = Heard()
    options: dict[str, Any] = {"allow_reconnect": False, "error_cb": heard.on_error, "closed_cb": heard.on_closed}
    connection = await nats.connect(broker, token=token, **options)
    try:
        yield connection, heard
    finally:
        await connection.close()


async def refused(broker: str, token: str) -> bool:
    """Whether the server says that this one may not log in."""
    try:
        async with connected(broker, token):
            return False
    except Error as error:
        assert "Authorization" in str(error), error
        return True


async def soon(awaitable: Any) -> Any:
    """The result, within twenty seconds."""
    async with asyncio.timeout(20):
        return await awaitable


async def test_allowed(broker: str, issuer: Issuer) -> None:
    """A device could not talk on its own subjects."""
    auth = issuer.credentials(issuer.application(API, *own_subjects("dev-1")), loop=True)
    async with token_connection(broker, auth.atoken) as connection:
        heard = await connection.subscribe("devices.dev-1.set")
        await connection.publish("devices.dev-1.set", b"22")
        assert (await heard.next_msg(20)).data == b"22"


async def test_wrong_scope_publish(broker: str, issuer: Issuer) -> None:
    """One stolen device would speak for the whole fleet."""
    fleet = issuer.token(issuer.application(API, *ALL))
    one = issuer.token(issuer.application(API, *own_subjects("dev-1")))
    async with connected(broker, fleet) as (all_, _), connected(broker, one) as (device, heard):
        messages = await all_.subscribe("devices.>")
        await all_.flush()
        await device.publish("devices.dev-2.temperature", b"99")
        await soon(heard.any.wait())
        assert "permissions violation for publish" in heard.errors[0].lower()
        await device.publish("devices.dev-1.temperature", b"21")
        assert (await messages.next_msg(20)).data == b"21"


async def test_wrong_scope_subscribe(broker: str, issuer: Issuer) -> None:
    """One stolen device would listen to the whole fleet."""
    one = issuer.token(issuer.application(API, *own_subjects("dev-1")))
    async with connected(broker, one) as (device, heard):
        await device.subscribe("devices.*.set")
        await soon(heard.any.wait())
        assert "permissions violation for subscription" in heard.errors[0].lower()


@pytest.mark.parametrize("side", ["pub", "sub"])
async def test_one_side_alone(side: str, broker: str, issuer: Issuer) -> None:
    """An empty list allows everything in NATS: who may only publish would hear all, and the other way round."""
    token = issuer.token(issuer.application(API, *own_subjects("dev-1")), f"nats.{side}:devices.dev-1.>")
    async with connected(broker, token) as (device, heard):
        if side == "pub":
            await device.subscribe("devices.dev-1.set")
        else:
            await device.publish("devices.dev-1.set", b"1")
        await soon(heard.any.wait())
        assert "permissions violation" in heard.errors[0].lower()


@pytest.mark.parametrize("scope", ["unrelated", "nats.pub:devices..dev-1"])
async def test_no_subjects(scope: str, broker: str, issuer: Issuer) -> None:
    """A token that names no subject at all would log in and, to NATS, might do anything."""
    assert await refused(broker, issuer.token(issuer.application(API, scope)))


async def test_another_api(broker: str, issuer: Issuer) -> None:
    """A token for any API with the right words in its scope would open the broker."""
    assert await refused(broker, issuer.token(issuer.application("urn:another-nats", *ALL)))


async def test_no_token(broker: str) -> None:
    """An anonymous client would be let in."""
    assert await refused(broker, "")
    assert await refused(broker, "not.a.token")


async def test_expired(broker: str, issuer: Issuer) -> None:
    """A token that leaked long ago would still connect."""
    assert await refused(broker, issuer.token(issuer.application(API, *ALL), lives=-1))


async def test_a_live_connection_ends_with_its_token(broker: str, issuer: Issuer) -> None:
    """A connection that was opened once would keep its rights for ever."""
    token = issuer.token(issuer.application(API, *ALL), lives=SHORT)
    async with connected(broker, token) as (_, heard):
        await soon(heard.closed.wait())
        assert "user authentication expired" in str(heard.errors or _.last_error).lower()


async def until_refused(broker: str, token: str) -> None:
    """Log in until the server says no; the service follows a feed that is held open."""
    while not await refused(broker, token):
        continue


async def test_revoked(broker: str, issuer: Issuer) -> None:
    """A token that its owner took back would log in until it expires; other applications must not notice."""
    app, other = issuer.application(API, *ALL), issuer.application(API, *ALL)
    token, theirs = issuer.token(app), issuer.token(other)
    assert not await refused(broker, token)
    issuer.revoke(app, token)
    await soon(until_refused(broker, token))
    assert not await refused(broker, theirs)


async def test_disabled(broker: str, issuer: Issuer) -> None:
    """A device that was shut out would log in with the token that it still has."""
    app = issuer.application(API, *ALL)
    token = issuer.token(app)
    issuer.disable(app)
    await soon(until_refused(broker, token))


async def test_renewed_on_a_live_connection(broker: str, issuer: Issuer) -> None:
    """Every subscriber would fall off with its first token: nats-py gives up when the server ends a login."""
    app = issuer.application(API, *ALL)
    tokens = [issuer.token(app, lives=SHORT), issuer.token(app)]
    given: list[str] = []
    heard = Heard()

    async def source() -> AccessToken:
        given.append(tokens[min(len(given), 1)])
        return AccessToken(given[-1], 0)

    async with (
        connected(broker, tokens[1]) as (other, _),
        connected(broker, tokens[0]) as (_, old),
        token_connection(broker, source, ask_every=0.5, closed_cb=heard.on_closed) as connection,
    ):
        messages = await connection.subscribe("news")
        await connection.flush()
        await soon(old.closed.wait())  # the server ended what had the first token
        await other.publish("news", b"still here")
        assert (await messages.next_msg(20)).data == b"still here"
        assert not heard.closed.is_set()


async def test_a_source_that_fails_is_asked_again(broker: str, issuer: Issuer) -> None:
    """One refused renewal would end the renewing, and the connection with its token."""
    app = issuer.application(API, *ALL)
    first, second = issuer.token(app), issuer.token(app)
    answers: list[Any] = [AccessToken(first, 0), OSError("away"), AccessToken(second, 0)]
    reconnected = asyncio.Event()

    async def source() -> AccessToken:
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(found, OSError):
            raise found
        return AccessToken(found.value, 0)

    async def back() -> None:
        reconnected.set()

    async with token_connection(broker, source, ask_every=0.05, reconnected_cb=back):
        await soon(reconnected.wait())
