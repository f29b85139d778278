"""Mosquitto takes our tokens by the plugin of contrib/mosquitto, and `broker-auth mosquitto` judges each login.

By password (MQTT 3.1.1 and 5) and by enhanced authentication (MQTT 5, SASL OAUTHBEARER), where a newer token goes to
the broker on the live connection. A login ends with its token, and within seconds when that is revoked.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from examples.brokers.mosquitto import mosquitto as running
from examples.brokers.processes import free_ports
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from tests.brokers.conftest import short_folder
from tests.brokers.issuer import LIFETIME, Issuer, Registered

from watchword.client import AccessToken, TokenUnavailable
from watchword.sasl.paho_mqtt import EnhancedClient, use_token

pytestmark = pytest.mark.xdist_group("mosquitto")  # one worker starts it
API = "urn:mosquitto"
SHORT = 4
"""Seconds; long enough to connect with."""
DEVICES: Final = ("dev-1", "dev-2")


def own_topics(device: str) -> list[str]:
    """One device: its own topics and no others."""
    return [f"mqtt.pub:devices/{device}/#", f"mqtt.sub:devices/{device}/#"]


@dataclass(frozen=True)
class Mosquitto:
    """A running one, and who may do what."""

    port: int
    tls: int
    issuer: Issuer
    feed: tuple[str, str]
    """Id and secret of an introspector of the API: its one."""

    def device(self, name: str = "dev-1") -> Registered:
        return self.issuer.application(API, *own_topics(name), "unrelated")


@pytest.fixture(scope="module")
def broker(issuer: Issuer) -> Iterator[Mosquitto]:
    scopes = [scope for device in DEVICES for scope in own_topics(device)]
    issuer.api(API, *scopes, "mqtt.pub:devices/#/wrong", "mqtt.sub:$share/all/devices/#", "unrelated")
    issuer.api("urn:another-mosquitto", *own_topics("dev-1"))
    made = issuer.application(API, "unrelated")
    issuer.may_introspect(API, made.client_id)
    feed = made.client_id, made.secret
    for folder in short_folder("mq"):
        [tls] = free_ports(1)
        listener = f"listener {tls} 127.0.0.1\n" + _certificate(issuer, folder)
        with running(issuer.url, issuer.ca, API, feed, folder, more=listener) as port:
            yield Mosquitto(port, tls, issuer, feed)


def _certificate(issuer: Issuer, folder: Path) -> str:
    """The issuer's own, which is localhost's, for a broker that is another user."""
    for name in ("server.pem", "server.key"):
        shutil.copyfile(issuer.folder / "dev-tls" / name, folder / name)
    return f"certfile {folder}/server.pem\nkeyfile {folder}/server.key\n"


Source = Callable[[], AccessToken]


class Device:
    """A paho client that says what happened to it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.connected, self.lost, self.subscribed, self.got = (threading.Event() for _ in range(4))
        self.connects = 0
        self.refused = False
        self.messages: list[tuple[str, bytes]] = []
        self.granted: list[Any] = []
        client.on_connect = self._on_connect
        client.on_disconnect = lambda *_: self.lost.set()
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message

    def _on_connect(self, _client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self.refused = bool(reason.is_failure)
        self.connects += 1
        self.connected.set()

    def _on_subscribe(self, _client: Client, _data: Any, _id: int, reasons: list[Any], _properties: Any) -> None:
        self.granted = reasons
        self.subscribed.set()

    def _on_message(self, _client: Client, _data: Any, message: Any) -> None:
        self.messages.append((message.topic, message.payload))
        self.got.set()

    def may_subscribe(self, topic: str) -> bool:
        self.subscribed.clear()
        self.client.subscribe(topic, qos=1)
        assert self.subscribed.wait(20)
        return not self.granted[0].is_failure

    def hears(self, topic: str, payload: bytes) -> bool:
        """Whether what it publishes comes back to it; it subscribes to its own topics."""
        assert self.may_subscribe("devices/dev-1/#")
        self.got.clear()
        self.client.publish(topic, payload, qos=1).wait_for_publish(20)
        self.client.publish("devices/dev-1/last", b"", qos=1).wait_for_publish(20)
        while not any(topic.endswith("last") for topic, _ in self.messages):
            assert self.got.wait(20)
        return (topic, payload) in self.messages


def by_password(source: Source, client_id: str, version: int = 4) -> Client:
    """As most devices do."""
    client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion(version))
    use_token(client, source)
    return client


def enhanced(source: Source, client_id: str, **more: Any) -> Client:
    """As MQTT 5 has it."""
    return EnhancedClient(source, client_id=client_id, **more)


WAYS = pytest.mark.parametrize("way", [by_password, enhanced], ids=["password", "enhanced"])


@contextmanager
def connected(
    broker: Mosquitto, client: Client, properties: Properties | None = None, host: str = "127.0.0.1", port: int = 0
) -> Iterator[Device]:
    """Let in or refused."""
    made = Device(client)
    client.connect(host, port or broker.port, keepalive=20, properties=properties)
    client.loop_start()
    try:
        assert made.connected.wait(20)
        yield made
    finally:
        client.disconnect()
        client.loop_stop()


def holding(*tokens: str) -> Source:
    """One token after the other, and then the last one for good."""
    left = list(tokens)
    return lambda: AccessToken(left.pop(0) if len(left) > 1 else left[0], 0)


# -- who is let in --------------------------------------------------------------------------------


@WAYS
def test_own_topics(way: Any, broker: Mosquitto, issuer: Issuer) -> None:
    """A device could not send its measurements, or hear its settings."""
    app = broker.device()
    with connected(broker, way(issuer.credentials(app).token, app.client_id)) as one:
        assert not one.refused
        assert one.hears("devices/dev-1/temperature", b"21.5")


def test_over_tls(broker: Mosquitto, issuer: Issuer) -> None:
    """Outside of a test nobody has a plain listener: the plugin would be asked there in another way, or not at all."""
    app = broker.device()
    client = enhanced(issuer.credentials(app).token, app.client_id)
    client.tls_set_context(issuer.trust)
    with connected(broker, client, host="localhost", port=broker.tls) as one:
        assert one.hears("devices/dev-1/temperature", b"21.5")


def test_mqtt_5_with_a_password(broker: Mosquitto, issuer: Issuer) -> None:
    """A library of MQTT 5 that knows no enhanced authentication could not connect."""
    app = broker.device()
    with connected(broker, by_password(issuer.credentials(app).token, app.client_id, version=5)) as one:
        assert one.hears("devices/dev-1/temperature", b"21.5")


@WAYS
@pytest.mark.parametrize("kind", ["expired", "for another API", "forged", "no MQTT scope", "revoked", "disabled"])
def test_refused(kind: str, way: Any, broker: Mosquitto, issuer: Issuer) -> None:
    """A token that leaked, that another API saw, that nobody signed, or that was taken back would open the broker."""
    app = broker.device()
    if kind == "for another API":
        app = issuer.application("urn:another-mosquitto", *own_topics("dev-1"))
    token = issuer.token(app, "unrelated" if kind == "no MQTT scope" else None, lives=-1 if kind == "expired" else 60)
    if kind == "forged":
        head, body, signature = token.split(".")
        token = f"{head}.{body}.{signature[::-1]}"
    if kind in ("revoked", "disabled"):
        # Let in once, so that what refuses it later is the revocation; the feed needs up to a second.
        with connected(broker, way(holding(token), app.client_id)) as one:
            assert not one.refused
            issuer.revoke(app, token) if kind == "revoked" else issuer.disable(app)
            assert one.lost.wait(20)
    with connected(broker, way(holding(token), app.client_id)) as one:
        assert one.refused


@WAYS
@pytest.mark.parametrize("of", ["another's", "a name", "nobody's"])
def test_another_client_id(of: str, way: Any, broker: Mosquitto, issuer: Issuer) -> None:
    """Whoever takes another's MQTT client id ends that one's connection and gets what waits in its session."""
    victim, app = broker.device(), broker.device("dev-2")
    wanted = {"another's": victim.client_id, "a name": "dev-2", "nobody's": ""}[of]
    with (
        connected(broker, way(issuer.credentials(victim).token, victim.client_id)) as first,
        connected(broker, way(issuer.credentials(app).token, wanted)) as second,
    ):
        assert second.refused
        assert first.hears("devices/dev-1/temperature", b"21.5")
        assert not first.lost.is_set()


def test_several_connections_of_one_application(broker: Mosquitto, issuer: Issuer) -> None:
    """A service with two workers could connect only one: MQTT ends the older connection of a client id."""
    app = broker.device()
    source = issuer.credentials(app).token
    with (
        connected(broker, enhanced(source, f"{app.client_id}/1")) as one,
        connected(broker, enhanced(source, f"{app.client_id}/2")) as two,
    ):
        assert two.hears("devices/dev-1/temperature", b"21.5")
        assert not one.lost.is_set()


def test_a_newer_connection_takes_the_place_of_the_older(broker: Mosquitto, issuer: Issuer) -> None:
    """A device that comes back before the broker missed it: the older one's end would be taken for its own, and then
    its token's end would end nothing."""
    app = broker.device()
    with connected(broker, by_password(issuer.credentials(app).token, app.client_id)) as older:
        older.client.reconnect_delay_set(60, 60)
        with connected(broker, by_password(holding(issuer.token(app, lives=SHORT)), app.client_id)) as newer:
            assert older.lost.wait(20)
            assert newer.hears("devices/dev-1/temperature", b"21.5")
            assert not newer.lost.is_set()
            assert newer.lost.wait(SHORT + 10)


@pytest.mark.parametrize("scope", ["mqtt.pub:devices/#/wrong", "mqtt.sub:$share/all/devices/#"])
def test_a_scope_that_is_no_topic(scope: str, broker: Mosquitto, issuer: Issuer) -> None:
    """A wildcard in the wrong place would be read by two programs in two ways."""
    app = issuer.application(API, scope)
    with connected(broker, enhanced(issuer.credentials(app).token, app.client_id)) as one:
        assert one.refused


def test_another_mechanism(broker: Mosquitto, issuer: Issuer) -> None:
    """A method that nobody judges would be a way past the judge."""
    app = broker.device()
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.AuthenticationMethod = "PLAIN"
    properties.AuthenticationData = issuer.token(app).encode()
    client = Client(CallbackAPIVersion.VERSION2, client_id=app.client_id, protocol=MQTTProtocolVersion.MQTTv5)
    with connected(broker, client, properties) as one:
        assert one.refused


def test_without_the_service(broker: Mosquitto, issuer: Issuer) -> None:
    """A broker whose judge is away would let everybody in."""
    app = broker.device()
    for folder in short_folder("mq"):
        with running(issuer.url, issuer.ca, API, broker.feed, folder) as port:
            other = Mosquitto(port, 0, issuer, broker.feed)
            with connected(other, enhanced(issuer.credentials(app).token, app.client_id)) as one:
                assert not one.refused
            (folder / "judge").rename(folder / "gone")
            with connected(other, enhanced(issuer.credentials(app).token, app.client_id)) as one:
                assert one.refused


@WAYS
def test_comes_back_when_its_source_failed(way: Any, broker: Mosquitto, issuer: Issuer) -> None:
    """An issuer that is away while a device reconnects would end paho's thread: the device would never come back."""
    app = broker.device()
    tokens: list[str | TokenUnavailable] = [issuer.token(app, lives=SHORT), TokenUnavailable("away"), issuer.token(app)]

    def source() -> AccessToken:
        found = tokens.pop(0) if len(tokens) > 1 else tokens[0]
        if isinstance(found, TokenUnavailable):
            raise found
        return AccessToken(found, 0)

    with connected(broker, way(source, app.client_id)) as one:
        one.connected.clear()
        assert one.lost.wait(SHORT + 10)
        assert one.connected.wait(20)
        assert not one.refused


# -- what they may do -----------------------------------------------------------------------------


def test_topics_of_another(broker: Mosquitto, issuer: Issuer) -> None:
    """One stolen device would speak for, and listen to, the whole fleet."""
    app, other = broker.device(), broker.device("dev-2")
    with (
        connected(broker, enhanced(issuer.credentials(app).token, app.client_id)) as one,
        connected(broker, enhanced(issuer.credentials(other).token, other.client_id)) as two,
    ):
        assert two.may_subscribe("devices/dev-2/#")
        assert not one.may_subscribe("devices/dev-2/set")
        assert not one.may_subscribe("devices/+/set")
        assert not one.may_subscribe("#")
        assert not one.may_subscribe("$share/all/devices/#")
        assert not one.may_subscribe("$SYS/#")
        assert one.may_subscribe("$share/mine/devices/dev-1/set")
        one.client.publish("devices/dev-2/temperature", b"99", qos=1).wait_for_publish(20)
        two.client.publish("devices/dev-2/temperature", b"21", qos=1).wait_for_publish(20)
        assert two.got.wait(20)
        assert two.messages == [("devices/dev-2/temperature", b"21")]


# -- for how long ---------------------------------------------------------------------------------


@WAYS
def test_a_live_connection_ends_with_its_token(way: Any, broker: Mosquitto, issuer: Issuer) -> None:
    """A device that gets no new token would write on for as long as it stays connected."""
    app = broker.device()
    with connected(broker, way(holding(issuer.token(app, lives=SHORT)), app.client_id)) as one:
        assert not one.refused
        assert one.lost.wait(SHORT + 10)


@pytest.mark.parametrize("how", ["revoked", "disabled"])
def test_a_live_connection_ends_when_its_token_is_taken_back(how: str, broker: Mosquitto, issuer: Issuer) -> None:
    """A stolen device would go on until its token expires, an hour later."""
    app, innocent = broker.device(), broker.device()
    token = issuer.token(app)
    with (
        connected(broker, by_password(issuer.credentials(innocent).token, innocent.client_id)) as other,
        connected(broker, enhanced(holding(token), app.client_id)) as one,
    ):
        assert not one.refused
        issuer.revoke(app, token) if how == "revoked" else issuer.disable(app)
        assert one.lost.wait(20), "the connection went on"
        assert other.hears("devices/dev-1/temperature", b"21.5")
        assert not other.lost.is_set()


def test_renewed_on_a_live_connection(broker: Mosquitto, issuer: Issuer) -> None:
    """Re-authentication (MQTT 5 section 4.12.1): without it every device connects again each hour, and misses what
    comes in between; the old token would have ended the connection."""
    app = broker.device()
    renewed = threading.Event()
    source = holding(issuer.token(app, lives=SHORT), issuer.token(app, lives=LIFETIME))
    with connected(broker, enhanced(source, app.client_id, ask_every=0.5, on_renewed=renewed.set)) as one:
        assert one.may_subscribe("devices/dev-1/#")
        assert renewed.wait(20)
        assert not one.lost.wait(SHORT + 2)
        one.client.publish("devices/dev-1/temperature", b"22", qos=1)
        assert one.got.wait(20)
        assert one.messages == [("devices/dev-1/temperature", b"22")]
        assert one.connects == 1


@pytest.mark.parametrize("kind", ["expired", "another's"])
def test_renewal_with_a_bad_token(kind: str, broker: Mosquitto, issuer: Issuer) -> None:
    """On a live connection a client would become another, or stay with what no login would take."""
    app = broker.device()
    bad = issuer.token(app, lives=-1) if kind == "expired" else issuer.token(broker.device())
    renewed = threading.Event()
    source = holding(issuer.token(app), bad)
    with connected(broker, enhanced(source, app.client_id, ask_every=0.5, on_renewed=renewed.set)) as one:
        assert not one.refused
        assert one.lost.wait(20)
        assert not renewed.is_set()


def test_the_will_of_a_login_that_ends(broker: Mosquitto, issuer: Issuer) -> None:
    """Who watches a device would not learn that its token ended; or a will would be a way to any topic."""
    watcher, app, liar = broker.device(), broker.device(), broker.device("dev-2")
    will = by_password(holding(issuer.token(app, lives=SHORT)), app.client_id)
    will.will_set("devices/dev-1/status", b"offline", qos=1)
    lie = by_password(holding(issuer.token(liar, lives=SHORT)), liar.client_id)
    lie.will_set("devices/dev-1/status", b"a lie", qos=1)
    with connected(broker, enhanced(issuer.credentials(watcher).token, watcher.client_id)) as one:
        assert one.may_subscribe("devices/dev-1/status")
        with connected(broker, lie) as two, connected(broker, will) as three:
            assert two.lost.wait(SHORT + 10)
            assert three.lost.wait(SHORT + 10)
            assert one.got.wait(20)
        assert one.messages == [("devices/dev-1/status", b"offline")]
