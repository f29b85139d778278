"""Dynamic registration (RFC 7591) into an enrolment group, on both databases."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.assertions import jwks
from tests.support.enrolling import applications, codes, enrol, group
from tests.support.instance import ISSUER, Instance, credentials_of, instance, node

from watchword.jose import Algorithm, PrivateKey


@pytest.fixture(params=["sqlite", "postgres"])
async def ww(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Instance]:
    """The same instance on each database."""
    url = request.getfixturevalue("postgres_dsn") if request.param == "postgres" else ""
    async with instance(tmp_path, url) as running:
        yield running


async def initial(ww: Instance, group_id: str, **more: Any) -> httpx.Response:
    """An initial access token of a group."""
    return await ww.call("POST", "/initial-tokens", {"name": "gateways", "group_id": group_id, **more})


async def register(ww: Instance, token: str, **metadata: Any) -> httpx.Response:
    """POST /register."""
    return await ww.http.post(f"{ISSUER}/register", json=metadata, headers={"authorization": f"Bearer {token}"})


async def test_who_registers_becomes_a_device_of_the_group(ww: Instance) -> None:
    """The group's policy would hold for codes only, and a token be a way around it."""
    api = await ww.api("https://rs1.example/", "a:read", "a:write")
    grants = [{"api_id": api["api_id"], "scopes": ["a:read"]}]
    role = (await ww.call("POST", "/roles", {"name": "all", "access": grants})).json()["role_id"]
    said = {"grants": grants, "role_ids": [role], "labels": {"site": "north"}, "secret_lifetime": 86_400}
    group_id = await group(ww, ways=["registration"], **said)
    made = await initial(ww, group_id, uses=5)
    assert made.status_code == 201, made.text
    assert made.json()["group_id"] == group_id
    token = made.json()["token"]
    answer = await register(ww, token, client_name="admin console")
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert told["client_secret_expires_at"] == int(ww.clock.now) + 86_400
    assert told["client_name"] == f"device-{told['client_id'][:8]}"
    (kept,) = await applications(ww)
    assert (kept["kind"], kept["role_ids"], kept["labels"]) == ("device", [role], {"site": "north"})
    assert (await ww.token(credentials_of(told))).json()["scope"] == "a:read"
    assert (await register(ww, token, scope="a:write")).json()["error"] == "invalid_client_metadata"
    manage = {"authorization": f"Bearer {told['registration_access_token']}"}
    body = {"client_id": told["client_id"], "client_name": "other"}
    change = {"grants": [{"api_id": api["api_id"], "scopes": ["a:read", "a:write"]}]}
    assert (await ww.call("PATCH", f"/enrolment-groups/{group_id}", change)).status_code == 200
    updated = await ww.http.put(told["registration_client_uri"], json=body, headers=manage)
    assert updated.status_code == 200, updated.text
    assert updated.json()["scope"] == "a:read a:write"  # the policy goes on to hold, as it is now
    assert updated.json()["client_name"] == told["client_name"]
    events = [one["event"] for one in (await ww.call("GET", "/audit")).json()["items"]]
    assert {"ApplicationRegistered", "DeviceEnrolled"} <= set(events)
    manage = {"authorization": f"Bearer {updated.json()['registration_access_token']}"}
    assert (await ww.http.delete(told["registration_client_uri"], headers=manage)).status_code == 204
    assert (await ww.call("GET", f"/enrolment-groups/{group_id}")).json()["devices"] == 0


async def test_a_group_is_never_fuller_by_registration(ww: Instance) -> None:
    """Two doors into one group would each let in as many as the group may have."""
    async with node(ww.services.settings, ww.clock, ww.admin) as other:
        nodes = ww, other
        group_id = await group(ww, ways=["registration", "code"], max_devices=4)
        token = (await initial(ww, group_id, uses=50)).json()["token"]
        (code,) = await codes(ww, group_id, uses=50)
        answers = await asyncio.gather(
            *(register(nodes[n % 2], token) for n in range(6)), *(enrol(nodes[n % 2], code, f"d{n}") for n in range(6))
        )
        assert Counter(answer.status_code for answer in answers)[201] == 4
        assert {answer.status_code for answer in answers} <= {201, 409, 503}
        assert len(await applications(ww)) == 4
        assert (await register(ww, token)).status_code == 409
        uses = (await ww.call("GET", "/initial-tokens")).json()["items"][0]["uses_left"]
        registered = sum(answer.status_code == 201 for answer in answers[:6])
        assert uses == 50 - registered  # who was refused used nothing up


async def test_a_group_that_closes_takes_its_tokens_along(ww: Instance) -> None:
    """A token that leaked would go on filling a group that was closed for it."""
    group_id = await group(ww, ways=["registration"], expires_at=int(ww.clock.now) + 100)
    token = (await initial(ww, group_id, uses=9)).json()["token"]
    path = f"/enrolment-groups/{group_id}"
    assert (await ww.call("PATCH", path, {"ways": ["code"]})).status_code == 200
    closed = await register(ww, token)
    assert (closed.status_code, closed.json()["error"]) == (401, "invalid_token")
    assert (await initial(ww, group_id)).status_code == 400
    assert (await ww.call("PATCH", path, {"ways": ["registration"]})).status_code == 200
    key = PrivateKey.generate(Algorithm.ES256)
    keyed = await register(ww, token, token_endpoint_auth_method="private_key_jwt", jwks=jwks(key))
    assert keyed.status_code == 201, keyed.text
    ww.clock.now += 100
    assert (await register(ww, token)).status_code == 401
    assert (await ww.call("DELETE", f"/applications/{keyed.json()['client_id']}")).status_code == 204
    assert (await ww.call("DELETE", path)).status_code == 204
    assert (await register(ww, token)).status_code == 401


@pytest.mark.parametrize("said", [{"approval": "required"}, {"only_expected": True}, {"name_pattern": "x-{serial}"}, {"auth_methods": ["tls_client_auth"]}])  # fmt: skip
async def test_a_group_that_nobody_can_register_in(tmp_path: Path, said: dict[str, Any]) -> None:
    """Approval and lists would be gone around by a token, or its holder be refused for ever."""
    async with instance(tmp_path) as ww:
        body = {"name": "x", "ways": ["registration"], **said}
        assert (await ww.call("POST", "/enrolment-groups", body)).status_code == 400
        group_id = await group(ww, ways=["registration"])
        assert (await ww.call("PATCH", f"/enrolment-groups/{group_id}", said)).status_code == 400


@pytest.mark.parametrize("policy", [{"kind": "job"}, {"grants": [{"api_id": "x", "scopes": []}]}, {"labels": {"a": "b"}}, {"auth_methods": ["spiffe_x509"]}, {"name_prefix": "x"}])  # fmt: skip
async def test_a_token_says_nothing_that_its_group_says(tmp_path: Path, policy: dict[str, Any]) -> None:
    """Whoever reads the token's policy would believe that it holds."""
    async with instance(tmp_path) as ww:
        group_id = await group(ww, ways=["registration"])
        assert (await initial(ww, group_id, policy=policy)).status_code == 400
        assert (await initial(ww, "nobody")).status_code == 400
