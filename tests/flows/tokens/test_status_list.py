"""Token Status Lists (draft-ietf-oauth-status-list-21): a JWT's revocation, looked up offline; on both databases."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.support.instance import ISSUER, Instance, credentials_of, instance, node

from watchword.jose import Algorithm, KeySet, decode_unverified, verify_signature
from watchword.jose.encoding import json_object, unb64url
from watchword.resource import Fetch, Issuer, StatusLists, TokenInvalid, Verifier
from watchword.server.protocol.status_list import KEPT, SIZE, USE
from watchword.server.storage import schema

RS1, RS2 = "https://rs1.example/", "https://rs2.example/"
TYPE = "application/statuslist+jwt"


@dataclass
class Airline:
    """An API with a status list, one without, and an application that calls both."""

    ww: Instance
    caller: tuple[str, str]

    async def token(self, resource: str = RS1, ww: Instance | None = None) -> str:
        answer = await (ww or self.ww).token(self.caller, resource=resource)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    async def revoke(self, token: str) -> None:
        answer = await self.ww.http.post(f"{ISSUER}/revoke", data={"token": token}, auth=self.caller)
        assert answer.status_code == 200

    async def claims(self, uri: str, ww: Instance | None = None, algorithm: str = "ES256") -> dict[str, Any]:
        """A list as a verifier reads it."""
        http = (ww or self.ww).http
        answer = await http.get(uri, headers={"accept": TYPE})
        assert (answer.status_code, answer.headers["content-type"]) == (200, TYPE)
        keys = KeySet.parse((await http.get(f"{ISSUER}/jwks")).content)
        return verify_signature(
            answer.text, keys, algorithms={Algorithm(algorithm)}, typ={"statuslist+jwt"}, max_size=262_144
        ).claims

    async def status(self, token: str, ww: Instance | None = None) -> int:
        place = place_of(token)
        return bits(await self.claims(place["uri"], ww))[place["idx"]]

    async def rows(self) -> int:
        async with self.ww.services.storage.engine.connect() as connection:
            counted = await connection.execute(sa.select(sa.func.count()).select_from(schema.status_entry))
            return int(counted.scalar_one())


def claims_of(token: str) -> dict[str, Any]:
    return json_object(decode_unverified(token).unverified_payload)


def place_of(token: str) -> dict[str, Any]:
    status = claims_of(token)["status"]
    assert set(status) == {"status_list"} and set(status["status_list"]) == {"idx", "uri"}
    return dict(status["status_list"])


def bits(claims: dict[str, Any]) -> list[int]:
    """By the words of section 4, not by our code."""
    assert claims["status_list"]["bits"] == 1
    raw = zlib.decompress(unb64url(claims["status_list"]["lst"].encode()))
    return [byte >> place & 1 for byte in raw for place in range(8)]


@pytest.fixture(params=["sqlite", "postgres"])
async def airline(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Airline]:
    """A running instance."""
    url = request.getfixturevalue("postgres_dsn") if request.param == "postgres" else ""
    async with instance(tmp_path, url) as ww:
        yield await airline_of(ww)


async def airline_of(ww: Instance, **tokens: Any) -> Airline:
    api1, api2 = await ww.api(RS1, "a:read", status_list=True, **tokens), await ww.api(RS2, "b:read")
    grants = [{"api_id": api1["api_id"], "scopes": ["a:read"]}, {"api_id": api2["api_id"], "scopes": ["b:read"]}]
    caller = await ww.call("POST", "/applications", {"name": "caller", "grants": grants})
    return Airline(ww, credentials_of(caller.json()))


async def test_a_revoked_token_s_bit_is_set_and_no_other(airline: Airline) -> None:
    """An API that verifies offline would take a revoked token until it expires, or refuse a neighbour's."""
    tokens = [await airline.token() for _ in range(4)]
    places = [place_of(token) for token in tokens]
    assert len({place["idx"] for place in places}) == 4 and len({place["uri"] for place in places}) == 1
    uri = places[0]["uri"]
    assert uri.startswith(f"{ISSUER}/statuslists/")
    assert sum(bits(await airline.claims(uri))) == 0
    await airline.revoke(tokens[2])
    found = bits(await airline.claims(uri))
    assert len(found) == SIZE and sum(found) == 1 and found[places[2]["idx"]] == 1
    await airline.revoke(tokens[2])
    assert await airline.rows() == 1


async def test_what_a_list_says_of_itself(airline: Airline) -> None:
    """Sections 5.1 and 8.2: a list could be taken for another's, or for ever."""
    uri = place_of(await airline.token())["uri"]
    claims = await airline.claims(uri)
    now = int(airline.ww.clock())
    assert set(claims) == {"iss", "sub", "iat", "exp", "ttl", "status_list"}
    assert (claims["iss"], claims["sub"], claims["ttl"]) == (ISSUER, uri, 60)
    assert now - 60 < claims["iat"] <= now and claims["exp"] == claims["iat"] + 180
    answer = await airline.ww.http.get(uri)
    assert answer.headers["cache-control"] == "public, max-age=60"
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_a_list_is_asked_for_again_at_no_cost(airline: Airline) -> None:
    """Each poll of each API would cost a signature, a look into the database and a body."""
    token = await airline.token()
    uri = place_of(token)["uri"]
    first, again = await airline.ww.http.get(uri), await airline.ww.http.get(uri)
    assert first.content == again.content
    tag = {"if-none-match": first.headers["etag"]}
    same = await airline.ww.http.get(uri, headers=tag)
    assert (same.status_code, same.content) == (304, b"")
    head = await airline.ww.http.head(uri)
    assert (head.status_code, head.content) == (200, b"")
    await airline.revoke(token)
    assert (await airline.ww.http.get(uri, headers=tag)).status_code == 200
    airline.ww.clock.now += 60
    later = await airline.ww.http.get(uri)
    assert later.status_code == 200 and later.content != first.content


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        (TYPE, 200), ("*/*", 200), ("application/*", 200), (f"application/statuslist+cwt, {TYPE};q=0.5", 200),
        ("application/statuslist+cwt", 406), ("application/json", 406), (f"{TYPE};q=0", 406),
    ],
)  # fmt: skip
async def test_only_the_jwt_form_is_served(tmp_path: Path, accept: str, status: int) -> None:
    """A reader of CWTs would be given what it cannot read, under a name that says it can."""
    async with instance(tmp_path) as ww:
        uri = place_of(await (await airline_of(ww)).token())["uri"]
        assert (await ww.http.get(uri, headers={"accept": accept})).status_code == status


async def test_another_worker_serves_it_and_gives_out_its_own(airline: Airline) -> None:
    """Two workers would give one place to two tokens, and the revocation of one would be the other's."""
    mine = await airline.token()
    async with node(airline.ww.services.settings, airline.ww.clock, airline.ww.admin) as other:
        theirs = await airline.token(ww=other)
        assert place_of(mine)["uri"] != place_of(theirs)["uri"]
        assert await airline.status(mine, other) == await airline.status(theirs) == 0
        await airline.revoke(theirs)
        await other.services.view.refresh()
        assert await airline.status(theirs, other) == 1
        assert await airline.status(theirs) == 1 and await airline.status(mine, other) == 0


async def test_a_restart_forgets_nothing_that_was_revoked(airline: Airline) -> None:
    """A list lives in no table: a new process must know it by its name, and its revocations from the database."""
    token = await airline.token()
    await airline.revoke(token)
    async with node(airline.ww.services.settings, airline.ww.clock, airline.ww.admin) as again:
        assert await airline.status(token, again) == 1


async def test_lists_end_and_their_rows_with_them(airline: Airline) -> None:
    """The table would grow for ever; or a bit would be cleared while an API still asks for it."""
    token = await airline.token()
    uri = place_of(token)["uri"]
    await airline.revoke(token)
    airline.ww.clock.now += USE
    assert place_of(await airline.token())["uri"] != uri
    airline.ww.clock.now += KEPT - USE - 1
    await airline.ww.services.view.refresh()
    await airline.ww.services.upkeep.housekeeping.purge()
    assert await airline.status(token) == 1
    airline.ww.clock.now += 1
    await airline.ww.services.view.refresh()
    assert (await airline.ww.http.get(uri)).status_code == 404
    airline.ww.clock.now += 1
    await airline.ww.services.upkeep.housekeeping.purge()
    assert await airline.rows() == 0


async def test_a_list_that_is_not_ours_costs_nothing(airline: Airline) -> None:
    """Anybody could make us sign lists without end, or one tenant's list would be another's."""
    uri = place_of(await airline.token())["uri"]
    name = uri.rpartition("/")[2]
    made = await airline.ww.call("POST", "/tenants", {"slug": "other", "name": "Other"})
    assert made.status_code == 201
    flipped = ("A" if name[0] != "A" else "B") + name[1:]
    for wrong in (
        f"{ISSUER}/statuslists/", f"{ISSUER}/statuslists/{flipped}", f"{ISSUER}/statuslists/{name[:-1]}",
        f"{ISSUER}/statuslists/{name}=", f"{ISSUER}/statuslists/{name}/", f"{ISSUER}/statuslists/%00",
        f"{ISSUER}/statuslists/x/{name}", uri.replace("/t/default/", "/t/other/"),
        uri.replace("/t/default/", "/t/nobody/"), f"{ISSUER}/statuslists",
    ):  # fmt: skip
        assert (await airline.ww.http.get(wrong)).status_code == 404, wrong
    assert (await airline.ww.http.post(uri)).status_code == 405


async def test_other_apis_tokens_say_nothing_of_it(airline: Airline) -> None:
    """Each token of every API would be larger; and an opaque token has no list."""
    assert "status" not in claims_of(await airline.token(RS2))
    body = {"identifier": "https://x/", "name": "x", "tokens": {"format": "opaque", "status_list": True}}
    answer = await airline.ww.call("POST", "/apis", body)
    assert answer.status_code == 400 and "status_list" in answer.text


@pytest.mark.parametrize("algorithm", ["EdDSA", "ML-DSA-44"])
async def test_a_list_is_signed_as_its_tokens_are(tmp_path: Path, algorithm: str) -> None:
    """An API that lists one algorithm could verify the token and not the list (section 11.3)."""
    async with instance(tmp_path) as ww:
        airline = await airline_of(ww, algorithm=algorithm)
        uri = place_of(await airline.token())["uri"]
        assert (await airline.claims(uri, algorithm=algorithm))["sub"] == uri


async def test_without_the_database_there_is_no_list(tmp_path: Path) -> None:
    """A list from a memory that missed a revocation would say that the token is good."""
    async with instance(tmp_path) as ww:
        airline = await airline_of(ww)
        token = await airline.token()
        uri = place_of(token)["uri"]
        assert (await ww.http.get(uri)).status_code == 200
        ww.witness.faults = True
        await ww.services.storage.reader.close()
        ww.clock.now += 2
        answer = await ww.http.get(uri)
        assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
        assert "retry-after" in answer.headers


async def test_a_token_that_expired_cannot_be_revoked_into_a_list(airline: Airline) -> None:
    """Whoever keeps old tokens could fill the table with them."""
    token = await airline.token()
    airline.ww.clock.now += 3_601
    await airline.ww.services.view.refresh()
    await airline.revoke(token)
    assert await airline.rows() == 0


async def test_another_s_revocation_changes_no_bit(airline: Airline) -> None:
    """REV: one application could shut out another."""
    token = await airline.token()
    answer = await airline.ww.http.post(f"{ISSUER}/revoke", data={"token": token}, auth=airline.ww.admin)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert await airline.status(token) == 0 and await airline.rows() == 0


async def test_the_bit_and_the_mark_are_one_commit(airline: Airline) -> None:
    """Introspection would say inactive and the list good, for as long as the token lives."""
    token = await airline.token()
    place = place_of(token)
    taken = {"tenant_id": (await tenant_id(airline.ww)), "list_name": place["uri"].rpartition("/")[2]}
    async with airline.ww.services.storage.engine.begin() as connection:
        await connection.execute(
            sa.insert(schema.status_entry).values(**taken, idx=place["idx"], expires_at=2_000_000_000)
        )
    airline.ww.witness.faults = True
    answer = await airline.ww.http.post(f"{ISSUER}/revoke", data={"token": token}, auth=airline.caller)
    assert answer.status_code == 503
    async with airline.ww.services.storage.engine.connect() as connection:
        marks = await connection.execute(sa.select(sa.func.count()).select_from(schema.revoked))
        assert marks.scalar_one() == 0


async def tenant_id(ww: Instance) -> str:
    tenant = await ww.services.view.tenant("default")
    assert tenant is not None
    return tenant.tenant.tenant_id


async def test_nothing_is_written_for_a_token_that_nobody_revokes(airline: Airline) -> None:
    """A row a token would make issuing as slow as the disk, for the few that are ever revoked."""
    for _ in range(5):
        await airline.token()
    assert await airline.rows() == 0


async def test_the_library_looks_it_up(airline: Airline) -> None:
    """Both sides could be right by their own tests and not by each other's."""
    verifier = Verifier(
        Issuer(ISSUER, status_lists=StatusLists()),
        audience=RS1,
        now=airline.ww.clock,
        fetch=Fetch(transport=airline.ww.door),
    )
    good, bad = await airline.token(), await airline.token()
    for token in (good, bad):
        assert (await verifier.averify(token, "a:read")).client_id == airline.caller[0]
    await airline.revoke(bad)
    airline.ww.clock.now += 60
    await airline.ww.services.view.refresh()
    assert (await verifier.averify(good)).client_id == airline.caller[0]
    with pytest.raises(TokenInvalid, match="was revoked"):
        await verifier.averify(bad)
    with pytest.raises(TokenInvalid, match="status list"):
        await Verifier(
            Issuer(ISSUER, status_lists=StatusLists()),
            audience=RS2,
            now=airline.ww.clock,
            fetch=Fetch(transport=airline.ww.door),
        ).averify(await airline.token(RS2))
