"""What the leaves do beside the brokers of tests/brokers: the servers here misbehave, or speak what no broker does."""

from __future__ import annotations

import imaplib
import smtplib
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from watchword.client import AccessToken
from watchword.sasl import Accepted, Malformed, OAuthBearerServer, Refused, decode_line
from watchword.sasl.confluent_kafka import oauth_cb
from watchword.sasl.mail import imap_login, smtp_login
from watchword.sasl.paho_mqtt import enhanced, use_token

TOKEN = AccessToken("a.b.c", 1_800_000_000.0)


def source() -> AccessToken:
    return TOKEN


@contextmanager
def scripted(talk: Callable[[Any, Any], None]) -> Iterator[int]:
    """A server that says what the test wants; its port."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            talk(self.rfile, self.wfile)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever).start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()


def test_the_core_is_light() -> None:
    """A server that only reads RFC 7628 would load an HTTP client, a crypto library and four brokers' clients."""
    code = "import sys, watchword.sasl; print(sorted({m.partition('.')[0] for m in sys.modules} & set(sys.argv[1:])))"
    heavy = ["httpx", "cryptography", "asyncio", "socket", "ssl", "aio_pika", "aiokafka", "confluent_kafka", "paho"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -- mail -----------------------------------------------------------------------------------------


class Elsewhere:
    """A connection without TLS to another machine."""

    host, port, family = "mail.example", 143, None

    @property
    def sock(self) -> Elsewhere:
        return self

    def getpeername(self) -> tuple[str, int]:
        return ("192.0.2.1", 143)


class Closed:
    """A connection that was closed."""

    sock = None


@pytest.mark.parametrize("login", [imap_login, smtp_login])
def test_no_token_without_tls(login: Any) -> None:
    """Whoever listens on the way would have the token; the source is not even asked."""

    def asked() -> AccessToken:
        raise AssertionError("a token was fetched")

    with pytest.raises(ValueError, match="TLS"):
        login(Elsewhere(), asked)
    with pytest.raises(ValueError, match="not open"):
        login(Closed(), asked)


def imap_server(*after_message: bytes) -> Callable[[Any, Any], None]:
    """Greets, tells what it can, asks for the message, and then says these lines, one for each of the client's."""

    def talk(lines: Any, out: Any) -> None:
        out.write(b"* OK ready\r\n")
        tag = lines.readline().split()[0]
        out.write(b"* CAPABILITY IMAP4rev1 AUTH=OAUTHBEARER\r\n" + tag + b" OK done\r\n")
        tag = lines.readline().split()[0]
        out.write(b"+ \r\n")
        for line in after_message:
            lines.readline()
            out.write(line.replace(b"TAG", tag) + b"\r\n")

    return talk


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([b"TAG NO no"], Refused),
        ([b"+ eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=", b"TAG NO no"], Refused),
        ([b"+ eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=", b"TAG OK welcome"], Malformed),
        ([b"+ e30=", b"+ e30=", b"TAG OK welcome"], Malformed),
        ([b"* BYE gone"], imaplib.IMAP4.abort),
    ],
)
def test_imap_servers_that_misbehave(answers: list[bytes], expected: type[Exception]) -> None:
    """A yes after a no would be believed, a second challenge answered, or a lost connection be called a refusal."""
    with scripted(imap_server(*answers)) as port, pytest.raises(expected) as caught:
        imap_login(imaplib.IMAP4("127.0.0.1", port, timeout=10), source)
    if answers[0].startswith(b"+ eyJ") and isinstance(caught.value, Refused):
        assert caught.value.status == "invalid_token"


def smtp_server(*answers: bytes) -> Callable[[Any, Any], None]:
    """Says these lines after the greeting and EHLO, one for each of the client's."""

    def talk(lines: Any, out: Any) -> None:
        out.write(b"220 ready\r\n")
        lines.readline()
        out.write(b"250 AUTH OAUTHBEARER\r\n")
        for answer in answers:
            lines.readline()
            out.write(answer + b"\r\n")
        lines.readline()

    return talk


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([b"334 ", b"235 welcome"], None),
        ([b"235 welcome"], Malformed),
        ([b"334 ", b"535 no"], Refused),
        ([b"334 ", b"334 e30=", b"535 no"], Refused),
        ([b"334 ", b"334 e30=", b"235 welcome"], Malformed),
        ([b"334 ", b"334 not base64!", b"501 cancelled"], Malformed),
        ([b"504 unknown mechanism"], Refused),
    ],
)
def test_smtp_servers_that_misbehave(answers: list[bytes], expected: type[Exception] | None) -> None:
    """As for IMAP; and a yes before the token was sent is no login."""
    with scripted(smtp_server(*answers)) as port:
        mail = smtplib.SMTP("127.0.0.1", port, timeout=10)
        if expected is None:
            smtp_login(mail, source)
        else:
            with pytest.raises(expected):
                smtp_login(mail, source)
        mail.close()


# -- Kafka ----------------------------------------------------------------------------------------


def test_librdkafka_learns_the_expiry() -> None:
    """With a wrong expiry it would never ask again, or at once and for ever."""
    assert oauth_cb(source)("") == (TOKEN.value, TOKEN.expires_at)


# -- MQTT -----------------------------------------------------------------------------------------


class Anyone:
    """Whom the verifier sees."""

    subject = "dev-1"


def mqtt5_server(seen: list[Any]) -> Callable[[Any, Any], None]:
    """Enhanced authentication by our own server side; MQTT 5 sections 3.1, 3.2 and 4.12."""

    def talk(lines: Any, out: Any) -> None:
        lines.read(1)
        length, shift = 0, 0
        while (byte := lines.read(1)[0]) & 0x80:
            length, shift = length | (byte & 0x7F) << shift, shift + 7
        body = lines.read(length | byte << shift)
        properties: Any = Properties(PacketTypes.CONNECT)
        properties.unpack(body[10:])
        seen.append(properties.AuthenticationMethod)
        outcome = OAuthBearerServer(lambda _: Anyone()).respond(properties.AuthenticationData)
        seen.append(outcome)
        out.write(b"\x20\x03\x00\x00\x00")
        lines.read(1)

    return talk


def test_mqtt5_enhanced_authentication() -> None:
    """The message would be in the wrong property, or not be RFC 7628's."""
    seen: list[Any] = []
    connected = threading.Event()
    with scripted(mqtt5_server(seen)) as port:
        client = Client(CallbackAPIVersion.VERSION2, client_id="dev-1", protocol=MQTTv5)
        client.on_connect = lambda *_: connected.set()
        client.connect("127.0.0.1", port, properties=enhanced(source, authzid="dev-1"))
        client.loop_start()
        assert connected.wait(20)
        client.loop_stop()
        client.disconnect()
    assert seen[0] == "OAUTHBEARER"
    assert isinstance(seen[1], Accepted)
    assert seen[1].identity == "dev-1"


def test_use_token_keeps_the_callback_that_was_there() -> None:
    """An application's own preparation before it connects would be lost without a word."""
    client = Client(CallbackAPIVersion.VERSION2)
    called: list[str] = []
    client.on_pre_connect = lambda *_: called.append("before")
    use_token(client, source, "dev-1")
    prepared = client.on_pre_connect
    assert prepared is not None
    prepared(client, None)
    assert called == ["before"]
    assert (client.username, client.password) == ("dev-1", TOKEN.value)


def test_lines_of_other_mechanisms() -> None:
    """IMAP's `=` is an empty message (RFC 4959): nothing of it may reach the parser as a text."""
    with pytest.raises(Malformed):
        decode_line(b"=")
