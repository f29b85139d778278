"""librdkafka's own OIDC method (`sasl.oauthbearer.method=oidc`) fetches from /token; no Kafka runs here.

librdkafka fetches when the client starts and shows the token to nobody but a broker, so the test listens on a
port and plays the three frames that come before a broker judges: ApiVersions, SaslHandshake, SaslAuthenticate.
What is shown: the fetch, its errors, and that the token which would reach a broker is good at our verifier.
What is not: a broker's judgement of it.
"""

from __future__ import annotations

import queue
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import KafkaError, Producer
from tests.interop.conftest import AUDIENCE, SCOPE
from tests.support.served import Registered

from watchword.resource import Verifier

API_VERSIONS, SASL_HANDSHAKE, SASL_AUTHENTICATE = 18, 17, 36


class Ear(socketserver.StreamRequestHandler):
    """A broker up to the moment at which it hears the token; it keeps that and hangs up."""

    heard: queue.Queue[bytes]

    def handle(self) -> None:
        while size := self.rfile.read(4):
            frame = self.rfile.read(int.from_bytes(size))
            (key,) = struct.unpack(">h", frame[:2])
            if key == SASL_AUTHENTICATE:
                return self.heard.put(frame)
            self.answer(frame[4:8] + {API_VERSIONS: versions(), SASL_HANDSHAKE: mechanisms()}[key])

    def answer(self, body: bytes) -> None:
        self.wfile.write(len(body).to_bytes(4) + body)


def versions() -> bytes:
    """ApiVersions response, version 3: no error, a compact array, no throttling, no tags."""
    known = [(API_VERSIONS, 0, 3), (SASL_HANDSHAKE, 0, 1), (SASL_AUTHENTICATE, 0, 0)]
    return struct.pack(">hB", 0, len(known) + 1) + b"".join(struct.pack(">hhhx", *one) for one in known) + bytes(5)


def mechanisms() -> bytes:
    """SaslHandshake response: no error, one mechanism."""
    return struct.pack(">hih", 0, 1, 11) + b"OAUTHBEARER"


@contextmanager
def ear() -> Iterator[tuple[int, queue.Queue[bytes]]]:
    """A port, and what was said to it."""
    heard: queue.Queue[bytes] = queue.Queue()
    handler = type("BoundEar", (Ear,), {"heard": heard})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], heard
        server.shutdown()


def settings(server: Registered, port: int, secret: str, scope: str, **more: Any) -> dict[str, Any]:
    return {
        "bootstrap.servers": f"127.0.0.1:{port}",
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanisms": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.token.endpoint.url": f"{server.issuer}/token",
        "sasl.oauthbearer.client.id": server.credentials["client_secret_basic"][0],
        "sasl.oauthbearer.client.secret": secret,
        "sasl.oauthbearer.scope": scope,
        **more,
    }


def test_the_token_that_a_broker_would_see_is_good(server: Registered) -> None:
    """Kafka clients in any language that sits on librdkafka could not take their identity from Watchword."""
    secret = server.credentials["client_secret_basic"][1]
    with ear() as (port, heard):
        producer = Producer(settings(server, port, secret, SCOPE))
        producer.poll(0)
        _, _, rest = heard.get(timeout=30).partition(b"n,,\x01auth=Bearer ")
    token = rest.partition(b"\x01")[0].decode()
    claims = Verifier(server.issuer, audience=AUDIENCE).verify(token, scope=SCOPE)
    assert claims.client_id == server.credentials["client_secret_basic"][0]


@pytest.mark.parametrize(
    ("wrong", "scope", "word"),
    [
        pytest.param(True, SCOPE, "invalid_client", id="a wrong secret"),
        pytest.param(False, "ungranted", "invalid_scope", id="a scope that is not granted"),
    ],
)
def test_a_refusal_reaches_the_client(server: Registered, wrong: bool, scope: str, word: str) -> None:
    """A Kafka client with a wrong secret would wait for ever and tell its operator nothing."""
    errors: queue.Queue[KafkaError] = queue.Queue()
    secret = "wrong" if wrong else server.credentials["client_secret_basic"][1]
    with ear() as (port, heard):
        producer = Producer(settings(server, port, secret, scope, error_cb=errors.put))
        producer.poll(30)
        told = errors.get(timeout=1)
        assert heard.empty()
    assert told.name() == "_AUTHENTICATION"
    assert word in told.str()
