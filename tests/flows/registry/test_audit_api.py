"""`/api/v1/audit`: pages and filters, and what it says of administrators that were refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.instance import BASE, Instance, credentials_of, instance


@pytest.fixture
async def ww(tmp_path: Path) -> AsyncIterator[Instance]:
    """A running instance."""
    async with instance(tmp_path) as running:
        yield running


async def found(ww: Instance, query: str = "") -> list[dict[str, Any]]:
    """All events that match, page by page of two."""
    events: list[dict[str, Any]] = []
    headers, cursor = await ww.bearer(), ""
    while True:
        answer = await ww.http.get(f"{BASE}/api/v1/audit?limit=2{query}{cursor}", headers=headers)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["items"]) <= 2
        events += page["items"]
        if page.get("next") is None:
            return events
        cursor = f"&cursor={page['next']}"


async def test_pages_and_filters(ww: Instance) -> None:
    """After an incident an administrator could read the last 500 events, and nothing before them."""
    api = await ww.api("https://one.example", "read")
    ww.clock.now += 100
    app = await ww.application("app", api, "read")
    name = {"name": "renamed"}
    await ww.call("PATCH", f"/applications/{app['client_id']}", name, headers={"x-request-id": "incident-7"})
    ww.clock.now += 100
    await ww.token(credentials_of(app))
    everything = await found(ww)
    assert len(everything) > 10
    assert [event["at"] for event in everything] == sorted((event["at"] for event in everything), reverse=True)
    of_app = await found(ww, f"&client_id={app['client_id']}")
    assert [event["event"] for event in of_app] == [
        "TokenIssued", "ApplicationUpdated", "SecretCreated", "ApplicationCreated",
    ]  # fmt: skip
    assert of_app[1]["before"] == {"name": "app"}
    assert of_app[1]["after"] == name
    assert [event["event"] for event in await found(ww, "&event=ApplicationUpdated")] == ["ApplicationUpdated"]
    assert [event["event"] for event in await found(ww, "&request_id=incident-7")] == ["ApplicationUpdated"]
    young = await found(ww, "&since=2027-01-15T08:01:40Z&until=2027-01-15T08:03:20Z")
    assert {event["at"] for event in young} == {1_800_000_100.0}
    assert {event["event"] for event in young} >= {"ApplicationCreated", "ApplicationUpdated"}


@pytest.mark.parametrize(
    ("query", "field"), [("event=Nothing", "event"), ("since=yesterday", "since"), ("until=1e400", "until")]
)
async def test_a_filter_that_makes_no_sense_is_refused(ww: Instance, query: str, field: str) -> None:
    """An empty list would look as if nothing had happened."""
    answer = await ww.call("GET", f"/audit?{query}")
    assert (answer.status_code, answer.json()["field"]) == (400, field)


async def test_a_cursor_is_of_its_filter(ww: Instance) -> None:
    """A walk that changes its filter half-way would leave events out."""
    following = (await ww.call("GET", "/audit?limit=1")).json()["next"]
    answer = await ww.call("GET", f"/audit?limit=1&event=TokenIssued&cursor={following}")
    assert (answer.status_code, answer.json()["field"]) == (400, "cursor")


async def test_refused_administrators_are_counted(ww: Instance) -> None:
    """Somebody who tries stolen tokens at the admin API would leave no trace."""
    app = await ww.application("app", await ww.api("https://one.example", "read"), "read")
    bearer = {"authorization": f"Bearer {(await ww.token(credentials_of(app))).json()['access_token']}"}
    limited = await ww.token(ww.admin, resource="urn:watchword:admin", scope="audit:read")
    below = {"authorization": f"Bearer {limited.json()['access_token']}"}
    for path in ("/api/v1/applications", "/management/v4/default/applications"):
        assert (await ww.http.get(f"{BASE}{path}")).status_code == 401
        assert (await ww.http.get(f"{BASE}{path}", headers=bearer)).status_code == 401
        assert (await ww.http.get(f"{BASE}{path}", headers=below)).status_code == 403
    await ww.services.upkeep.housekeeping.write_sums()
    refused = {(event["what"], event["source"]): event["count"] for event in await found(ww, "&event=RequestsRefused")}
    assert refused == {
        ("invalid_token (admin API)", "127.0.0.0/24"): 2,
        ("insufficient_scope (admin API)", "127.0.0.0/24"): 1,
        ("invalid_token (App ID management)", "127.0.0.0/24"): 2,
        ("insufficient_scope (App ID management)", "127.0.0.0/24"): 1,
    }


async def test_the_parameters_are_described(ww: Instance) -> None:
    """Callers would have to guess which times and names are meant."""
    document = (await ww.http.get(f"{BASE}/api/v1/openapi.json")).json()
    parameters = document["paths"]["/api/v1/audit"]["get"]["parameters"]
    assert {one["name"] for one in parameters if one.get("description")} == {
        "limit", "cursor", "event", "client_id", "request_id", "since", "until",
    }  # fmt: skip
