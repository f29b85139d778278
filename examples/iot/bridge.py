"""From MQTT to Kafka: a service with an identity of its own, which both brokers know, each by a token of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Producer
from examples.brokers.kafka import Kafka
from examples.iot.fleet import MQTT
from examples.iot.registry import Identity, Operator

from watchword.sasl.confluent_kafka import oauth_cb
from watchword.sasl.paho_mqtt import EnhancedClient

TOPICS = "devices/+/temperature"


@contextmanager
def bridge(identity: Identity, operator: Operator, port: int, kafka: Kafka, api: str, topic: str) -> Iterator[None]:
    """Whatever any device measures becomes a Kafka record under that device's name.

    The name is the topic's, and the broker lets each device publish to its own: nothing in a message need be believed.
    """
    producer = Producer(
        {
            "bootstrap.servers": kafka.devices, "security.protocol": "SASL_PLAINTEXT", "sasl.mechanisms": "OAUTHBEARER",
            "oauth_cb": oauth_cb(operator.credentials(identity, api).token), "linger.ms": 5,
        }
    )  # fmt: skip

    def take(_client: Any, _data: Any, message: Any) -> None:
        producer.produce(topic, message.payload, key=message.topic.split("/")[1])
        producer.poll(0)

    client = EnhancedClient(operator.credentials(identity, MQTT).token, client_id=identity.client_id, ask_every=2)
    client.on_connect = lambda client, *_: client.subscribe(TOPICS, qos=1)
    client.on_message = take
    client.connect_async("127.0.0.1", port, keepalive=20)
    client.loop_start()
    try:
        yield
    finally:
        client.disconnect()
        client.loop_stop()
        producer.flush(5)
