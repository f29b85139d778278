"""Apache Kafka as one broker in KRaft mode, from its published jars, told by `watchword broker-config kafka`."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)
from examples.brokers.processes import Missing, broker_config, free_ports, listening, program

POM = Path(__file__).with_name("kafka.xml")
NEEDS = ("java", "mvn")
BUILD = Path(__file__).resolve().parents[2] / "build"
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
offsets.topic.num.partitions=1
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

    def topic(self, *, writers: Iterable[str] = (), readers: Iterable[str] = ()) -> str:
        """A new topic, and which client ids may write to it or read it (in any consumer group)."""
        admin = AdminClient({"bootstrap.servers": self.inside})
        name = f"t-{uuid.uuid4()}"
        admin.create_topics([NewTopic(name, 1, 1)])[name].result(30)
        rules = [_allow(ResourceType.TOPIC, name, client_id, AclOperation.WRITE) for client_id in writers]
        for client_id in readers:
            rules.append(_allow(ResourceType.TOPIC, name, client_id, AclOperation.READ))
            rules.append(_allow(ResourceType.GROUP, "*", client_id, AclOperation.READ))
        for done in (admin.create_acls(rules) if rules else {}).values():
            done.result(30)
        return name


def _allow(kind: ResourceType, name: str, client_id: str, operation: AclOperation) -> AclBinding:
    literal, allow = ResourcePatternType.LITERAL, AclPermissionType.ALLOW
    return AclBinding(kind, name, literal, f"User:{client_id}", "*", operation, allow)


@contextmanager
def kafka(issuer: str, ca: Path | None, api: str, folder: Path) -> Iterator[Kafka]:
    """Until the end of the block, with its data in `folder`. Raises `Missing`."""
    jars = _jars()
    trust = ["--ca", shutil.copyfile(ca, folder / "ca.pem")] if ca else []
    broker_config("kafka", "--issuer", issuer, "--api", api, "--listener", "DEVICES", *trust, "--out", folder)
    controller, inside, devices = free_ports(3)
    config = folder / "server.properties"
    own = CONFIG.format(folder=folder, controller=controller, inside=inside, devices=devices)
    config.write_text(own + (folder / "watchword.properties").read_text())
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    java = [program("java"), "-Xmx512m", "-XX:TieredStopAtLevel=1", "-Xshare:auto", quiet]
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    path = ["-cp", f"{jars}/*"]
    form = [*java, *path, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(config)]
    formatted = subprocess.run(form, capture_output=True, text=True, check=False)
    assert formatted.returncode == 0, formatted.stderr
    start = f'. {folder}/watchword.env; exec {" ".join(java)} $KAFKA_OPTS -cp "{jars}/*" kafka.Kafka {config}'
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}
    with listening(["sh", "-c", start], devices, folder, environment, others=[inside]):
        yield Kafka(f"127.0.0.1:{inside}", f"127.0.0.1:{devices}")


def _jars() -> Path:
    """The broker's jars, fetched once for each version."""
    folder = BUILD / f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    BUILD.mkdir(exist_ok=True)
    fresh = tempfile.mkdtemp(prefix="kafka-", dir=BUILD)
    fetch = [program("mvn"), "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={fresh}"]
    fetched = subprocess.run(fetch, capture_output=True, text=True, check=False)
    if fetched.returncode != 0:
        shutil.rmtree(fresh)
        raise Missing(f"Apache Kafka's jars cannot be had from Maven: {fetched.stdout[-2000:]}")
    Path(fresh).chmod(0o755)
    try:
        Path(fresh).rename(folder)
    except OSError:  # somebody else was faster
        shutil.rmtree(fresh)
    return folder
