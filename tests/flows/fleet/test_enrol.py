"""Devices enrol themselves with codes, over HTTP, on both databases."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.support.enrolling import applications, codes, enrol, group, keyed
from tests.support.instance import ISSUER, Instance, credentials_of, instance, node

from watchword.jose import Algorithm, PrivateKey
from watchword.server.registry.secret_text import ENROLMENT_PREFIX, well_formed
from watchword.server.storage import schema


@pytest.fixture(params=["sqlite", "postgres"])
async def ww(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Instance]:
    """The same instance on each database."""
    url = request.getfixturevalue("postgres_dsn") if request.param == "postgres" else ""
    async with instance(tmp_path, url) as running:
        yield running


async def test_a_device_becomes_what_its_group_says(ww: Instance) -> None:
    """It would get less than it needs, or more than anybody meant it to have."""
    api = await ww.api("https://rs1.example/", "a:read", "a:write")
    grants = [{"api_id": api["api_id"], "scopes": ["a:read"]}]
    role = (await ww.call("POST", "/roles", {"name": "all", "access": grants})).json()["role_id"]
    group_id = await group(
        ww, grants=grants, role_ids=[role], labels={"site": "north"}, name_pattern="s-{serial}", secret_lifetime=86_400
    )
    (code,) = await codes(ww, group_id)
    assert well_formed(code, ENROLMENT_PREFIX)
    assert (await enrol(ww, code)).status_code == 400  # the name needs a serial number, and the code is still good
    answer = await enrol(ww, code, serial="SN-7")
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    assert made["client_secret_expires_at"] == int(ww.clock.now) + 86_400
    assert made["token_endpoint"] == f"{ISSUER}/token"
    token = await ww.token(credentials_of(made), resource="https://rs1.example/")
    assert token.json()["scope"] == "a:read"
    (kept,) = await applications(ww)
    assert (kept["client_id"], kept["kind"], kept["name"]) == (made["client_id"], "device", "s-SN-7")
    assert (kept["labels"], kept["role_ids"], kept["serial"]) == ({"site": "north"}, [role], "SN-7")
    assert (await ww.http.get(f"{ISSUER}/.well-known/oauth-authorization-server")).json()["enrolment_endpoint"] == (
        f"{ISSUER}/enrol"
    )
    events = [one["event"] for one in (await ww.call("GET", "/audit")).json()["items"]]
    assert {"EnrolmentCodesCreated", "ApplicationCreated", "DeviceEnrolled", "SecretCreated"} <= set(events)


async def test_a_code_that_is_shown_once_lets_one_device_in(ww: Instance) -> None:
    """Fifty devices with one sticker would all be let in: the race is the attack."""
    (code,) = await codes(ww, await group(ww))
    answers = await asyncio.gather(*(enrol(ww, code, f"device-{n}") for n in range(50)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 400: 49}
    assert {answer.json()["error"] for answer in answers if answer.status_code == 400} == {"invalid_grant"}
    assert len(await applications(ww)) == 1


async def test_one_device_that_asks_many_times_is_one(ww: Instance) -> None:
    """A device on a bad line would be several, and use up the codes of others."""
    group_id = await group(ww)
    for code in (await codes(ww, group_id))[0], (await codes(ww, group_id, uses=3))[0]:
        before = len(await applications(ww))
        answers = await asyncio.gather(*(enrol(ww, code, "the-same") for _ in range(8)))
        assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 7}
        assert len({answer.json()["client_id"] for answer in answers}) == 1
        assert len(await applications(ww)) == before + 1
        living = [(await ww.token(credentials_of(answer.json()))).status_code for answer in answers]
        assert Counter(living) == {200: 1, 401: 7}
    others = [(await enrol(ww, code, f"other-{n}")).status_code for n in range(3)]
    assert others == [201, 201, 400]  # of three uses, one had been used


async def test_two_nodes_agree_on_who_was_first(ww: Instance) -> None:
    """Within one worker transactions take turns anyway: only the database can decide between two."""
    async with node(ww.services.settings, ww.clock, ww.admin) as other:
        group_id = await group(ww, max_devices=3)
        (once,) = await codes(ww, group_id)
        (batch,) = await codes(ww, group_id, uses=10)
        nodes = ww, other
        answers = await asyncio.gather(*(enrol(nodes[n % 2], once, f"d{n}") for n in range(10)))
        assert Counter(answer.status_code for answer in answers) == {201: 1, 400: 9}
        answers = await asyncio.gather(*(enrol(nodes[n % 2], batch, "the-same") for n in range(4)))
        assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 3}
        assert len({answer.json()["client_id"] for answer in answers}) == 1
        answers = await asyncio.gather(*(enrol(nodes[n % 2], batch, f"e{n}") for n in range(10)))
        assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 9}
        assert sorted(await uses_left(ww)) == [0, 8]


async def test_a_group_takes_no_more_than_it_may(ww: Instance) -> None:
    """The limit on what a leaked batch code can do would be none."""
    (code,) = await codes(ww, await group(ww, max_devices=4), uses=100)
    answers = await asyncio.gather(*(enrol(ww, code, f"d{n}") for n in range(20)))
    assert Counter(answer.status_code for answer in answers) == {201: 4, 409: 16}
    rows = await uses_left(ww)
    assert rows == [96]  # who was refused used nothing up


async def uses_left(ww: Instance) -> list[int]:
    """Of all codes."""
    async with ww.services.storage.engine.connect() as connection:
        return list((await connection.execute(sa.select(schema.enrolment_code.c.uses_left))).scalars())


async def test_an_answer_that_was_lost_is_given_again_with_another_secret(ww: Instance) -> None:
    """The device would be locked out for ever; or two secrets would live, one of them on the line that broke."""
    (code,) = await codes(ww, await group(ww))
    first = (await enrol(ww, code)).json()
    again = await enrol(ww, code)
    assert again.status_code == 200
    assert again.json()["client_id"] == first["client_id"]
    assert (await ww.token(credentials_of(first))).status_code == 401
    assert (await enrol(ww, code, serial="SN-1")).status_code == 409
    assert (await ww.token(credentials_of(again.json()))).status_code == 200
    late = await enrol(ww, code)
    assert (late.status_code, late.json()["error"]) == (409, "enrolment_refused")
    assert (await ww.token(credentials_of(again.json()))).status_code == 200


async def test_a_secret_that_was_used_is_never_replaced(ww: Instance) -> None:
    """Who finds the sticker would put out a device that works, in the moments before all workers know that it does."""
    async with node(ww.services.settings, ww.clock, ww.admin) as other:
        (code,) = await codes(ww, await group(ww), uses=100)
        told = Counter[tuple[int, int]]()
        for n in range(20):
            made = (await enrol(ww, code, f"d{n}")).json()
            if n % 2:
                used, again = await asyncio.gather(other.token(credentials_of(made)), enrol(ww, code, f"d{n}"))
            else:
                used = await other.token(credentials_of(made))
                again = await enrol(ww, code, f"d{n}")
            told[used.status_code, again.status_code] += 1
        assert set(told) <= {(200, 409), (401, 200)}
        assert told[200, 409] >= 10


async def test_a_secret_is_not_given_again_later(ww: Instance) -> None:
    """Who finds the sticker in the bin would take over the device that was never switched on again."""
    (code,) = await codes(ww, await group(ww))
    first = (await enrol(ww, code)).json()
    ww.clock.now += 600
    assert (await enrol(ww, code)).status_code == 409
    assert (await ww.token(credentials_of(first))).status_code == 200


async def test_a_device_with_a_key_gets_no_secret(ww: Instance) -> None:
    """Its key would not be the only thing that proves it, or another device's key would take its place."""
    key = PrivateKey.generate(Algorithm.ES256)
    (code,) = await codes(ww, await group(ww, auth_methods=["private_key_jwt"]))
    assert (await enrol(ww, code)).status_code == 409
    made = await enrol(ww, code, **keyed(ww, key))
    assert made.status_code == 201, made.text
    assert "client_secret" not in made.json()
    assert made.json()["token_endpoint_auth_method"] == "private_key_jwt"
    ww.clock.now += 100_000
    again = await enrol(ww, code, **keyed(ww, key))
    assert (again.status_code, again.json()["client_id"]) == (200, made.json()["client_id"])
    assert (await enrol(ww, code, **keyed(ww, PrivateKey.generate(Algorithm.ES256)))).status_code == 409
    assert (await enrol(ww, code)).status_code == 409
    secrets_only = await group(ww, name="other", grants=[], auth_methods=["client_secret_post"])
    assert (await enrol(ww, (await codes(ww, secrets_only))[0], **keyed(ww, key))).status_code == 409


async def test_a_key_is_only_taken_from_who_has_it(tmp_path: Path) -> None:
    """A device would be known by a key that somebody else holds, and its requests be answered for that one."""
    async with instance(tmp_path) as ww:
        key, other = PrivateKey.generate(Algorithm.ES256), PrivateKey.generate(Algorithm.ES256)
        (code,) = await codes(ww, await group(ww))
        good, now = keyed(ww, key), int(ww.clock.now)
        for wrong in (
            keyed(ww, key, typ="JWT"), keyed(ww, key, iss="device-2"), keyed(ww, key, aud="https://elsewhere.example"),
            keyed(ww, key, exp=now - 100), keyed(ww, key, exp=now + 100_000), {**keyed(ww, other), "jwks": good["jwks"]},
            {"jwks": good["jwks"]}, {"proof": good["proof"]}, {**good, "proof": "x.y.z"},
            {**good, "jwks": {"keys": [key.public.to_jwk(), other.public.to_jwk()]}},
        ):  # fmt: skip
            assert (await enrol(ww, code, **wrong)).json()["error"] == "invalid_request"
        assert await uses_left(ww) == [1]
        assert (await enrol(ww, code, **good)).status_code == 201


async def test_codes_end(ww: Instance) -> None:
    """An old sticker, one of a closed group or one that leaked would go on opening the door."""
    group_id = await group(ww, expires_at=int(ww.clock.now) + 5_000)
    short, long = (await codes(ww, group_id, expires_in=60)) + (await codes(ww, group_id, expires_in=86_400))
    ww.clock.now += 60
    answer = await enrol(ww, short)
    unknown = await enrol(ww, short[:-1])
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    same = ("error", "error_description")
    assert [answer.json()[name] for name in same] == [unknown.json()[name] for name in same]
    first = await enrol(ww, (await codes(ww, group_id))[0], "d1")
    assert first.status_code == 201
    assert (await ww.call("PATCH", f"/enrolment-groups/{group_id}", {"ways": []})).status_code == 200
    assert (await enrol(ww, long)).status_code == 409
    assert (await ww.call("POST", f"/enrolment-groups/{group_id}/codes", {})).status_code == 409
    assert (await ww.call("PATCH", f"/enrolment-groups/{group_id}", {"ways": ["code"]})).status_code == 200
    assert (await ww.call("DELETE", f"/enrolment-groups/{group_id}/codes")).status_code == 204
    assert (await enrol(ww, long)).json()["error"] == "invalid_grant"
    (late,) = await codes(ww, group_id)
    ww.clock.now += 5_000
    assert (await enrol(ww, late)).status_code == 409
    assert (await ww.token(credentials_of(first.json()))).status_code == 200


async def test_a_device_that_was_stopped_does_not_come_back_by_its_code(ww: Instance) -> None:
    """Quarantine would end with a second request; and a deleted device could not be replaced."""
    (code,) = await codes(ww, await group(ww), uses=2)
    made = (await enrol(ww, code, serial="SN-1")).json()
    path = f"/applications/{made['client_id']}"
    assert (await ww.call("POST", f"{path}/quarantine", {"reason": "cloned"})).status_code == 200
    assert (await enrol(ww, code, serial="SN-1")).status_code == 409
    assert (await enrol(ww, code, "device-2", serial="SN-1")).status_code == 409
    assert (await ww.call("DELETE", path)).status_code == 204
    fresh = await enrol(ww, code, serial="SN-1")
    assert fresh.status_code == 201
    assert fresh.json()["client_id"] != made["client_id"]


@pytest.mark.parametrize("body", [
    {}, {"code": "x"}, {"code": 1, "enrolment_id": "d"}, {"code": "x", "enrolment_id": ""}, {"code": "x" * 129, "enrolment_id": "d"},
    {"code": "x", "enrolment_id": "d" * 129}, {"code": "x", "enrolment_id": "d", "serial": "a\nb"}, {"code": "x", "enrolment_id": "d", "jwks": 7},
    {"code": "x", "enrolment_id": "d", "grants": []}, [],
])  # fmt: skip
async def test_what_is_no_enrolment(tmp_path: Path, body: Any) -> None:
    """A mistake in a device's firmware would be found out by nobody, or end in a trace."""
    async with instance(tmp_path) as ww:
        answer = await ww.http.post(f"{ISSUER}/enrol", json=body)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("jwks", [{}, {"keys": 7}, {"keys": []}, {"keys": [{"kty": "EC"}]}])
async def test_what_is_no_key_uses_nothing_up(tmp_path: Path, jwks: Any) -> None:
    """A device whose key is broken would use up the code of the one that replaces it."""
    async with instance(tmp_path) as ww:
        (code,) = await codes(ww, await group(ww))
        assert (await enrol(ww, code, jwks=jwks, proof="x.y.z")).status_code == 400
        assert await uses_left(ww) == [1]


async def test_no_code_is_in_the_database(ww: Instance) -> None:
    """Whoever steals a backup would enrol devices of their own."""
    group_id = await group(ww)
    used, unused = await codes(ww, group_id, count=2)
    secret = (await enrol(ww, used, "a-random-id")).json()["client_secret"]
    async with ww.services.storage.engine.connect() as connection:
        found = [row for t in schema.metadata.sorted_tables for row in (await connection.execute(sa.select(t))).all()]
    text = b"".join(bytes(v) if isinstance(v, bytes | memoryview) else str(v).encode() for row in found for v in row)
    for needle in (used, unused, secret, "a-random-id"):
        assert needle.encode() not in text
    assert group_id.encode() in text


@pytest.mark.parametrize("wanted", [{"count": 0}, {"count": 10_001}, {"uses": 0}, {"expires_in": 0}, {"name": "x"}])
async def test_codes_that_make_no_sense(tmp_path: Path, wanted: dict[str, Any]) -> None:
    """A code for nobody, for ever or for everybody would be made by a slip."""
    async with instance(tmp_path) as ww:
        path = f"/enrolment-groups/{await group(ww)}/codes"
        assert (await ww.call("POST", path, wanted)).status_code == 400
        assert (await ww.call("POST", "/enrolment-groups/nobody/codes", {})).status_code == 404
        assert await uses_left(ww) == []
