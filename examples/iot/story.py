"""Everything between an issuer and the page, put together; what starts first is what the others need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from examples.brokers.kafka import Kafka
from examples.brokers.mosquitto import mosquitto
from examples.iot.board import Board, following, page
from examples.iot.bridge import bridge
from examples.iot.fleet import FLEET, MQTT, switched_on
from examples.iot.registry import Identity, Operator

KAFKA, CONNECT = "urn:iot:kafka", "connect"
"""Kafka reads no scopes: who may do what are its ACLs. Its tokens have one all the same."""


@dataclass(frozen=True)
class Story:
    """A running one."""

    url: str
    board: Board
    operator: Operator
    devices: dict[str, Identity]

    def switch(self, name: str, on: bool) -> None:
        """Disable a device, or enable it again."""
        _switch(self.operator, self.devices, self.board, name, on)


def _switch(operator: Operator, devices: dict[str, Identity], board: Board, name: str, on: bool) -> None:
    operator.enable(devices[name], on)
    board.tell(name, enabled=on)


@contextmanager
def story(
    operator: Operator,
    kafka: Kafka,
    folder: Path,
    *,
    ca: Path | None = None,
    kafka_api: str = KAFKA,
    kafka_scope: str = CONNECT,
    port: int = 0,
) -> Iterator[Story]:
    """From the registration to the page, with a Mosquitto in `folder`. Raises `Missing`.

    Args:
        kafka: takes tokens for `kafka_api`, which the operator has made, with `kafka_scope`.
        ca: of the issuer, where the system does not know it.
    """
    operator.api(MQTT, *(one.scope for one in FLEET), "mqtt.sub:devices/#", CONNECT)
    devices = operator.devices({one.name: [(MQTT, one.scope)] for one in FLEET})
    judge = operator.service("mosquitto", (MQTT, CONNECT))
    operator.introspector(MQTT, judge)
    carrier = operator.service("bridge", (MQTT, "mqtt.sub:devices/#"), (kafka_api, kafka_scope))
    reader = operator.service("board", (kafka_api, kafka_scope))
    topic = kafka.topic(writers=[carrier.client_id], readers=[reader.client_id])
    board = Board()
    with ExitStack() as stack:
        follows = judge.client_id, judge.secret()
        mqtt = stack.enter_context(mosquitto(operator.issuer, ca, MQTT, follows, folder))
        stack.enter_context(following(board, operator.credentials(reader, kafka_api).token, kafka, topic))
        stack.enter_context(bridge(carrier, operator, mqtt, kafka, kafka_api, topic))
        stack.enter_context(switched_on(devices, operator, mqtt, board.tell))
        url = stack.enter_context(page(board, lambda name, on: _switch(operator, devices, board, name, on), port))
        yield Story(url, board, operator, devices)
