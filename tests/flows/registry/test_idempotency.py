"""`Idempotency-Key` at the admin API: a request whose answer was lost is repeated, and nothing is created twice."""

from __future__ import annotations

import asyncio
import ssl
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests.support.assertions import jwks
from tests.support.certificates import authority
from tests.support.instance import BASE, Instance, credentials_of, instance, node

from watchword.jose import Algorithm, PrivateKey
from watchword.server.storage.schema import audit, idempotency_key

KEY = PrivateKey.generate(Algorithm.ES256)
PAIRS = ["sqlite", "postgres"]
APPLICATIONS = "/applications"


@pytest.fixture
async def ww(tmp_path: Path) -> AsyncIterator[Instance]:
    """On SQLite."""
    async with instance(tmp_path) as running:
        yield running


@pytest.fixture(params=PAIRS)
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Instance, Instance]]:
    """Two nodes on each database."""
    url = request.getfixturevalue("postgres_dsn") if request.param == "postgres" else ""
    async with instance(tmp_path, url) as a, node(a.services.settings, a.clock, a.admin) as b:
        yield a, b


class Administrator:
    """One application that calls the admin API with one token, so that all audit events are of its requests."""

    def __init__(self, ww: Instance, bearer: dict[str, str]) -> None:
        self._ww, self._bearer = ww, bearer

    @classmethod
    async def of(cls, ww: Instance, credentials: tuple[str, str] | None = None) -> Administrator:
        """The first administrator, or another one."""
        return cls(ww, await ww.bearer(credentials))

    async def create_and_hang_up(self, path: str, body: Any, key: str) -> None:
        """The same, and the connection ends as soon as the request is sent."""
        door, sent = self._ww.door, httpx.Request("POST", BASE, json=body).content
        context = ssl.create_default_context(cafile=str(door.ca))
        _, writer = await asyncio.open_connection("127.0.0.1", door.port, ssl=context)
        named = {"host": "x", "content-type": "application/json", "idempotency-key": key, **self._bearer}
        lines = [f"POST /api/v1{path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
        writer.write("\r\n".join([*lines, f"content-length: {len(sent)}", "", ""]).encode() + sent)
        writer.close()
        await writer.wait_closed()

    async def create(self, path: str, body: Any, key: str) -> httpx.Response:
        """POST with this key."""
        return await self._ww.http.post(
            f"{BASE}/api/v1{path}", json=body, headers={**self._bearer, "idempotency-key": key}
        )


async def second(ww: Instance) -> Administrator:
    """Another administrator of the same tenant."""
    apis = (await ww.call("GET", "/apis")).json()["items"]
    admin = next(api for api in apis if api["identifier"] == "urn:watchword:admin")
    made = await ww.application("second", admin, *(scope["name"] for scope in admin["scopes"]))
    return await Administrator.of(ww, credentials_of(made))


def fresh() -> str:
    """A key as the draft writes it."""
    return f'"{uuid.uuid4()}"'


async def scalar(ww: Instance, statement: sa.Select[Any]) -> Any:
    """One value of the database."""
    async with ww.services.storage.engine.connect() as connection:
        return (await connection.execute(statement)).scalar()


async def events(ww: Instance) -> int:
    """How many audit events there are, of all tenants."""
    return int(await scalar(ww, sa.select(sa.func.coalesce(sa.func.sum(audit.c.count), 0))))


async def execute(ww: Instance, statement: sa.Update) -> None:
    """What an operator with a database client does, or a crash."""
    async with ww.services.storage.engine.begin() as connection:
        await connection.execute(statement)


async def forget_answers(ww: Instance) -> None:
    """As after kill -9 between the commit of the effect and that of the answer."""
    await execute(ww, sa.update(idempotency_key).values(answer=None))


async def listed(ww: Instance) -> list[str]:
    """The names of all applications."""
    return [one["name"] for one in (await ww.call("GET", "/applications?limit=500")).json()["items"]]


async def creations(ww: Instance) -> dict[str, tuple[str, Any]]:
    """For each operation that creates, a path and a body that work once; by the path of the OpenAPI document."""
    basic = (await ww.call("POST", APPLICATIONS, {"name": "basic"})).json()["client_id"]
    keyed = (
        await ww.call("POST", APPLICATIONS, {"name": "k", "auth_method": "private_key_jwt", "jwks": jwks(KEY)})
    ).json()["client_id"]
    borrowing = (await ww.call("POST", APPLICATIONS, {"name": "b", "auth_method": "federated_jwt"})).json()["client_id"]
    issuer = {"issuer": "https://id.example", "kind": "oidc", "jwks": jwks(KEY)}
    issuer_id = (await ww.call("POST", "/trusted-issuers", issuer)).json()["issuer_id"]
    group = (await ww.call("POST", "/enrolment-groups", {"name": "g", "ways": ["code"]})).json()["group_id"]
    added = PrivateKey.generate(Algorithm.ES256).public.to_jwk()
    rule = {"issuer_id": issuer_id, "conditions": [{"claim": "sub", "equals": "me"}]}
    bodies: dict[str, tuple[str, Any]] = {
        "/applications": ("", {"name": "made"}),
        "/applications/{client_id}/secrets": (basic, {"overlap": 600}),
        "/applications/{client_id}/keys": (keyed, {"jwk": added}),
        "/applications/{client_id}/identities": (borrowing, rule),
        "/apis": ("", {"identifier": "https://made.example", "name": "made"}),
        "/roles": ("", {"name": "made"}),
        "/trust-anchors": ("", {"pem": authority("made", ww.clock.now).pem}),
        "/tenants": ("", {"slug": "made", "name": "made"}),
        "/trusted-issuers": ("", {**issuer, "issuer": "https://made.example"}),
        "/initial-tokens": ("", {"name": "made"}),
        "/enrolment-groups": ("", {"name": "made"}),
        "/enrolment-groups/{group_id}/codes": (group, {"count": 2}),
        "/device-authorities": ("", None),
    }
    return {
        path: (path.replace("{client_id}", id_).replace("{group_id}", id_), body)
        for path, (id_, body) in bodies.items()
    }


async def test_every_operation_that_creates_can_be_repeated(ww: Instance) -> None:
    """Whoever repeats a request because its answer was lost would create two things, or lose the secret of the first.

    A new operation that creates fails here until it is in `creations`, and until its verb writes the mark.
    """
    document = (await ww.http.get(f"{BASE}/api/v1/openapi.json")).json()["paths"]
    takes = {
        (method, path.removeprefix("/api/v1"))
        for path, operations in document.items()
        for method, operation in operations.items()
        if any(parameter["name"] == "Idempotency-Key" for parameter in operation["parameters"])
    }
    creating = {
        ("post", path.removeprefix("/api/v1"))
        for path, operations in document.items()
        if "201" in operations.get("post", {}).get("responses", ())
    }
    cases = await creations(ww)
    assert takes == creating == {("post", path) for path in cases}
    admin = await Administrator.of(ww)
    for name, (path, body) in cases.items():
        key = fresh()
        first = await admin.create(path, body, key)
        assert first.status_code == 201, (name, first.text)
        before = await events(ww)
        again = await admin.create(path, body, key)
        assert (again.status_code, again.content) == (201, first.content), name
        assert again.headers.get("etag") == first.headers.get("etag"), name
        assert again.headers.get("location") == first.headers.get("location"), name
        assert await events(ww) == before, name


async def test_the_repeated_secret_works(ww: Instance) -> None:
    """The second answer would hold a secret that nobody stored, and the application could not start."""
    admin, key = await Administrator.of(ww), fresh()
    made = await admin.create(APPLICATIONS, {"name": "made"}, key)
    again = await admin.create(APPLICATIONS, {"name": "made"}, key)
    assert again.headers["etag"] == '"1"'
    assert again.headers["location"] == f"/api/v1/applications/{made.json()['client_id']}"
    assert again.headers["cache-control"] == "no-store"
    path = f"/applications/{made.json()['client_id']}/secrets"
    rotated = [await admin.create(path, {"overlap": 0}, rotation) for rotation in [fresh()] * 2]
    assert rotated[0].content == rotated[1].content
    credentials = made.json()["client_id"], rotated[1].json()["client_secret"]
    assert (await ww.token(credentials)).status_code == 400  # authenticated, and granted nothing
    assert (await ww.token(credentials_of(again.json()))).status_code == 401


async def test_a_caller_that_lost_its_connection_gets_its_secret(ww: Instance) -> None:
    """The header would help against everything but what it is for: an answer that found nobody."""
    admin, key = await Administrator.of(ww), fresh()
    await admin.create_and_hang_up(APPLICATIONS, {"name": "made"}, key)
    for _ in range(500):
        if "made" in await listed(ww):
            break
    else:
        pytest.fail("the request was not carried out")
    answers = [await admin.create(APPLICATIONS, {"name": "made"}, key)]
    while answers[-1].status_code == 409 and len(answers) < 500:
        answers.append(await admin.create(APPLICATIONS, {"name": "made"}, key))
    assert answers[-1].status_code == 201, answers[-1].text
    found = (await ww.call("GET", "/applications?limit=500")).json()["items"]
    assert [one["client_id"] for one in found if one["name"] == "made"] == [answers[-1].json()["client_id"]]
    assert (await ww.token(credentials_of(answers[-1].json()))).status_code == 400  # authenticated, granted nothing
    created = sa.select(sa.func.count()).select_from(idempotency_key)
    assert await scalar(ww, created) == 1


async def test_a_key_is_for_one_request(ww: Instance) -> None:
    """A program that uses one key for all would believe that it created what it did not."""
    admin, key = await Administrator.of(ww), fresh()
    first = (await admin.create(APPLICATIONS, {"name": "first"}, key)).json()["client_id"]
    other = (await admin.create(APPLICATIONS, {"name": "other"}, fresh())).json()["client_id"]
    rotation = fresh()
    assert (await admin.create(f"/applications/{first}/secrets", {}, rotation)).status_code == 201
    before = await events(ww)
    for path, body, used in (
        (APPLICATIONS, {"name": "second"}, key),
        ("/roles", {"name": "first"}, key),
        (f"/applications/{other}/secrets", {}, rotation),
    ):
        answer = await admin.create(path, body, used)
        assert (answer.status_code, answer.json()["title"]) == (422, "Idempotency-Key is used already")
        assert "client_secret" not in answer.text
    assert await events(ww) == before


async def test_a_key_belongs_to_the_application_that_sent_it(ww: Instance) -> None:
    """An administrator who learns a key of another would read the secret that the other was shown."""
    admin, other, key = await Administrator.of(ww), await second(ww), fresh()
    first = await admin.create(APPLICATIONS, {"name": "made"}, key)
    theirs = await other.create(APPLICATIONS, {"name": "made"}, key)
    assert theirs.status_code == 201
    assert theirs.json()["client_id"] != first.json()["client_id"]


async def test_an_answer_is_readable_for_its_application_only(ww: Instance) -> None:
    """Secrets would stand in the database for a day, and whoever moves a row would be shown another's."""
    admin, key = await Administrator.of(ww), fresh()
    first = await admin.create(APPLICATIONS, {"name": "made"}, key)
    answer = await scalar(ww, sa.select(idempotency_key.c.answer))
    for clear in (first.json()["client_secret"], first.json()["client_id"], "made"):
        assert clear.encode() not in answer
    apis = (await ww.call("GET", "/apis")).json()["items"]
    granted = next(api for api in apis if api["identifier"] == "urn:watchword:admin")
    thief = await ww.application("thief", granted, "applications:write")
    await execute(ww, sa.update(idempotency_key).values(actor=thief["client_id"]))
    stolen = await (await Administrator.of(ww, credentials_of(thief))).create(APPLICATIONS, {"name": "made"}, key)
    assert (stolen.status_code, stolen.json()["title"]) == (409, "the request was carried out, and its answer is lost")
    assert first.json()["client_secret"] not in stolen.text


async def test_a_rejected_request_leaves_no_mark(ww: Instance) -> None:
    """A mistake would use the key up, or be answered with the same error for a day after it was corrected."""
    admin, key = await Administrator.of(ww), fresh()
    assert (await admin.create(APPLICATIONS, {"name": ""}, key)).status_code == 400
    made = await admin.create(APPLICATIONS, {"name": "made"}, key)
    assert made.status_code == 201
    api = {"identifier": "https://made.example", "name": "made"}
    assert (await admin.create("/apis", api, fresh())).status_code == 201
    conflict = fresh()
    assert [(await admin.create("/apis", api, conflict)).status_code for _ in range(2)] == [409, 409]
    assert await scalar(ww, sa.select(sa.func.count()).select_from(idempotency_key)) == 2


async def test_a_crash_after_the_commit_is_told(ww: Instance) -> None:
    """After kill -9 the repeated request would create a second application, or say nothing of the first."""
    admin, key = await Administrator.of(ww), fresh()
    assert (await admin.create(APPLICATIONS, {"name": "made"}, key)).status_code == 201
    await forget_answers(ww)
    early = await admin.create(APPLICATIONS, {"name": "made"}, key)
    assert (early.status_code, early.headers["retry-after"]) == (409, "1")
    assert early.json()["title"] == "the request is being carried out"
    ww.clock.now += 10
    late = await admin.create(APPLICATIONS, {"name": "made"}, key)
    assert late.status_code == 409
    assert late.json()["title"] == "the request was carried out, and its answer is lost"
    for told in ("2027-01-15T08:00:00Z", "List what exists", "watchword app rotate"):
        assert told in late.json()["detail"]
    assert (await admin.create(APPLICATIONS, {"name": "other"}, key)).status_code == 422
    assert (await listed(ww)).count("made") == 1


async def test_answers_are_kept_for_a_day(ww: Instance) -> None:
    """A job that is repeated the next morning would create twice; rows and secrets would stay for ever."""
    admin, key = await Administrator.of(ww), fresh()
    first = await admin.create(APPLICATIONS, {"name": "made"}, key)
    ww.clock.now += 86_400
    await ww.services.upkeep.housekeeping.purge()
    admin = await Administrator.of(ww)
    assert (await admin.create(APPLICATIONS, {"name": "made"}, key)).content == first.content
    ww.clock.now += 1
    await ww.services.upkeep.housekeeping.purge()
    assert await scalar(ww, sa.select(sa.func.count()).select_from(idempotency_key)) == 0
    assert (await admin.create(APPLICATIONS, {"name": "made"}, key)).json()["client_id"] != first.json()["client_id"]


@pytest.mark.parametrize("wrong", ['""', '"a', 'a"', '"a";p=1', '"a b"', '"a\\"b"', "a" * 129, "a, b", ""])
async def test_keys_that_are_none(ww: Instance, wrong: str) -> None:
    """A header that the server does not understand would be taken for protection that is not there."""
    admin = await Administrator.of(ww)
    answer = await admin.create(APPLICATIONS, {"name": "made"}, wrong)
    assert (answer.status_code, answer.json()["title"]) == (400, "the request breaks a rule")
    assert "Idempotency-Key" in answer.json()["detail"]
    assert "made" not in await listed(ww)


async def test_quotes_are_not_part_of_the_key(ww: Instance) -> None:
    """Many libraries send the key without the quotes of the draft: their requests would fail or create twice."""
    admin = await Administrator.of(ww)
    first = await admin.create(APPLICATIONS, {"name": "made"}, "8e03978e-40d5-43e8-bc93-6894a57f9324")
    again = await admin.create(APPLICATIONS, {"name": "made"}, '"8e03978e-40d5-43e8-bc93-6894a57f9324"')
    assert (first.status_code, again.content) == (201, first.content)


async def test_two_nodes_carry_out_one_of_many(pair: tuple[Instance, Instance]) -> None:
    """A caller that repeats while the first request is under way at another node would create two applications."""
    a, b = pair
    key, body = fresh(), {"name": "raced"}
    admins = [await Administrator.of(each) for each in pair]
    answers = await asyncio.gather(*(admin.create(APPLICATIONS, body, key) for admin in admins * 6))
    told = [one for one in answers if one.status_code == 201]
    assert told
    assert len({one.content for one in told}) == 1
    for one in answers:
        if one.status_code != 201:
            assert (one.status_code, one.json()["title"]) == (409, "the request is being carried out"), one.text
    assert (await listed(b)).count("raced") == 1
    for admin in admins:
        assert (await admin.create(APPLICATIONS, body, key)).content == told[0].content
    rotations = f"/applications/{told[0].json()['client_id']}/secrets"
    rotation = fresh()
    rotated = await asyncio.gather(*(admin.create(rotations, {}, rotation) for admin in admins * 6))
    assert len({one.content for one in rotated if one.status_code == 201}) == 1
    shown = (await a.call("GET", f"/applications/{told[0].json()['client_id']}")).json()
    assert len(shown["secrets"]) == 2
