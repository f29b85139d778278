"""Apache Kafka takes our tokens by SASL/OAUTHBEARER, as `broker-config kafka` sets it up.

Kafka reads who the token is for and about, and no scopes: what a principal may do is in Kafka's own ACLs. It
verifies by itself; a connection ends with its token unless the client authenticates again on it (KIP-368).
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError as AioKafkaError
from aiokafka.errors import TopicAuthorizationFailedError
from confluent_kafka import KafkaError, Producer
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)
from tests.brokers.conftest import short_folder
from tests.brokers.issuer import Issuer, Registered
from tests.brokers.programs import listening
from tests.support.served import free_ports

from watchword.client import AccessToken
from watchword.sasl.aiokafka import TokenProvider
from watchword.sasl.confluent_kafka import oauth_cb

pytestmark = pytest.mark.xdist_group("kafka")  # one worker starts it
API, OTHER = "urn:kafka", "urn:another-kafka"
SHORT = 4
POM = Path(__file__).parent / "kafka" / "pom.xml"
CONFIG = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=CONTROLLER://127.0.0.1:{controller},INSIDE://127.0.0.1:{inside},DEVICES://127.0.0.1:{devices}
advertised.listeners=INSIDE://127.0.0.1:{inside},DEVICES://127.0.0.1:{devices}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,INSIDE:PLAINTEXT,DEVICES:SASL_PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=INSIDE
log.dirs={folder}/data
offsets.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
connection.failed.authentication.delay.ms=0
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
"""


@dataclass(frozen=True)
class Kafka:
    """A running one; `inside` is a plain listener on loopback, for the operator."""

    inside: str
    devices: str

    def topic(self, *writers: Registered) -> str:
        """A new topic and who may write to it."""
        admin = AdminClient({"bootstrap.servers": self.inside})
        name = f"t-{uuid.uuid4()}"
        admin.create_topics([NewTopic(name, 1, 1)])[name].result(30)
        rules = [
            AclBinding(
                ResourceType.TOPIC, name, ResourcePatternType.LITERAL, f"User:{app.client_id}", "*",
                AclOperation.WRITE, AclPermissionType.ALLOW,
            )
            for app in writers
        ]  # fmt: skip
        for done in (admin.create_acls(rules) if rules else {}).values():
            done.result(30)
        return name


@pytest.fixture(scope="module")
def kafka(issuer: Issuer) -> Iterator[Kafka]:
    for identifier in (API, OTHER):
        issuer.api(identifier, "produce")
    for folder in short_folder("kf"):
        with _kafka(issuer, folder) as made:
            yield made


@contextmanager
def _kafka(issuer: Issuer, folder: Path) -> Iterator[Kafka]:
    maven = shutil.which("mvn")
    assert maven is not None, "mvn is missing: run .ci/prepare brokers"
    fetch = [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={folder}/lib"]
    fetched = subprocess.run(fetch, capture_output=True, text=True, check=False)
    assert fetched.returncode == 0, fetched.stdout
    ca = folder / "ca.pem"
    shutil.copyfile(issuer.ca, ca)
    issuer.watchword(
        "broker-config", "kafka", "--api", API, "--listener", "DEVICES", "--ca", str(ca), "--out", str(folder)
    )
    controller, inside, devices = free_ports(3)
    config = folder / "server.properties"
    own = CONFIG.format(folder=folder, controller=controller, inside=inside, devices=devices)
    config.write_text(own + (folder / "watchword.properties").read_text())
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    java = ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", quiet, "-cp", f"{folder}/lib/*"]
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    form = [*java, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(config)]
    formatted = subprocess.run(form, capture_output=True, text=True, check=False)
    assert formatted.returncode == 0, formatted.stderr
    start = f'. {folder}/watchword.env; exec {" ".join(java[:4])} $KAFKA_OPTS -cp "{java[5]}" kafka.Kafka {config}'
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}
    with listening(["sh", "-c", start], devices, folder, environment, others=[inside]):
        yield Kafka(f"127.0.0.1:{inside}", f"127.0.0.1:{devices}")


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
    topic = kafka.topic(app)
    with closing(Librdkafka(kafka, issuer.credentials(app).token)) as producer:
        assert producer.send(topic) is None


def test_a_topic_without_a_grant(kafka: Kafka, issuer: Issuer) -> None:
    """The principal would not be the application: any token would write to any topic."""
    app, another = issuer.application(API, "produce"), issuer.application(API, "produce")
    topic = kafka.topic(another)
    with closing(Librdkafka(kafka, issuer.credentials(app).token)) as producer:
        assert code_of(producer.send(topic)) == KafkaError.TOPIC_AUTHORIZATION_FAILED


@pytest.mark.parametrize("kind", ["expired", "for another API", "forged"])
def test_refused(kind: str, kafka: Kafka, issuer: Issuer) -> None:
    """A token that leaked long ago, one that another API saw, or one that nobody signed would write."""
    app = issuer.application(OTHER if kind == "for another API" else API, "produce")
    topic = kafka.topic(app)
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
    topic, token = kafka.topic(app), issuer.token(app)
    issuer.revoke(app, token)
    with closing(Librdkafka(kafka, holding(token))) as producer:
        assert producer.send(topic) is None


def test_renewed_on_a_live_connection(kafka: Kafka, issuer: Issuer) -> None:
    """Without KIP-368 every producer would lose its connection each hour, or keep it for ever."""
    app = issuer.application(API, "produce")
    topic = kafka.topic(app)
    with closing(Librdkafka(kafka, holding(issuer.token(app, lives=2 * SHORT), issuer.token(app)))) as producer:
        assert producer.send(topic) is None
        before = producer.connects()
        producer.wait(2 * SHORT + 1)
        assert producer.send(topic) is None
        assert producer.connects() == before, "it was a new connection"


def test_a_live_connection_ends_with_its_token(kafka: Kafka, issuer: Issuer) -> None:
    """A device that gets no new token, because it was disabled, would write on."""
    app = issuer.application(API, "produce")
    topic, token = kafka.topic(app), issuer.token(app, lives=SHORT)

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
    topic = kafka.topic(app)
    async with aio_producer(kafka, TokenProvider(issuer.credentials(app, loop=True).atoken)) as producer:
        await producer.send_and_wait(topic, b"21.5")
    async with AIOKafkaConsumer(topic, bootstrap_servers=kafka.inside, auto_offset_reset="earliest") as consumer:
        assert (await asyncio.wait_for(consumer.getone(), 20)).value == b"21.5"


async def test_aiokafka_expired(kafka: Kafka, issuer: Issuer) -> None:
    """The two libraries would differ in what opens the broker. This one overlooks the refusal, and sends in vain."""
    app = issuer.application(API, "produce")
    topic, expired = kafka.topic(app), issuer.token(app, lives=-1)

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
    topic = kafka.topic(another)
    async with aio_producer(kafka, TokenProvider(issuer.credentials(app, loop=True).atoken)) as producer:
        with pytest.raises(TopicAuthorizationFailedError):
            await producer.send_and_wait(topic, b"99")


async def test_aiokafka_goes_on_with_a_new_token(kafka: Kafka, issuer: Issuer) -> None:
    """aiokafka cannot authenticate again on a connection: Kafka ends it, and it must come back by itself."""
    app = issuer.application(API, "produce")
    topic = kafka.topic(app)
    give = holding(issuer.token(app, lives=SHORT), issuer.token(app))

    async def source() -> AccessToken:
        return give()

    async with aio_producer(kafka, TokenProvider(source)) as producer:
        for _ in range(2 * SHORT):
            await producer.send_and_wait(topic, b"21.5")
            await asyncio.sleep(1)
