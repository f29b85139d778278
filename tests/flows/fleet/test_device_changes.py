"""Many devices changed at once: what holds for one holds for each of them, at once and on the record."""

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
Pair = tuple[str, str]


@pytest.fixture(params=["sqlite", "postgres"])
async def ww(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Instance]:
    """The same instance on each database."""
    url = request.getfixturevalue("postgres_dsn") if request.param == "postgres" else ""
    async with instance(tmp_path, url) as running:
        yield running


async def devices(ww: Instance, count: int, **more: Any) -> dict[str, Pair]:
    """So many with secrets, by serial number."""
    rows = [{"serial": f"{more.get('group', '')}{n:03}", **more} for n in range(count)]
    made = (await ww.call("POST", "/devices/import", {"rows": rows, "bundle_key": KEY})).json()["rows"]
    assert {each["outcome"] for each in made} == {"created"}
    return {each["serial"]: (each["client_id"], each.get("client_secret", "")) for each in made}


async def reading(ww: Instance) -> list[dict[str, Any]]:
    """Grants at an API."""
    api = await ww.api("https://rs1.example/", "a:read")
    asks = {"introspectors": [ww.admin[0]]}
    assert (await ww.call("PATCH", f"/apis/{api['api_id']}", asks)).status_code == 200
    return [{"api_id": api["api_id"], "scopes": ["a:read"]}]


async def changed(ww: Instance, action: str, **body: Any) -> dict[str, Any]:
    """One batch's answer."""
    answer = await ww.call("POST", "/devices/bulk", {"action": action, **body})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def outcomes(batch: dict[str, Any]) -> Counter[str]:
    """How many of each."""
    return Counter(row["outcome"] for row in batch["rows"])


async def events(ww: Instance) -> list[dict[str, Any]]:
    """The newest audit events, without those of tokens."""
    items = (await ww.call("GET", "/audit?limit=500")).json()["items"]
    return sorted((each for each in items if each["event"] != "TokenIssued"), key=str)


async def test_a_disabled_fleet_is_without_tokens_at_once(ww: Instance) -> None:
    """DIS-001 for each: a stolen batch of devices would go on with the tokens that they have, or get new ones."""
    grants = await reading(ww)
    stolen = await devices(ww, 3, grants=grants, labels={"batch": "7", "site": "eu"})
    others = (await ww.call("POST", "/devices/import", {
        "rows": [{"serial": "safe", "grants": grants, "labels": {"batch": "8", "site": "eu"}}], "bundle_key": KEY,
    })).json()["rows"]  # fmt: skip
    safe = others[0]["client_id"], others[0]["client_secret"]
    tokens = {serial: (await ww.token(pair)).json()["access_token"] for serial, pair in stolen.items()}
    kept = (await ww.token(safe)).json()["access_token"]
    said = await changed(ww, "disable", labels={"batch": "7", "site": "eu"})
    assert outcomes(said) == {"changed": 3}
    assert said["next"] is None
    for serial, pair in stolen.items():
        assert (await ww.token(pair)).json()["error"] == "invalid_client"
        assert (await ww.introspect(ww.admin, tokens[serial])) == {"active": False}
    assert (await ww.introspect(ww.admin, kept))["active"] is True
    assert (await ww.token(safe)).status_code == 200
    assert outcomes(await changed(ww, "disable", labels={"batch": "7"})) == {"unchanged": 3}
    assert outcomes(await changed(ww, "enable", labels={"batch": "7"})) == {"changed": 3}
    assert (await ww.token(stolen["000"])).status_code == 200


async def test_one_of_many_is_recorded_as_one_alone(ww: Instance) -> None:
    """The log, or the APIs that follow the feed, would be told less of a bulk change than of the same one by one."""
    alone, many = (await devices(ww, 2)).values()
    newest = ww.services.storage.revocations.newest_revocation
    tenant = await ww.services.view.tenant("default")
    assert tenant is not None
    for action, path in (("quarantine", "quarantine"), ("release", "release"), ("disable", ""), ("enable", "")):
        ww.clock.now += 1
        since, before = await newest(), await events(ww)
        body: dict[str, Any] = {"reason": "stolen"} if path == "quarantine" else {"enabled": action == "enable"}
        one = f"/applications/{alone[0]}"
        given = body if path in ("", "quarantine") else None
        single = await ww.call("POST" if path else "PATCH", f"{one}/{path}".rstrip("/"), given)
        assert single.status_code == 200
        assert outcomes(await changed(ww, action, serials=["001"], reason="stolen")) == {"changed": 1}
        both = [each for each in await events(ww) if each not in before]
        plain = [{k: v for k, v in each.items() if k not in ("at", "request_id", "client_id")} for each in both]
        assert plain[0] == plain[1]
        assert {each["client_id"] for each in both} == {alone[0], many[0]}
        told = await ww.services.storage.revocations.revocations(tenant.tenant.tenant_id, "", since, 0, 9)
        assert [(each.ref, each.enabled) for _, each in told] == [
            (pair[0], action in ("release", "enable")) for pair in (alone, many)
        ]


async def test_a_walk_in_batches_meets_each_once(ww: Instance) -> None:
    """A fleet larger than one batch would be changed in part; or a cursor carry one selection into another."""
    assert (await ww.call("POST", "/enrolment-groups", {"name": "g"})).status_code == 201
    await devices(ww, 5, labels={"site": "eu"})
    await devices(ww, 5, group="g", labels={"site": "eu"})
    look = await changed(ww, "disable", group="g", labels={"site": "eu"}, dry_run=True, limit=1)
    assert (look["selected"], outcomes(look)) == (5, {"changed": 1})
    seen: list[str] = []
    cursor = None
    while True:
        batch = await changed(ww, "disable", group="g", labels={"site": "eu"}, limit=2, cursor=cursor)
        assert outcomes(batch)["changed"] == len(batch["rows"])
        seen += [row["serial"] for row in batch["rows"]]
        cursor = batch["next"]
        if cursor is None:
            break
        for other in (
            {"action": "enable", "group": "g", "labels": {"site": "eu"}},
            {"action": "disable", "group": "g"},
        ):
            assert (await ww.call("POST", "/devices/bulk", {**other, "cursor": cursor})).status_code == 400
    assert sorted(seen) == [f"g00{n}" for n in range(5)]
    shown = (await ww.call("GET", "/devices?label=site%3Deu&limit=50")).json()["items"]
    assert {one["serial"] for one in shown if one["enabled"]} == {f"00{n}" for n in range(5)}
    in_group = (await ww.call("GET", "/devices?group=g")).json()["items"]
    assert sorted(one["serial"] for one in in_group) == sorted(seen)
    assert [one["serial"] for one in (await ww.call("GET", "/devices?serial=003")).json()["items"]] == ["003"]
    assert (await ww.call("GET", "/devices?serial=nobody")).json() == {"items": [], "next": None}
    assert (await ww.call("GET", "/devices?group=nowhere")).status_code == 400


async def test_new_secrets_are_told_again_to_whoever_brings_the_key(ww: Instance) -> None:
    """A lost answer would leave devices whose secret nobody has; or a second run cut off the secrets of the first."""
    grants = await reading(ww)
    known = await devices(ww, 2, grants=grants, labels={"site": "eu"})
    key = {"keys": [PrivateKey.generate(Algorithm.ES256).public.to_jwk()]}
    await ww.call("POST", "/devices/import", {"rows": [{"serial": "key", "jwks": key, "labels": {"site": "eu"}}]})
    first = await changed(ww, "rotate", labels={"site": "eu"}, bundle_key=OTHER)
    assert outcomes(first) == {"changed": 2, "skipped": 1}
    again = await changed(ww, "rotate", labels={"site": "eu"}, bundle_key=OTHER)
    assert outcomes(again) == {"unchanged": 2, "skipped": 1}
    fresh = {row["serial"]: row["client_secret"] for row in first["rows"] if row["outcome"] == "changed"}
    assert fresh == {row["serial"]: row["client_secret"] for row in again["rows"] if row["outcome"] == "unchanged"}
    assert not set(fresh.values()) & {pair[1] for pair in known.values()}
    assert next(row["reason"] for row in first["rows"] if row["outcome"] == "skipped").startswith("it proves itself by")
    client_id, old = known["000"]
    for secret in (old, fresh["000"]):
        assert (await ww.token((client_id, secret))).status_code == 200
    third = await changed(ww, "rotate", serials=["000"], bundle_key=KEY, overlap=0)
    assert outcomes(third) == {"changed": 1}
    for secret, status in ((old, 401), (fresh["000"], 401), (third["rows"][0]["client_secret"], 200)):
        assert (await ww.token((client_id, secret))).status_code == status
    rotations = [each for each in await events(ww) if each["event"] == "SecretRotated"]
    assert len(rotations) == 3
    assert third["rows"][0]["client_secret"] not in str(await events(ww))


async def test_two_rotations_of_one_list_at_once_tell_the_same(ww: Instance) -> None:
    """Each of two commands would hold secrets that the other one has cut off."""
    await devices(ww, 40, labels={"site": "eu"})
    body = {"labels": {"site": "eu"}, "bundle_key": OTHER, "overlap": 0}
    both = await asyncio.gather(changed(ww, "rotate", **body), changed(ww, "rotate", **body))
    told = [{row["serial"]: row["client_secret"] for row in each["rows"]} for each in both]
    assert told[0] == told[1]
    assert sum(outcomes(each)["changed"] for each in both) == 40


async def test_a_secret_lives_as_long_as_its_group_says(ww: Instance) -> None:
    """Rotating a fleet would make secrets that never end, where its group wants them to."""
    assert (await ww.call("POST", "/enrolment-groups", {"name": "g", "secret_lifetime": 3_600})).status_code == 201
    ((client_id, _),) = (await devices(ww, 1, group="g")).values()
    await changed(ww, "rotate", group="g", bundle_key=OTHER)
    secrets = (await ww.call("GET", f"/applications/{client_id}")).json()["secrets"]
    assert secrets[-1]["expires_at"] == int(ww.clock.now) + 3_600


async def test_what_cannot_be_changed_stops_nobody_else(ww: Instance) -> None:
    """One device that must stay would keep a stolen fleet alive; or labels cut off the services that carry them too."""
    await devices(ww, 2, labels={"site": "eu"})
    api = await ww.api("https://rs2.example/", "a:read")
    service = await ww.application("billing", api, "a:read", labels={"site": "eu"})
    said = await changed(ww, "disable", labels={"site": "eu"})
    assert outcomes(said) == {"changed": 2, "skipped": 1}
    assert (await ww.call("GET", f"/applications/{service['client_id']}")).json()["enabled"] is True
    itself = {"serial": "admin"}
    assert (await ww.call("PATCH", f"/applications/{ww.admin[0]}", itself)).status_code == 200
    said = await changed(ww, "quarantine", serials=["admin", "000", "nobody", "x\u0000"], reason="lost")
    assert {row["serial"]: row["outcome"] for row in said["rows"]} == {
        "admin": "refused", "000": "changed", "nobody": "missing", "x\u0000": "missing",
    }  # fmt: skip
    assert (await ww.call("GET", "/devices?serial=000")).json()["items"][0]["quarantine"]["reason"] == "lost"


async def test_looks_and_what_cannot_be_meant_change_nothing(ww: Instance) -> None:
    """A dry run would disable a fleet; or a selection that was forgotten mean all devices."""
    await devices(ww, 2, labels={"site": "eu"})
    before = await events(ww)
    for action in ("disable", "quarantine", "rotate"):
        assert outcomes(await changed(ww, action, labels={"site": "eu"}, dry_run=True)) == {"changed": 2}
    look = await changed(ww, "rotate", labels={"site": "eu"}, dry_run=True, bundle_key=KEY)
    assert not any("client_secret" in row for row in look["rows"])
    for body in (
        {"action": "disable"},
        {"action": "disable", "labels": {"site": "eu"}, "serials": ["000"]},
        {"action": "disable", "serials": ["000", "000"]},
        {"action": "disable", "serials": [f"{n}" for n in range(1_001)]},
        {"action": "disable", "labels": {"site": "eu"}, "limit": 0},
        {"action": "disable", "labels": {"site": "eu"}, "cursor": "AAAA"},
        {"action": "disable", "labels": {"si\u0000te": "eu"}},
        {"action": "disable", "group": "nowhere"},
        {"action": "disable", "group": "no\u0000where"},
        {"action": "delete", "labels": {"site": "eu"}},
        {"action": "quarantine", "labels": {"site": "eu"}, "reason": "x" * 501},
        {"action": "rotate", "labels": {"site": "eu"}},
        {"action": "rotate", "labels": {"site": "eu"}, "bundle_key": "short"},
        {"action": "rotate", "labels": {"site": "eu"}, "bundle_key": KEY, "overlap": -1},
    ):
        answer = await ww.call("POST", "/devices/bulk", body)
        assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json"), body
    assert await events(ww) == before
