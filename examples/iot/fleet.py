"""The devices: each with its own key, its own MQTT connection, and a right to its own topic alone."""

from __future__ import annotations

import json
import math
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from examples.iot.registry import Identity, Operator

from watchword.client import AccessToken, TokenError, TokenRefused
from watchword.sasl.paho_mqtt import EnhancedClient

MQTT = "urn:iot:mqtt"
"""The API that the MQTT broker is: the audience of the devices' tokens."""
Tell = Callable[..., None]
"""``tell(device, state=..., note=..., ...)``: something about a device that its card shows."""


@dataclass(frozen=True)
class Sensor:
    """One device. `claims_to_be`: it publishes as another one, or tries to."""

    name: str
    title: str
    celsius: float
    claims_to_be: str = ""

    @property
    def topic(self) -> str:
        return f"devices/{self.claims_to_be or self.name}/temperature"

    @property
    def scope(self) -> str:
        """What it may do, and nothing else: publish below its own name."""
        return f"mqtt.pub:devices/{self.name}/#"


FLEET = (
    Sensor("freezer-1", "Freezer, Oslo", -18.4),
    Sensor("freezer-2", "Freezer, Bergen", -20.1),
    Sensor("cold-room", "Cold room, Bergen", 3.6),
    Sensor("greenhouse", "Greenhouse, Ås", 22.8),
    Sensor("truck-7", "Truck 7, on the E6", 4.9),
    Sensor("fence-3", "At the fence", 71.0, claims_to_be="freezer-1"),
)


class Device:
    """A sensor that is switched on."""

    def __init__(self, sensor: Sensor, identity: Identity, operator: Operator, port: int, tell: Tell) -> None:
        self._sensor, self._tell = sensor, tell
        self._auth, self._shown = operator.credentials(identity, MQTT), AccessToken("", 0)
        self._inside = False
        # The broker takes an MQTT client id that is the application's own, and no other.
        self._client = EnhancedClient(
            self._token, client_id=identity.client_id, on_renewed=self._renewed, ask_every=2, reconnect_on_failure=True
        )
        self._client.reconnect_delay_set(1, 3)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.connect_async("127.0.0.1", port, keepalive=20)
        self._client.loop_start()

    def measure(self, now: float) -> None:
        """One measurement, if it is connected: what is measured while it is not, is not sent later."""
        if self._client.is_connected():
            swing = 0.6 * math.sin(now / 9 + len(self._sensor.name)) + random.gauss(0, 0.08)
            body = {"celsius": round(self._sensor.celsius + swing, 2), "at": now}
            self._client.publish(self._sensor.topic, json.dumps(body), qos=1)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _token(self) -> AccessToken:
        try:
            token = self._auth.token()
        except TokenError as error:
            why = error.error if isinstance(error, TokenRefused) else error
            self._tell(self._sensor.name, state="out", note=f"The issuer gives it no token: {why}.", token_until=0)
            raise
        self._tell(self._sensor.name, token_until=token.expires_at)
        self._shown = token
        return token

    def _renewed(self) -> None:
        self._tell(self._sensor.name, renewed=True)

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._inside = not reason.is_failure
        if reason.is_failure:
            self._tell(self._sensor.name, state="refused", note=f"The broker does not let it in: {reason}.")
            self._auth.drop(self._shown)  # it was revoked: the next try asks for another one
        else:
            self._tell(self._sensor.name, state="connected", note="")

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if self._inside and reason.is_failure:
            self._tell(self._sensor.name, state="ended", note=f"By the broker: {reason}.")
        self._inside = False

    def _on_publish(self, _client: Any, _data: Any, _id: int, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._tell(self._sensor.name, state="refused", note=f"It may not write there: {reason}.", refusals=1)


@contextmanager
def switched_on(identities: Mapping[str, Identity], operator: Operator, port: int, tell: Tell) -> Iterator[None]:
    """The fleet, measuring once a second until the end of the block."""
    devices = [Device(sensor, identities[sensor.name], operator, port, tell) for sensor in FLEET]
    stopped = threading.Event()

    def measure() -> None:
        while not stopped.wait(1):
            for device in devices:
                device.measure(time.time())

    ticking = threading.Thread(target=measure)
    ticking.start()
    try:
        yield
    finally:
        stopped.set()
        ticking.join()
        for device in devices:
            device.close()
