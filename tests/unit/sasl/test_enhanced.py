"""paho with AUTH packets, against a broker that says what it likes; the real one is in tests/brokers."""

from __future__ import annotations

import itertools
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from watchword.client import AccessToken, TokenUnavailable
from watchword.sasl.message import read_message
from watchword.sasl.paho_mqtt import EnhancedClient

CONNACK = b"\x20\x03\x00\x00\x00"
SUCCESS = b"\xf0\x00"


def auth(reason: int, data: bytes = b"") -> bytes:
    """One AUTH packet (MQTT 5 section 3.15)."""
    properties = Properties(PacketTypes.AUTH)  # type: ignore[no-untyped-call]
    properties.AuthenticationMethod = "OAUTHBEARER"
    properties.AuthenticationData = data
    body = bytes([reason]) + properties.pack()
    return bytes([0xF0, len(body)]) + body


def packet(stream: Any) -> tuple[int, bytes]:
    """Its first byte, and what is behind the length."""
    [first] = stream.read(1)
    length, shift = 0, 0
    while True:
        [byte] = stream.read(1)
        length |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return first, stream.read(length)


def told(body: bytes, kind: int = PacketTypes.AUTH) -> Any:
    properties = Properties(kind)  # type: ignore[no-untyped-call]
    properties.unpack(body)
    return properties


class Broker(socketserver.ThreadingTCPServer):
    """Lets everybody in, and answers the first AUTH with `answers`, one for each that comes."""

    daemon_threads, allow_reuse_address = True, True

    def __init__(self, *answers: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Talk)
        self.answers = answers
        self.heard: list[tuple[int, bytes]] = []


class _Talk(socketserver.StreamRequestHandler):
    server: Broker

    def handle(self) -> None:
        _, connect = packet(self.rfile)
        self.server.heard.append((0x10, told(connect[10:], PacketTypes.CONNECT).AuthenticationData))
        self.wfile.write(CONNACK)
        answers = iter(self.server.answers)
        while True:
            try:
                first, body = packet(self.rfile)
            except ValueError:
                return
            if first == 0xF0:
                self.server.heard.append((body[0], told(body[1:]).AuthenticationData))
                self.wfile.write(next(answers, b""))


@contextmanager
def connected(broker: Broker, source: Any, renewed: threading.Event) -> Iterator[threading.Event]:
    """Set when the connection is lost."""
    lost = threading.Event()
    thread = threading.Thread(target=broker.serve_forever)
    thread.start()
    client = EnhancedClient(source, client_id="dev-1", ask_every=0, on_renewed=renewed.set, reconnect_on_failure=False)
    client.on_disconnect = lambda *_: lost.set()
    client.connect("127.0.0.1", broker.server_address[1])
    client.loop_start()
    try:
        yield lost
    finally:
        client.disconnect()
        client.loop_stop()
        broker.shutdown()
        thread.join()
        broker.server_close()


def tokens(*values: str) -> Any:
    """One after the other, then the last for good; an empty one is an issuer that is away."""
    left = itertools.chain(values, itertools.repeat(values[-1]))

    def give() -> AccessToken:
        value = next(left)
        if not value:
            raise TokenUnavailable("away")
        return AccessToken(value, 0)

    return give


def test_a_newer_token_goes_out_once() -> None:
    """The broker would be asked about the same token again and again, or a failing source would end the renewing."""
    broker, renewed = Broker(SUCCESS), threading.Event()
    with connected(broker, tokens("a.a.a", "a.a.a", "", "b.b.b"), renewed) as lost:
        assert renewed.wait(20)
        assert not lost.is_set()
    assert [kind for kind, _ in broker.heard] == [0x10, 0x19]
    assert [read_message(data).unverified_token for _, data in broker.heard] == ["a.a.a", "b.b.b"]


@pytest.mark.parametrize(
    "answers",
    [
        [auth(0x18, b'{"status":"invalid_token"}'), SUCCESS],
        [auth(0x18, b"{}"), auth(0x18, b"{}")],
        [auth(0x19)],
        [auth(0x42)],
        [b"\xf0\x02\x18\x05"],
        [b"\xf0\x03\x18\x01\xee"],
    ],
    ids=["a yes after a no", "two challenges", "asks us", "no reason", "cut short", "an unknown property"],
)
def test_brokers_that_misbehave(answers: list[bytes]) -> None:
    """A yes after a no would be believed; a packet that cannot be read would end paho's thread for good."""
    broker, renewed = Broker(*answers), threading.Event()
    with connected(broker, tokens("a.a.a", "b.b.b"), renewed) as lost:
        assert lost.wait(20)
        assert not renewed.is_set()


def test_a_challenge_is_answered() -> None:
    """RFC 7628 section 3.2.3: without the dummy a broker waits for it, and never says why it refuses."""
    broker, renewed = Broker(auth(0x18, b'{"status":"invalid_token"}')), threading.Event()
    with connected(broker, tokens("a.a.a", "b.b.b"), renewed) as lost:
        while len(broker.heard) < 3:
            assert not lost.wait(0.05)
    assert broker.heard[2] == (0x18, b"\x01")


def test_no_token_is_no_connection() -> None:
    """paho tries again after an OSError alone: with any other its thread ends, and the device never comes back."""
    client = EnhancedClient(tokens(""), client_id="dev-1")
    with socket.create_server(("127.0.0.1", 0)) as nobody, pytest.raises(ConnectionError, match="no token") as caught:
        client.connect("127.0.0.1", nobody.getsockname()[1])
    assert isinstance(caught.value.__cause__, TokenUnavailable)
