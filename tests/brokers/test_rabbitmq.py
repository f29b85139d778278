"""RabbitMQ takes our tokens over AMQP and MQTT, as `broker-config rabbitmq` sets it up.

It verifies by itself, with the keys at `/jwks`. It learns that a token was revoked when the token expires; what a
connection may do ends with its token, and a newer one can be given to a live AMQP connection.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from aio_pika.exceptions import AMQPError
from aiormq.exceptions import ChannelAccessRefused
from examples.brokers.processes import listening
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from tests.brokers.conftest import short_folder
from tests.brokers.issuer import Issuer, Registered
from tests.interop.gateways import free_port, program
from tests.support.served import free_ports

from watchword.client import AccessToken
from watchword.sasl.aio_pika import keep_fresh, token_connection
from watchword.sasl.paho_mqtt import use_token

pytestmark = pytest.mark.xdist_group("mail")  # one worker starts it
API = "rabbitmq"
SHORT = 3
"""Seconds; long enough to connect with."""
ALL = ["rabbitmq.configure:*/*", "rabbitmq.read:*/*", "rabbitmq.write:*/*"]
TOPICS = ["rabbitmq.write:*/amq.topic", "rabbitmq.read:*/amq.topic", "rabbitmq.configure:*/mqtt-subscription-*",
          "rabbitmq.read:*/mqtt-subscription-*", "rabbitmq.write:*/mqtt-subscription-*"]  # fmt: skip


def own_topics(device: str) -> list[str]:
    """MQTT for one device: its own topics and no others (a slash is a dot on the other side)."""
    return [*TOPICS, f"rabbitmq.write:*/amq.topic/devices.{device}.*", f"rabbitmq.read:*/amq.topic/devices.{device}.*"]


@dataclass(frozen=True)
class RabbitMq:
    """A running one."""

    amqp: int
    mqtt: int

    @property
    def url(self) -> str:
        return f"amqp://127.0.0.1:{self.amqp}/"


@pytest.fixture(scope="module")
def broker(issuer: Issuer) -> Iterator[RabbitMq]:
    issuer.api(API, *ALL, *{scope for device in ("dev-1", "dev-2") for scope in own_topics(device)})
    for folder in short_folder("rq"):
        with _rabbitmq(issuer, folder) as made:
            yield made


@contextmanager
def _rabbitmq(issuer: Issuer, folder: Path) -> Iterator[RabbitMq]:
    ca = folder / "ca.pem"
    shutil.copyfile(issuer.ca, ca)
    issuer.watchword("broker-config", "rabbitmq", "--api", API, "--ca", str(ca), "--out", f"{folder}/conf.d")
    made = RabbitMq(*free_ports(2))
    ports = f"listeners.tcp.1 = 127.0.0.1:{made.amqp}\nmqtt.listeners.tcp.1 = 127.0.0.1:{made.mqtt}\n"
    (folder / "rabbitmq.conf").write_text(ports)
    (folder / "conf.d" / "enabled_plugins").rename(folder / "enabled_plugins")
    user = "rabbitmq" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    if os.getuid() == 0:
        shutil.chown(folder, user)
    node = f"ww{made.amqp}@localhost"
    names = free_port()
    settings = {
        "HOME": str(folder), "RABBITMQ_NODENAME": node, "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
        "RABBITMQ_LOG_BASE": f"{folder}/log", "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
        "RABBITMQ_CONFIG_FILES": f"{folder}/conf.d",
        "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins", "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_PID_FILE": f"{folder}/pid", "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/advanced.config",
        "RABBITMQ_CONF_ENV_FILE": f"{folder}/none", "ERL_EPMD_PORT": str(names), "ERL_EPMD_ADDRESS": "127.0.0.1",
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    }  # fmt: skip
    # Erlang's name server would start as a daemon and stay: it runs in front instead.
    epmd = [program("epmd"), "-port", str(names), "-address", "127.0.0.1"]
    command = [program("rabbitmq-server")]
    with (
        listening(epmd, names, folder, settings, user=user),
        listening(command, made.amqp, folder, settings, user=user, others=[made.mqtt]),
    ):
        yield made


async def connected(broker: RabbitMq, token: str) -> aio_pika.abc.AbstractConnection:
    """One plain connection, which does not come back by itself."""
    return await aio_pika.connect(f"amqp://token:{token}@127.0.0.1:{broker.amqp}/", timeout=20)


async def declare(connection: aio_pika.abc.AbstractConnection, name: str = "") -> None:
    """Something that needs a permission."""
    async with connection.channel() as channel:
        await channel.declare_queue(name or None, exclusive=not name, auto_delete=True)


# -- AMQP -----------------------------------------------------------------------------------------


async def test_allowed(broker: RabbitMq, issuer: Issuer) -> None:
    """A service could not talk to the broker with its token."""
    auth = issuer.credentials(issuer.application(API, *ALL), loop=True)
    async with token_connection(broker.url, auth.atoken) as connection, connection.channel() as channel:
        queue = await channel.declare_queue("allowed", auto_delete=True)
        await channel.default_exchange.publish(aio_pika.Message(b"21.5"), "allowed")
        got = await queue.get(timeout=20)
        assert got is not None
        assert got.body == b"21.5"
        await got.ack()


async def test_wrong_scope(broker: RabbitMq, issuer: Issuer) -> None:
    """A reader would make queues."""
    reader = issuer.application(API, *ALL)
    connection = await connected(broker, issuer.token(reader, "rabbitmq.read:*/*"))
    async with connection:
        with pytest.raises(ChannelAccessRefused):
            await declare(connection, "forbidden")


async def test_another_api(broker: RabbitMq, issuer: Issuer) -> None:
    """A token for any API with the right words in its scope would open the broker."""
    issuer.api("urn:another", *ALL)
    elsewhere = issuer.application("urn:another", *ALL)
    with pytest.raises(AMQPError):
        await connected(broker, issuer.token(elsewhere))


async def test_expired(broker: RabbitMq, issuer: Issuer) -> None:
    """A token that leaked long ago would still connect."""
    with pytest.raises(AMQPError):
        await connected(broker, issuer.token(issuer.application(API, *ALL), lives=-1))


async def test_revoked(broker: RabbitMq, issuer: Issuer) -> None:
    """What docs/brokers.md says: a revoked JWT works until it expires, and a disabled application gets no other."""
    app = issuer.application(API, *ALL)
    token = issuer.token(app)
    issuer.revoke(app, token)
    async with await connected(broker, token) as connection:
        await declare(connection)
    issuer.disable(app)
    answer = issuer.http.post(
        f"{issuer.url}/token", data={"grant_type": "client_credentials"}, auth=(app.client_id, app.secret)
    )
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def until_refused(connection: aio_pika.abc.AbstractConnection) -> None:
    """Ask until the broker says no; for twice the life of the tokens that end here."""
    async with asyncio.timeout(2 * SHORT):
        while True:
            await declare(connection, "live")
            await asyncio.sleep(0.2)


async def test_a_live_connection_ends_with_its_token(broker: RabbitMq, issuer: Issuer) -> None:
    """A connection that was opened once would keep its rights for ever."""
    token = issuer.token(issuer.application(API, *ALL), lives=SHORT)
    async with await connected(broker, token) as connection:
        await declare(connection, "live")
        with pytest.raises((AMQPError, ConnectionError)):
            await until_refused(connection)


async def test_renewed_on_a_live_connection(broker: RabbitMq, issuer: Issuer) -> None:
    """connection.update-secret: without it every consumer falls off each hour; the old token would have ended."""
    app = issuer.application(API, *ALL)
    tokens = [issuer.token(app, lives=SHORT), issuer.token(app, lives=60)]
    given: list[str] = []

    async def source() -> AccessToken:
        given.append(tokens[min(len(given), 1)])
        return AccessToken(given[-1], 0)

    async with token_connection(broker.url, source, ask_every=0.5) as connection:
        before = connection.transport
        with pytest.raises(TimeoutError):
            await until_refused(connection)
        assert connection.transport is before, "it was a new connection"
        assert connection.url.password == tokens[1], "a reconnect would use the old token"


async def test_a_source_that_fails_is_asked_again(broker: RabbitMq, issuer: Issuer) -> None:
    """One refused renewal would end the renewing, and the connection at its next hour."""
    app = issuer.application(API, *ALL)
    first, second = issuer.token(app), issuer.token(app)
    asked: list[Any] = [OSError("away"), first, second]
    done = asyncio.Event()

    async def source() -> AccessToken:
        if not asked:
            done.set()
            return AccessToken(second, 0)
        found = asked.pop(0)
        if isinstance(found, OSError):
            raise found
        return AccessToken(found, 0)

    connection = await aio_pika.connect_robust(f"amqp://token:{first}@127.0.0.1:{broker.amqp}/", timeout=20)
    assert isinstance(connection, aio_pika.RobustConnection)
    async with connection:
        task = asyncio.create_task(keep_fresh(connection, source, first, ask_every=0))
        async with asyncio.timeout(10):
            await done.wait()
        task.cancel()
        assert connection.url.password == second


# -- MQTT -----------------------------------------------------------------------------------------


class Device:
    """A paho client that says what happened to it."""

    def __init__(self, broker: RabbitMq, source: Any, name: str) -> None:
        self.client = Client(CallbackAPIVersion.VERSION2, client_id=name)
        self.connected, self.lost, self.subscribed, self.got = (threading.Event() for _ in range(4))
        self.refused = False
        self.messages: list[bytes] = []
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = self._on_disconnect
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.on_message = self._on_message
        use_token(self.client, source, name)
        self.client.connect("127.0.0.1", broker.mqtt)
        self.client.loop_start()

    def _on_connect(self, _client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self.refused = bool(reason.is_failure)
        self.connected.set()

    def _on_disconnect(self, *_: Any) -> None:
        self.lost.set()
        self.subscribed.set()

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self.messages.append(message.payload)
        self.got.set()

    def subscribe(self, topic: str) -> None:
        self.client.subscribe(topic, qos=1)
        assert self.subscribed.wait(20)

    def leave(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@asynccontextmanager
async def device(broker: RabbitMq, source: Any, name: str) -> AsyncIterator[Device]:
    """Connected or refused."""
    made = await asyncio.to_thread(Device, broker, source, name)
    try:
        assert await asyncio.to_thread(made.connected.wait, 20)
        yield made
    finally:
        await asyncio.to_thread(made.leave)


def registered(issuer: Issuer, name: str) -> Registered:
    """A device with its own topics."""
    return issuer.application(API, *own_topics(name))


async def test_mqtt_own_topics(broker: RabbitMq, issuer: Issuer) -> None:
    """A device could not send its measurements."""
    source = issuer.credentials(registered(issuer, "dev-1")).token
    async with device(broker, source, "dev-1") as one:
        assert not one.refused
        await asyncio.to_thread(one.subscribe, "devices/dev-1/set")
        one.client.publish("devices/dev-1/set", b"22", qos=1)
        assert await asyncio.to_thread(one.got.wait, 20)
        assert one.messages == [b"22"]


@pytest.mark.parametrize("act", ["publish", "subscribe"])
async def test_mqtt_topics_of_another(act: str, broker: RabbitMq, issuer: Issuer) -> None:
    """One stolen device would speak for, and listen to, the whole fleet."""
    source = issuer.credentials(registered(issuer, "dev-1")).token
    async with device(broker, source, "dev-1") as one:
        if act == "publish":
            one.client.publish("devices/dev-2/temperature", b"99", qos=1)
            assert await asyncio.to_thread(one.lost.wait, 20), "the broker took it"
        else:
            codes: list[Any] = []
            one.client.on_subscribe = lambda _c, _d, _m, given, _p: (codes.extend(given), one.subscribed.set())
            one.client.subscribe("devices/dev-2/set", qos=1)
            await asyncio.to_thread(one.subscribed.wait, 20)
            assert one.lost.is_set() or [code.is_failure for code in codes] == [True]


async def test_mqtt_expired(broker: RabbitMq, issuer: Issuer) -> None:
    """A device that was thrown away would still connect."""
    token = issuer.token(registered(issuer, "dev-2"), lives=-1)
    async with device(broker, lambda: AccessToken(token, 0), "dev-2") as one:
        assert one.refused


async def test_mqtt_revoked(broker: RabbitMq, issuer: Issuer) -> None:
    """What docs/brokers.md says: RabbitMQ asks nobody, and a revoked token connects until it expires."""
    app = registered(issuer, "dev-2")
    token = issuer.token(app, lives=2 * SHORT)
    issuer.revoke(app, token)
    async with device(broker, lambda: AccessToken(token, 0), "dev-2") as one:
        assert not one.refused
    async with asyncio.timeout(20):
        while True:
            async with device(broker, lambda: AccessToken(token, 0), "dev-2") as one:
                if one.refused:
                    return


async def test_mqtt_comes_back_with_a_new_token(broker: RabbitMq, issuer: Issuer) -> None:
    """paho repeats its first password: after an hour no device would come back by itself.

    The topics differ, because this RabbitMQ asks once for each topic of a connection (docs/brokers.md).
    """
    app = registered(issuer, "dev-2")
    tokens = [issuer.token(app, lives=SHORT), issuer.token(app)]
    given: list[str] = []

    def source() -> AccessToken:
        given.append(tokens[min(len(given), 1)])
        return AccessToken(given[-1], 0)

    async with device(broker, source, "dev-2") as one:
        one.connected.clear()
        async with asyncio.timeout(20):
            for number in range(1_000):
                if one.lost.is_set():
                    break
                one.client.publish(f"devices/dev-2/t{number}", b"21", qos=1)
                await asyncio.sleep(0.2)
        assert await asyncio.to_thread(one.connected.wait, 20)
        assert not one.refused
        assert given == tokens
