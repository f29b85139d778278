"""examples/iot runs as its README says: what its page would show is read from the page's own stream."""

from __future__ import annotations

import http.client
import json
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from examples.brokers.kafka import Kafka
from examples.iot.fleet import FLEET
from examples.iot.registry import Operator
from examples.iot.story import Story, story
from tests.brokers.conftest import KAFKA_API, short_folder
from tests.brokers.issuer import Issuer

pytestmark = pytest.mark.xdist_group("kafka")  # one worker starts it
HONEST = {one.name for one in FLEET if not one.claims_to_be}


class Page:
    """What a browser does: it listens, and a click is a POST."""

    def __init__(self, url: str) -> None:
        self._where = urlsplit(url).netloc
        self.seen: dict[str, dict[str, Any]] = {}
        self.measured: list[tuple[str, float]] = []
        self._news: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._stream = http.client.HTTPConnection(self._where, timeout=30)
        self._stream.request("GET", "/events")
        self._thread = threading.Thread(target=self._read, args=[self._stream.getresponse()])
        self._thread.start()

    def _read(self, stream: http.client.HTTPResponse) -> None:
        for line in stream:
            if line.startswith(b"data: "):
                self._news.put(json.loads(line[6:]))

    def until(self, holds: Callable[[], bool]) -> None:
        """Listen until it is so; half a minute at most without any news."""
        while not holds():
            said = self._news.get(timeout=30)
            for device in [*said.get("devices", []), *([said["device"]] if "device" in said else [])]:
                self.seen.setdefault(device["name"], {}).update(device)
            if "measured" in said:
                self.measured.append((said["measured"]["name"], said["measured"]["celsius"]))

    def state(self, name: str) -> str:
        return str(self.seen.get(name, {}).get("state"))

    def click(self, name: str, on: bool, **headers: str) -> int:
        asking = http.client.HTTPConnection(self._where, timeout=30)
        asking.request("POST", f"/devices/{name}/{'on' if on else 'off'}", headers={"X-Board": "1"} | headers)
        status = asking.getresponse().status
        asking.close()
        return status

    def close(self) -> None:
        self._thread.join(20)
        self._stream.close()


@pytest.fixture(scope="module")
def told(issuer: Issuer, kafka: Kafka) -> Iterator[Story]:
    operator = Operator(issuer.url, *issuer.admin, issuer.trust, issuer.apis)
    for folder in short_folder("io"):
        with story(operator, kafka, Path(folder), ca=issuer.ca, kafka_api=KAFKA_API, kafka_scope="produce") as made:
            yield made
    operator.close()


@pytest.fixture(scope="module")
def page(told: Story) -> Iterator[Page]:
    made = Page(told.url)
    yield made


def test_measurements_come_all_the_way(page: Page) -> None:
    """The example would show nothing: device, MQTT, bridge, Kafka and page each prove who they are to the next."""
    page.until(lambda: {name for name, _ in page.measured} >= HONEST)
    assert {name: page.state(name) for name in HONEST} == dict.fromkeys(HONEST, "connected")


def test_who_claims_to_be_another_is_refused(page: Page) -> None:
    """One stolen device would write another's measurements into the records, and nobody could tell them apart."""
    page.until(lambda: page.seen.get("fence-3", {}).get("refusals", 0) >= 3)
    assert page.state("fence-3") == "refused"
    assert "Not authorized" in page.seen["fence-3"]["note"]
    assert not [celsius for name, celsius in page.measured if name == "fence-3" or celsius > 60]


def test_a_disabled_device_loses_its_connection_and_comes_back(page: Page) -> None:
    """Whoever takes a device out would see it go on until its token expires."""
    assert page.click("truck-7", on=False) == 204
    page.until(lambda: page.state("truck-7") == "ended")
    page.until(lambda: page.state("truck-7") == "out")
    assert page.state("cold-room") == "connected"
    assert page.click("truck-7", on=True) == 204
    page.until(lambda: page.state("truck-7") == "connected")
    count = len(page.measured)
    page.until(lambda: "truck-7" in {name for name, _ in page.measured[count:]})


def test_another_site_cannot_click(page: Page) -> None:
    """Any page that the visitor has open elsewhere could switch devices off."""
    assert page.click("cold-room", on=False, **{"X-Board": ""}) == 403
    assert page.click("cold-room", on=False, Host="evil.example") == 403
    assert page.click("nobody", on=False) == 404
