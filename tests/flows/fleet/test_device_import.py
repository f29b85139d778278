"""Devices by the thousand, over HTTP: each row judged for itself, and nothing lost when an answer is."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.instance import Instance, instance

from watchword.jose import Algorithm, PrivateKey

KEY = base64.urlsafe_b64encode(bytes(range(32))).decode().rstrip("=")
OTHER = base64.urlsafe_b64encode(bytes(32)).decode().rstrip("=")


@pytest.fixture(params=["sqlite", "postgres"])
async def ww(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Instance]:
    """The same instance on each database."""
    url = request.getfixturevalue("postgres_dsn") if request.param == "postgres" else ""
    async with instance(tmp_path, url) as running:
        yield running


async def sent(ww: Instance, *rows: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    """The results of one batch."""
    answer = await ww.call("POST", "/devices/import", {"rows": rows, "bundle_key": KEY, **more})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["rows"])


def outcomes(results: list[dict[str, Any]]) -> list[str]:
    """What became of each."""
    assert [result["row"] for result in results] == list(range(len(results)))
    return [result["outcome"] for result in results]


def jwks() -> dict[str, Any]:
    """A public key."""
    return {"keys": [PrivateKey.generate(Algorithm.ES256).public.to_jwk()]}


async def events(ww: Instance) -> Counter[str]:
    """The newest audit events, by name."""
    return Counter(one["event"] for one in (await ww.call("GET", "/audit?limit=500")).json()["items"])


async def test_good_rows_are_made_and_bad_ones_named(ww: Instance) -> None:
    """One wrong row of a thousand would stop the others, or be lost without a word."""
    api = await ww.api("https://rs1.example/", "a:read")
    grants = [{"api_id": api["api_id"], "scopes": ["a:read"]}]
    before = await events(ww)
    private = {"keys": [{**jwks()["keys"][0], "d": "AAAA"}]}
    results = await sent(
        ww,
        {"serial": "1", "name": "one", "grants": grants, "labels": {"site": "eu"}},
        {"serial": " 2"},
        {"serial": "3", "group": "nowhere"},
        {"serial": "4", "grants": [{"api_id": api["api_id"], "scopes": ["b:write"]}]},
        {"serial": "5", "jwks": private},
        {"serial": "6", "auth_method": "password"},
        {"serial": "7", "jwks": jwks()},
        {"serial": "1"},
        {"serial": "8", "role_ids": ["nothing"]},
    )
    assert outcomes(results) == ["created", *["refused"] * 5, "created", "refused", "refused"]
    fields = [result.get("field") for result in results]
    assert fields == [None, "serial", "group", "grants", "jwks", "auth_method", None, "serial", "role_ids"]
    assert all(result["reason"] for result in results if result["outcome"] == "refused")
    first = results[0]
    shown = (await ww.call("GET", f"/applications/{first['client_id']}")).json()
    assert (shown["kind"], shown["name"], shown["serial"], shown["labels"]) == ("device", "one", "1", {"site": "eu"})
    answer = await ww.token((first["client_id"], first["client_secret"]))
    assert (answer.status_code, answer.json()["scope"]) == (200, "a:read")
    assert "client_secret" not in results[6]
    counted = await events(ww) - before
    assert (counted["ApplicationCreated"], counted["SecretCreated"], counted["ClientKeyAdded"]) == (2, 1, 1)


async def test_the_same_again_is_the_same_answer(ww: Instance) -> None:
    """A lost answer would be lost secrets; or another import, or another key, would be told them."""
    rows = [{"serial": str(number)} for number in range(3)]
    first = await sent(ww, *rows)
    again = await sent(ww, *rows)
    assert outcomes(again) == ["exists"] * 3
    assert [r["client_secret"] for r in again] == [r["client_secret"] for r in first]
    assert [r["client_id"] for r in again] == [r["client_id"] for r in first]
    assert len({r["client_secret"] for r in first}) == 3
    for other in (OTHER, None):
        told = await sent(ww, *rows, bundle_key=other)
        assert outcomes(told) == ["exists"] * 3
        assert not any("client_secret" in r for r in told)
    changed = await sent(ww, {"serial": "1", "name": "another"}, {"serial": "2", "jwks": jwks()})
    assert outcomes(changed) == ["differs", "differs"]
    assert [r["field"] for r in changed] == ["name", "auth_method"]
    assert "client_secret" not in changed[0]
    secret = f"/applications/{first[0]['client_id']}/secrets"
    assert (await ww.call("POST", secret, {"overlap": 0})).status_code == 201
    assert "client_secret" not in (await sent(ww, rows[0]))[0]


async def test_a_group_says_what_its_devices_are(ww: Instance) -> None:
    """A device would get what its group does not have, or the group be fuller than it may be."""
    group = {
        "name": "sensors", "max_devices": 2, "labels": {"site": "eu", "line": "a"}, "secret_lifetime": 3600,
        "name_pattern": "sensor-{serial}-{id}", "auth_methods": ["client_secret_post", "private_key_jwt"],
    }  # fmt: skip
    made = (await ww.call("POST", "/enrolment-groups", group)).json()
    rows = [
        {"serial": "1", "group": "sensors", "labels": {"line": "b"}},
        {"serial": "2", "group": "sensors", "auth_method": "client_secret_basic"},
        {"serial": "3", "group": "sensors", "role_ids": ["x"]},
        {"serial": "4", "group": "sensors", "jwks": jwks()},
        {"serial": "5", "group": "sensors"},
    ]
    results = await sent(ww, *rows)
    assert outcomes(results) == ["created", "refused", "refused", "created", "refused"]
    assert [result.get("field") for result in results] == [None, "auth_method", "group", None, "group_id"]
    shown = (await ww.call("GET", f"/applications/{results[0]['client_id']}")).json()
    assert shown["labels"] == {"site": "eu", "line": "b"}
    assert shown["name"] == f"sensor-1-{shown['client_id'][:8]}"
    assert shown["auth_method"] == "client_secret_post"
    assert shown["secrets"][0]["expires_at"] == int(ww.clock.now) + 3600
    assert (await ww.call("GET", f"/enrolment-groups/{made['group_id']}")).json()["devices"] == 2
    assert outcomes(await sent(ww, rows[0], rows[3])) == ["exists", "exists"]


async def test_two_imports_of_one_list_at_once(ww: Instance) -> None:
    """Devices would be there twice, or each import hold a secret for a device that the other one made."""
    assert (await ww.call("POST", "/enrolment-groups", {"name": "g", "max_devices": 150})).status_code == 201
    rows = [{"serial": f"{number:03}", "group": "g"} for number in range(100)]
    both = await asyncio.gather(sent(ww, *rows), sent(ww, *reversed(rows)))
    assert sum(Counter(outcomes(results))["created"] for results in both) == 100
    told = [{r["serial"]: (r["client_id"], r["client_secret"]) for r in results} for results in both]
    assert told[0] == told[1]
    assert (await ww.call("GET", "/enrolment-groups")).json()["items"][0]["devices"] == 100


async def test_a_dry_run_and_bad_batches_change_nothing(ww: Instance) -> None:
    """A look would register devices; or a request that is no batch be half done."""
    assert outcomes(await sent(ww, {"serial": "1"}, {"serial": ""}, dry_run=True)) == ["created", "refused"]
    assert outcomes(await sent(ww, {"serial": "1"}, bundle_key=None)) == ["refused"]
    for body in (
        {"rows": []},
        {"rows": [{"serial": str(n)} for n in range(1_001)]},
        {"rows": [{"serial": "1", "colour": "red"}]},
        {"rows": [{"serial": "1"}], "bundle_key": "short"},
    ):
        assert (await ww.call("POST", "/devices/import", body)).status_code == 400
    huge = {"rows": [{"serial": "1", "name": "x" * 4_200_000}]}
    assert (await ww.call("POST", "/devices/import", huge)).status_code == 413
    assert (await ww.call("GET", "/applications?name=1")).json()["items"] == []


async def test_devices_are_found_by_label(ww: Instance) -> None:
    """A fleet would have to be read as a whole to find a part of it; or a page of one label go on in another one."""
    await sent(ww, *({"serial": str(n), "labels": {"site": "eu" if n % 2 else "us"}} for n in range(7)))
    first = (await ww.call("GET", "/devices?label=site%3Deu&limit=2")).json()
    rest = (await ww.call("GET", f"/devices?label=site%3Deu&limit=2&cursor={first['next']}")).json()
    assert sorted(one["serial"] for one in first["items"] + rest["items"]) == ["1", "3", "5"]
    assert rest["next"] is None
    assert (await ww.call("GET", f"/devices?label=site%3Dus&cursor={first['next']}")).status_code == 400
    assert (await ww.call("GET", "/devices?label=site")).status_code == 400
    assert (await ww.call("GET", "/devices?label=site%3Dasia")).json()["items"] == []
