"""Apache Kafka takes our tokens by SASL/OAUTHBEARER, as `broker-config kafka` sets it up.

Kafka reads who the token is for and about, and no scopes: what a principal may do is in Kafka's own ACLs. It
verifies by itself; a connection ends with its token unless the client authenticates again on it (KIP-368).
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError as AioKafkaError
from aiokafka.errors import TopicAuthorizationFailedError
from confluent_kafka import KafkaError, Producer
from examples.brokers.kafka import Kafka
from tests.brokers.conftest import KAFKA_API as API
from tests.brokers.issuer import Issuer

from watchword.client import AccessToken
from watchword.sasl.aiokafka import TokenProvider
from watchword.sasl.confluent_kafka import oauth_cb

pytestmark = pytest.mark.xdist_group("kafka")  # one worker starts it
OTHER = "urn:another-kafka"
SHORT = 4


@pytest.fixture(scope="module", autouse=True)
def another_api(issuer: Issuer) -> None:
    issuer.api(OTHER, "produce")


Source = Callable[[], AccessToken]


def holding(*tokens: str) -> Source:
    """A source that has one token after the other, and then the last one for good. They say when they expire."""
    left = list(tokens)

    def give() -> AccessToken:
        token = left.pop(0) if len(left) > 1 else left[0]
        payload = token.split(".")[1]
        return AccessToken(token, json.loads(base64.urlsafe_b64decode(payload + "=="))["exp"])

    return give


class Librdkafka:
    """A confluent-kafka producer, and what it heard."""

    def __init__(self, kafka: Kafka, source: Source, **more: Any) -> None:
        self.errors: list[KafkaError] = []
        self.delivered: list[KafkaError | None] = []
        self.statistics: dict[str, Any] = {}
        self._producer = Producer(
            {
                "bootstrap.servers": kafka.devices, "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanisms": "OAUTHBEARER", "oauth_cb": oauth_cb(source), "error_cb": self.errors.append,
                "statistics.interval.ms": 100, "stats_cb": self._count, "message.timeout.ms": 6_000,
                "reconnect.backoff.max.ms": 500, "log_level": 0, **more,
            }
        )  # fmt: skip

    def _count(self, text: str) -> None:
        self.statistics = json.loads(text)

    def send(self, topic: str) -> KafkaError | None:
        """One message to its end: None is delivered."""
        self.delivered.clear()
        self._producer.produce(topic, b"21.5", on_delivery=lambda error, _: self.delivered.append(error))
        self._producer.flush(20)
        return self.delivered[0]

    def wait(self, seconds: float) -> None:
        """Go on with everything but sending, until that much time has gone."""
        for _ in range(int(seconds * 10)):
            self._producer.poll(0.1)

    def connects(self) -> int:
        """How often it connected to the broker, by its own statistics."""
        self.wait(0.5)
        named = [found for found in self.statistics["brokers"].values() if found["nodeid"] == 1]
        return int(named[0]["connects"])


@contextmanager
def closing(producer: Librdkafka) -> Iterator[Librdkafka]:
    """Nothing is left to send at the end."""
    try:
        yield producer
    finally:
        producer._producer.purge()
        producer._producer.flush(5)


def code_of(error: KafkaError | None) -> int | None:
    """librdkafka's number for it."""
    return None if error is None else error.code()


# -- confluent-kafka (librdkafka) -----------------------------------------------------------------


def test_allowed(kafka: Kafka, issuer: Issuer) -> None:
    """A producer that uses librdkafka, as most do, could not send."""
    app = issuer.application(API, "produce")
    topic = kafka.topic(writers=[app.client_id])
    with closing(Librdkafka(kafka, issuer.credentials(app).token)) as producer:
        assert producer.send(topic) is None


def test_a_topic_without_a_grant(kafka: Kafka, issuer: Issuer) -> None:
    """The principal would not be the application: any token would write to any topic."""
    app, another = issuer.application(API, "produce"), issuer.application(API, "produce")
    topic = kafka.topic(writers=[another.client_id])
    with closing(Librdkafka(kafka, issuer.credentials(app).token)) as producer:
        assert code_of(producer.send(topic)) == KafkaError.TOPIC_AUTHORIZATION_FAILED


@pytest.mark.parametrize("kind", ["expired", "for another API", "forged"])
def test_refused(kind: str, kafka: Kafka, issuer: Issuer) -> None:
    """A token that leaked long ago, one that another API saw, or one that nobody signed would write."""
    app = issuer.application(OTHER if kind == "for another API" else API, "produce")
    topic = kafka.topic(writers=[app.client_id])
    token = issuer.token(app, lives=-1 if kind == "expired" else 60)
    if kind == "forged":
        head, body, signature = token.split(".")
        token = f"{head}.{body}.{signature[::-1]}"

    def source() -> AccessToken:
        return AccessToken(token, 2_000_000_000_000)  # librdkafka itself drops what says that it has expired

    with closing(Librdkafka(kafka, source, **{"message.timeout.ms": 2_000})) as producer:
        assert code_of(producer.send(topic)) == KafkaError._MSG_TIMED_OUT
        assert {code_of(error) for error in producer.errors} & {
            KafkaError._AUTHENTICATION,
            KafkaError._ALL_BROKERS_DOWN,
        }


def test_revoked(kafka: Kafka, issuer: Issuer) -> None:
    """What docs/brokers.md says: Kafka does not ask us, a revoked JWT works until it expires."""
    app = issuer.application(API, "produce")
    topic, token = kafka.topic(writers=[app.client_id]), issuer.token(app)
    issuer.revoke(app, token)
    with closing(Librdkafka(kafka, holding(token))) as producer:
        assert producer.send(topic) is None


def test_renewed_on_a_live_connection(kafka: Kafka, issuer: Issuer) -> None:
    """Without KIP-368 every producer would lose its connection each hour, or keep it for ever."""
    app = issuer.application(API, "produce")
    topic = kafka.topic(writers=[app.client_id])
    with closing(Librdkafka(kafka, holding(issuer.token(app, lives=2 * SHORT), issuer.token(app)))) as producer:
        assert producer.send(topic) is None
        before = producer.connects()
        producer.wait(2 * SHORT + 1)
        assert producer.send(topic) is None
        assert producer.connects() == before, "it was a new connection"


def test_a_live_connection_ends_with_its_token(kafka: Kafka, issuer: Issuer) -> None:
    """A device that gets no new token, because it was disabled, would write on."""
    app = issuer.application(API, "produce")
    topic, token = kafka.topic(writers=[app.client_id]), issuer.token(app, lives=SHORT)

    def source() -> AccessToken:
        return AccessToken(token, 2_000_000_000_000)

    with closing(Librdkafka(kafka, source, **{"message.timeout.ms": 2_000})) as producer:
        assert producer.send(topic) is None
        producer.wait(SHORT + 1)
        assert code_of(producer.send(topic)) == KafkaError._MSG_TIMED_OUT


# -- aiokafka -------------------------------------------------------------------------------------


def aio_producer(kafka: Kafka, provider: TokenProvider) -> AIOKafkaProducer:
    """As docs/brokers.md shows it, on loopback."""
    return AIOKafkaProducer(
        bootstrap_servers=kafka.devices, security_protocol="SASL_PLAINTEXT", sasl_mechanism="OAUTHBEARER",
        sasl_oauth_token_provider=provider, request_timeout_ms=3_000,
    )  # fmt: skip


async def test_aiokafka_allowed(kafka: Kafka, issuer: Issuer) -> None:
    """An asyncio service could not send; and what it sent would not be there."""
    app = issuer.application(API, "produce")
    topic = kafka.topic(writers=[app.client_id])
    async with aio_producer(kafka, TokenProvider(issuer.credentials(app, loop=True).atoken)) as producer:
        await producer.send_and_wait(topic, b"21.5")
    async with AIOKafkaConsumer(topic, bootstrap_servers=kafka.inside, auto_offset_reset="earliest") as consumer:
        assert (await asyncio.wait_for(consumer.getone(), 20)).value == b"21.5"


async def test_aiokafka_expired(kafka: Kafka, issuer: Issuer) -> None:
    """The two libraries would differ in what opens the broker. This one overlooks the refusal, and sends in vain."""
    app = issuer.application(API, "produce")
    topic, expired = kafka.topic(writers=[app.client_id]), issuer.token(app, lives=-1)

    async def source() -> AccessToken:
        return AccessToken(expired, 0)

    producer = aio_producer(kafka, TokenProvider(source))
    try:
        with pytest.raises(AioKafkaError):
            await producer.start()
            await producer.send_and_wait(topic, b"99")
    finally:
        await producer.stop()


async def test_aiokafka_a_topic_without_a_grant(kafka: Kafka, issuer: Issuer) -> None:
    """The principal would not be the application here either."""
    app, another = issuer.application(API, "produce"), issuer.application(API, "produce")
    topic = kafka.topic(writers=[another.client_id])
    async with aio_producer(kafka, TokenProvider(issuer.credentials(app, loop=True).atoken)) as producer:
        with pytest.raises(TopicAuthorizationFailedError):
            await producer.send_and_wait(topic, b"99")


async def test_aiokafka_goes_on_with_a_new_token(kafka: Kafka, issuer: Issuer) -> None:
    """aiokafka cannot authenticate again on a connection: Kafka ends it, and it must come back by itself."""
    app = issuer.application(API, "produce")
    topic = kafka.topic(writers=[app.client_id])
    give = holding(issuer.token(app, lives=SHORT), issuer.token(app))

    async def source() -> AccessToken:
        return give()

    async with aio_producer(kafka, TokenProvider(source)) as producer:
        for _ in range(2 * SHORT):
            await producer.send_and_wait(topic, b"21.5")
            await asyncio.sleep(1)
