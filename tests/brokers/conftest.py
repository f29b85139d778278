"""One issuer for all brokers of a session, in a folder whose path is short: sockets' names are limited."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from examples.brokers.kafka import Kafka
from examples.brokers.kafka import kafka as running_kafka
from tests.brokers import issuer as made
from tests.brokers.issuer import Issuer


def short_folder(name: str) -> Iterator[Path]:
    """A folder that other users may enter, since brokers drop their rights."""
    folder = Path(tempfile.mkdtemp(prefix=name))
    folder.chmod(0o755)
    yield folder
    # A broker's own children may still write while they go; what they leave behind is no concern of the test.
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    for folder in short_folder("ww"):
        with made.issuer(folder) as running:
            yield running


KAFKA_API = "urn:kafka"


@pytest.fixture(scope="session")
def kafka(issuer: Issuer) -> Iterator[Kafka]:
    """One for all: it takes longest to start."""
    issuer.api(KAFKA_API, "produce")
    for folder in short_folder("kf"):
        with running_kafka(issuer.url, issuer.ca, KAFKA_API, folder) as running:
            yield running
