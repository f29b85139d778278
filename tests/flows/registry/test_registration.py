"""Dynamic registration (RFC 7591) and its management (RFC 7592), case by case (`cases/reg.yaml`)."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.assertions import compose, jwks
from tests.support.instance import ISSUER, Instance, credentials_of, instance, node

from watchword.jose import Algorithm, PrivateKey

URL = f"{ISSUER}/register"
API = "https://rs1.example/"
KEY, PUBLISHER, STRANGER = (PrivateKey.generate(Algorithm.ES256) for _ in range(3))
ISSUED_BY = "https://publisher.example"


class World:
    """An API, and what may be registered for it."""

    def __init__(self, ww: Instance, api: dict[str, Any]) -> None:
        self.ww, self.api = ww, api

    def policy(self, **more: Any) -> dict[str, Any]:
        """Two scopes at the API."""
        return {"grants": [{"api_id": self.api["api_id"], "scopes": ["a:read", "a:write"]}], **more}

    async def initial(self, uses: int = 1, expires_in: int = 600, **policy: Any) -> str:
        """An initial access token's text."""
        body = {"name": "CI", "uses": uses, "expires_in": expires_in, "policy": self.policy(**policy)}
        answer = await self.ww.call("POST", "/initial-tokens", body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])

    async def send(self, token: str | None, body: Any, ww: Instance | None = None, **headers: str) -> httpx.Response:
        """POST /register."""
        authorization = {} if token is None else {"authorization": f"Bearer {token}"}
        return await (ww or self.ww).http.post(URL, json=body, headers={**authorization, **headers})

    async def registered(self, body: Any = None, **policy: Any) -> dict[str, Any]:
        """By a token of its own."""
        answer = await self.send(await self.initial(**policy), body or {})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def manage(self, method: str, made: dict[str, Any], body: Any = None, token: str = "") -> httpx.Response:
        """Its own registration, as it is told to."""
        headers = {"authorization": f"Bearer {token or made['registration_access_token']}"}
        return await self.ww.http.request(method, made["registration_client_uri"], json=body, headers=headers)

    async def applications(self) -> int:
        """How many there are, the first administrator among them."""
        return len((await self.ww.call("GET", "/applications?limit=500")).json()["items"])


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    """On SQLite."""
    async with instance(tmp_path) as ww:
        yield World(ww, await ww.api(API, "a:read", "a:write", "b:read"))


@pytest.fixture(params=["sqlite", "postgres"])
async def both(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """On either database."""
    url = request.getfixturevalue("postgres_dsn") if request.param == "postgres" else ""
    async with instance(tmp_path, url) as ww:
        yield World(ww, await ww.api(API, "a:read", "a:write"))


def unauthorised(answer: httpx.Response, used: bool = True) -> None:
    """401 invalid_token, in one and the same words."""
    assert answer.status_code == 401, answer.text
    assert answer.json()["error"] == "invalid_token"
    assert answer.headers["www-authenticate"] == ('Bearer error="invalid_token"' if used else "Bearer")
    assert answer.headers["cache-control"] == "no-store"


def refused(answer: httpx.Response, error: str = "invalid_client_metadata", status: int = 400) -> str:
    """What it says."""
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    assert answer.headers["cache-control"] == "no-store"
    return str(answer.json()["error_description"])


# -- who may register ----------------------------------------------------------------------------


async def test_without_an_initial_token(w: World) -> None:
    """REG-001: anybody could register."""
    unauthorised(await w.ww.http.post(URL, json={}), used=False)
    assert await w.applications() == 1


async def test_a_header_that_is_none(w: World) -> None:
    """REG-015: the server would trip over it (CVE-2026-9803)."""

    async def send(*values: str) -> httpx.Response:
        headers = [("content-type", "application/json"), *(("authorization", value) for value in values)]
        return await w.ww.door.as_written("/t/default/register", *headers, body=b"{}")

    for value in ("Bearer", "Bearer ", "Bearer x", "Basic eDp5", "Bearer " + "x" * 2000, "", " ", "\t"):
        unauthorised(await send(value))
    right = f"Bearer {await w.initial()}"
    unauthorised(await send(right, right))
    assert (await send("\0")).status_code == 400
    assert await w.applications() == 1


async def test_a_token_is_used_up_expires_and_is_revoked(w: World) -> None:
    """REG-002: one leaked token would register for ever."""
    once = await w.initial()
    assert (await w.send(once, {})).status_code == 201
    unauthorised(await w.send(once, {}))
    late = await w.initial(expires_in=60)
    w.ww.clock.now += 60
    unauthorised(await w.send(late, {}))
    ended = await w.initial(uses=5)
    listed = (await w.ww.call("GET", "/initial-tokens")).json()["items"]
    token_id = next(one["token_id"] for one in listed if one["uses_left"] == 5)
    assert (await w.ww.call("DELETE", f"/initial-tokens/{token_id}")).status_code == 204
    unauthorised(await w.send(ended, {}))
    assert await w.applications() == 2
    assert ended not in json.dumps(listed)


async def test_a_refused_registration_uses_nothing(w: World) -> None:
    """A typo would cost the one use, and with it a walk to the administrator."""
    once = await w.initial()
    refused(await w.send(once, {"client_uri": "javascript:alert(1)"}))
    refused(await w.send(once, {"scope": "b:read"}))
    refused(await w.send(once, {"token_endpoint_auth_method": "private_key_jwt"}))
    assert (await w.send(once, {})).status_code == 201


@pytest.mark.parametrize("uses", [1, 3])
async def test_fifty_at_once(both: World, uses: int) -> None:
    """REG-003 RAC-008: between the look and the use a second registration would slip through, also on another node."""
    once = await both.initial(uses)
    async with node(both.ww.services.settings, both.ww.clock, both.ww.admin) as second:
        sent = [both.send(once, {}, (both.ww, second)[n % 2]) for n in range(50)]
        answers = await asyncio.gather(*sent)
    assert Counter(answer.status_code for answer in answers) == {201: uses, 401: 50 - uses}
    assert await both.applications() == 1 + uses


async def test_one_software_registers_once(both: World) -> None:
    """RAC-003: two of them would both believe to be the one; the primary key decides, and no look beforehand."""
    many = await both.initial(20, one_per_software=True)
    sent = [both.send(many, {"software_id": "4NRB1-0XZABZI9E6-5SM3R"}) for _ in range(20)]
    answers = await asyncio.gather(*sent)
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 19}
    assert await both.applications() == 2
    refused(next(answer for answer in answers if answer.status_code == 409), status=409)
    made = next(answer.json() for answer in answers if answer.status_code == 201)
    assert (await both.manage("DELETE", made)).status_code == 204
    assert (await both.send(many, {"software_id": "4NRB1-0XZABZI9E6-5SM3R"})).status_code == 201
    refused(await both.send(many, {}))


async def test_the_tokens_of_a_tenant_are_bounded(w: World) -> None:
    """REG-025: one leaked or careless token would fill the registry."""
    await w.initial(99_000)
    body = {"name": "CI", "uses": 1_001, "policy": w.policy()}
    assert (await w.ww.call("POST", "/initial-tokens", body)).status_code == 400
    assert (await w.ww.call("POST", "/initial-tokens", {**body, "uses": 100_001})).status_code == 400
    assert (await w.ww.call("POST", "/initial-tokens", {**body, "uses": 1_000})).status_code == 201


async def test_registrations_leave_the_token_endpoint_alone(w: World) -> None:
    """REG-025: each one would make every worker forget its tenant, and a flood of them be everybody's."""
    view, token = w.ww.services.view, await w.initial(3)
    before = await view.tenant("default")
    for _ in range(2):
        assert (await w.send(token, {})).status_code == 201
    await view.refresh()
    assert await view.tenant("default") is before


@pytest.mark.parametrize(
    "policy",
    [
        pytest.param({"auth_methods": []}, id="no method"),
        pytest.param({"secret_lifetime": 1}, id="secrets of one second"),
        pytest.param({"statement_required": True}, id="statements of nobody"),
        pytest.param({"publishers": [{"issuer": "x", "jwks": {"keys": []}}]}, id="a publisher without keys"),
        pytest.param({"grants": [{"api_id": "x", "scopes": []}]}, id="an API that is not there"),
        pytest.param({"labels": {"": "x"}}, id="a label without a name"),
        pytest.param({"name_prefix": "\u202e"}, id="a prefix that turns the text around"),
    ],
)
async def test_a_policy_that_makes_no_sense(w: World, policy: dict[str, Any]) -> None:
    """It would be found out by the first application that registers, far from whoever wrote it."""
    body = {"name": "CI", "policy": {**w.policy(), **policy}}
    assert (await w.ww.call("POST", "/initial-tokens", body)).status_code == 400


async def test_nobody_registers_as_an_administrator(w: World) -> None:
    """REG-006: whoever holds an initial token would own the tenant (CVE-2026-22752)."""
    apis = (await w.ww.call("GET", "/apis")).json()["items"]
    admin = next(api for api in apis if api["identifier"] == "urn:watchword:admin")
    policy = {"grants": [{"api_id": admin["api_id"], "scopes": ["applications:write"]}]}
    answer = await w.ww.call("POST", "/initial-tokens", {"name": "CI", "policy": policy})
    assert (answer.status_code, "administrator" in answer.text) == (400, True)


# -- what is registered --------------------------------------------------------------------------


async def test_a_minimal_client(w: World) -> None:
    """REG-004: what a client library needs to go on would be missing."""
    made = await w.registered({"grant_types": ["client_credentials"]}, secret_lifetime=3600)
    now = int(w.ww.clock.now)
    assert made["client_id_issued_at"] == now
    assert made["client_secret_expires_at"] == now + 3600
    assert made["registration_client_uri"] == f"{URL}/{made['client_id']}"
    assert made["token_endpoint_auth_method"] == "client_secret_basic"
    assert made["scope"] == "a:read a:write"
    token = await w.ww.token(credentials_of(made))
    assert (token.status_code, token.json()["scope"]) == (200, "a:read a:write")
    w.ww.clock.now += 3600
    assert (await w.ww.token(credentials_of(made))).status_code == 401
    metadata = (await w.ww.http.get(f"{ISSUER}/.well-known/oauth-authorization-server")).json()
    assert metadata["registration_endpoint"] == URL
    events = [event["event"] for event in (await w.ww.call("GET", "/audit")).json()["items"]]
    assert {"InitialTokenCreated", "ApplicationCreated", "ApplicationRegistered", "SecretCreated"} <= set(events)


async def test_everything_that_can_be_said(w: World) -> None:
    """What was registered would be lost, or not be shown."""
    said = {
        "client_name": "Payroll", "client_name#de": "Lohn", "client_uri": "https://payroll.example/",
        "logo_uri": "https://10.0.0.1/logo.png", "policy_uri": "https://payroll.example/policy",
        "tos_uri": "https://payroll.example/tos", "contacts": ["ops@payroll.example"], "software_id": "payroll",
        "software_version": "2.1", "scope": "a:read", "token_endpoint_auth_method": "private_key_jwt",
        "jwks": jwks(KEY), "dpop_bound_access_tokens": True, "response_types": [],
        "grant_types": ["client_credentials"],
    }  # fmt: skip
    made = await w.registered(said, name_prefix="ci-", labels={"team": "pay"})
    assert {**made, **said, "client_name": "ci-Payroll", "jwks": made["jwks"]} == made
    assert "client_secret" not in made
    shown = (await w.ww.call("GET", f"/applications/{made['client_id']}")).json()
    assert (shown["labels"], shown["require_dpop"], shown["grants"][0]["scopes"]) == (
        {"team": "pay"},
        True,
        ["a:read"],
    )


async def test_addresses_are_never_fetched(tmp_path: Path) -> None:
    """SSR-011: an address for people would be a way into our network."""
    asked: list[str] = []

    async def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["93.184.216.34"]

    async with instance(tmp_path, world_of={"resolve": resolve}) as ww:
        w = World(ww, await ww.api(API, "a:read", "a:write"))
        inner = "https://169.254.169.254/latest"
        names = ("client_uri", "logo_uri", "policy_uri", "tos_uri")
        made = await w.registered({**dict.fromkeys(names, inner)})
        assert all(made[name] == inner for name in names)
        assert (await ww.token(credentials_of(made))).status_code == 200
    assert asked == []


async def test_keys_at_an_address(w: World) -> None:
    """SSR-011: registration would be the way around the rules for jwks_uri."""
    many = await w.initial()
    by_key = {"token_endpoint_auth_method": "private_key_jwt"}
    for address in (
        "https://127.0.0.1/jwks",
        "http://keys.example/jwks",
        "https://169.254.169.254/",
        "ftp://x.example",
    ):
        assert "jwks_uri" in refused(await w.send(many, {**by_key, "jwks_uri": address}))
    refused(await w.send(many, {**by_key, "jwks_uri": "https://keys.example/", "jwks": jwks(KEY)}))
    refused(await w.send(many, {**by_key, "jwks": {"keys": [{"kty": "oct", "k": "AAAA", "alg": "HS256", "kid": "1"}]}}))
    private = {**KEY.public.to_jwk(), "d": "AAAA"}
    refused(await w.send(many, {**by_key, "jwks": {"keys": [private]}}))
    refused(await w.send(many, by_key))


async def test_what_nobody_knows_is_ignored(w: World) -> None:
    """REG-005: an unknown member would end up somewhere as an attribute (Keycloak issue 53079)."""
    made = await w.registered({"x": 1, "id_token_signed_response_alg": "none", "__proto__": {"a": 1}})
    assert not {"x", "id_token_signed_response_alg", "__proto__"} & made.keys()


PRIVILEGES: list[dict[str, Any]] = [
    {"enabled": True}, {"tenant": "other"}, {"roles": ["admin"]}, {"role_ids": []}, {"first_party": True},
    {"token_lifetime": 86400}, {"access_token_lifetime": 1}, {"grants": []}, {"labels": {}}, {"kind": "device"},
    {"scope": "admin"}, {"scope": "applications:write"}, {"scope": "b:read"},
    {"grant_types": ["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"]},
    {"grant_types": ["authorization_code"]}, {"grant_types": "client_credentials"}, {"grant_types": []},
    {"response_types": ["code"]}, {"token_endpoint_auth_method": "none"},
    {"token_endpoint_auth_method": "client_secret_jwt"}, {"token_endpoint_auth_method": 1},
]  # fmt: skip


async def test_what_only_an_administrator_gives(w: World) -> None:
    """REG-006: an application would give itself what it wants."""
    token = await w.initial()
    for said in PRIVILEGES:
        refused(await w.send(token, said))
    assert await w.applications() == 1


async def test_nobody_is_redirected(w: World) -> None:
    """A client that needs a browser would believe that it could log in here."""
    refused(await w.send(await w.initial(), {"redirect_uris": ["https://a.example/cb"]}), "invalid_redirect_uri")


NO_ADDRESS: list[Any] = [
    "javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "vbscript:x", "http://a.example/",
    "https:/a.example", "https://", "//a.example", "https://a.example/\n", "https://a.example/\x00",
    "https://user@a.example/", "https://a.example:0/", 'https://a.example/"', "https://a.example\\@b.example/",
    " https://a.example/", "https://é.example/", 7, ["https://a.example/"], "https://a.example/" + "x" * 2000,
    "https://[::1/",
]  # fmt: skip


@pytest.mark.parametrize("name", ["client_uri", "logo_uri", "tos_uri", "policy_uri", "logo_uri#de"])
async def test_an_address_that_is_none(w: World, name: str) -> None:
    """REG-012: a console that shows it would run it (CVE-2026-9086)."""
    token = await w.initial()
    for uri in NO_ADDRESS:
        refused(await w.send(token, {name: uri}))
    assert (await w.send(token, {name: "HTTPS://a.example/"})).status_code == 201


NO_METADATA = [
    (b"", "application/json"), (b"[]", "application/json"), (b"{", "application/json"), (b"1", "application/json"),
    (b'{"client_name":"a","client_name":"b"}', "application/json"), (b'{"a":NaN}', "application/json"),
    (b"[" * 100_000, "application/json"), (b'{"a":' * 20_000, "application/json"),
    (b'{"client_name":"' + b"x" * 1_000_000 + b'"}', "application/json"), (b"\xff", "application/json"),
    (b"{}", "text/plain"), (b"client_name=a", "application/x-www-form-urlencoded"),
    (b'{"client_name":"\\ud800"}', "application/json"),
]  # fmt: skip


async def test_a_body_that_is_none(w: World) -> None:
    """REG-014: rubbish would be a 500."""
    token = await w.initial()
    for body, kind in NO_METADATA:
        headers = {"authorization": f"Bearer {token}", "content-type": kind}
        refused(await w.ww.http.post(URL, content=body, headers=headers))
    assert (await w.send(token, {})).status_code == 201


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
MEMBERS = st.sampled_from(
    [
        "client_name", "client_name#de", "client_uri", "logo_uri", "contacts", "scope", "jwks", "jwks_uri",
        "grant_types", "response_types", "redirect_uris", "token_endpoint_auth_method", "software_id",
        "software_version", "software_statement", "tls_client_auth_subject_dn", "dpop_bound_access_tokens", "x",
    ]
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.dictionaries(MEMBERS, JSON, max_size=5))
async def test_any_metadata(w: World, body: dict[str, Any]) -> None:
    """What nobody thought of would be a 500, or an application that is half there."""
    token, before = await w.initial(), await w.applications()
    answer = await w.send(token, body)
    assert answer.status_code in (201, 400), answer.text
    assert await w.applications() == before + (answer.status_code == 201)


# -- software statements -------------------------------------------------------------------------


def statement(key: PrivateKey = PUBLISHER, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """Of the publisher, but for what is said."""
    payload = {"iss": ISSUED_BY, "iat": 1_800_000_000, **claims}
    head = {"alg": "ES256", "typ": "JWT", "kid": key.kid, **(header or {})}
    return compose(head, json.dumps(payload).encode(), key.sign)


TRUSTED = {"publishers": [{"issuer": ISSUED_BY, "jwks": {"keys": [PUBLISHER.public.to_jwk()]}}]}


async def test_the_publisher_wins(w: World) -> None:
    """REG-017: whoever registers could call itself what it likes, under the publisher's seal."""
    sealed = statement(client_name="Real", software_id="real", scope="b:read", logo_uri="https://real.example/logo")
    body = {"client_name": "Fake", "software_id": "fake", "software_statement": sealed, "scope": "a:read"}
    made = await w.registered(body, **TRUSTED)
    assert (made["client_name"], made["software_id"], made["scope"]) == ("Real", "real", "a:read")
    assert made["software_statement"] == sealed


@pytest.mark.parametrize("aud", [ISSUER, [ISSUER], ["https://other.example", ISSUER]], ids=repr)
async def test_a_statement_for_us(w: World, aud: Any) -> None:
    """A publisher that names its audience could register nowhere."""
    made = await w.registered({"software_statement": statement(client_name="Real", aud=aud)}, **TRUSTED)
    assert made["client_name"] == "Real"


@pytest.mark.parametrize(
    ("sealed", "error"),
    [
        pytest.param(lambda: statement(iss="https://evil.example"), "unapproved_software_statement", id="a stranger"),
        pytest.param(lambda: statement(STRANGER), "invalid_software_statement", id="another key"),
        pytest.param(lambda: statement(exp=1_799_999_000), "invalid_software_statement", id="expired"),
        pytest.param(lambda: statement(nbf=1_800_001_000), "invalid_software_statement", id="not yet"),
        pytest.param(lambda: statement(iat=1_800_001_000), "invalid_software_statement", id="made in the future"),
        pytest.param(lambda: statement(iat="today"), "invalid_software_statement", id="made at no time"),
        pytest.param(lambda: statement(aud="https://other.example"), "invalid_software_statement", id="for another"),
        pytest.param(lambda: statement(aud=[]), "invalid_software_statement", id="for nobody"),
        pytest.param(lambda: statement(aud=None), "invalid_software_statement", id="for null"),
        pytest.param(lambda: statement(header={"alg": "none"}), "invalid_software_statement", id="alg none"),
        pytest.param(lambda: statement(header={"typ": "at+jwt"}), "invalid_software_statement", id="an access token"),
        pytest.param(lambda: "a.b.c", "invalid_software_statement", id="rubbish"),
        pytest.param(lambda: statement(roles=["admin"]), "invalid_client_metadata", id="a privilege"),
    ],
)
async def test_a_statement_that_does_not_count(w: World, sealed: Any, error: str) -> None:
    """A forged one would be believed (RFC 7591 section 3.2.2)."""
    refused(await w.send(await w.initial(**TRUSTED), {"software_statement": sealed()}), error)


async def test_a_statement_is_needed(w: World) -> None:
    """A policy that asks for one would be met by leaving it out, at once or by an update."""
    sealed = statement(software_id="real")
    token = await w.initial(statement_required=True, **TRUSTED)
    refused(await w.send(token, {}), "invalid_software_statement")
    made = (await w.send(token, {"software_statement": sealed})).json()
    body = {"client_id": made["client_id"], "software_id": "real"}
    refused(await w.manage("PUT", made, body), "invalid_software_statement")
    assert (await w.manage("PUT", made, {**body, "software_statement": sealed})).status_code == 200


# -- management (RFC 7592) -----------------------------------------------------------------------


async def test_reading(w: World) -> None:
    """REG-018: an application could not look after itself; or its secret would be shown again."""
    made = await w.registered({"client_name": "Payroll"})
    answer = await w.manage("GET", made)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {name: value for name, value in made.items() if name != "client_secret"}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_with_another_token(w: World, method: str) -> None:
    """REG-019: one registration would be the key to all of them."""
    initial = await w.initial(2)
    mine, other = (await w.send(initial, {})).json(), (await w.send(initial, {})).json()
    body = {"client_id": mine["client_id"]} if method == "PUT" else None
    bearer = (await w.ww.bearer())["authorization"].removeprefix("Bearer ")
    for token in (other["registration_access_token"], initial, mine["client_secret"], bearer, "x"):
        unauthorised(await w.manage(method, mine, body, token))
    unknown = {**mine, "registration_client_uri": f"{URL}/8d0a5c6c-7c3f-4b66-9d0a-0a8f4c1f8f11"}
    unauthorised(await w.manage(method, unknown, body))
    by_hand = await w.ww.application("by hand", w.api, "a:read")
    unauthorised(await w.manage(method, {**mine, "registration_client_uri": f"{URL}/{by_hand['client_id']}"}, body))
    assert (await w.manage("GET", mine)).status_code == 200
    assert (await w.ww.token(credentials_of(mine))).status_code == 200


async def test_after_the_end(w: World) -> None:
    """REG-020: a deleted application would go on calling, or come back."""
    made = await w.registered()
    token = (await w.ww.token(credentials_of(made))).json()["access_token"]
    reader = credentials_of(await w.ww.application("reader", w.api, "a:read"))
    await w.ww.call("PATCH", f"/apis/{w.api['api_id']}", {"introspectors": [reader[0]]})
    assert (await w.ww.introspect(reader, token))["active"] is True
    assert (await w.manage("DELETE", made)).status_code == 204
    for method in ("GET", "DELETE"):
        unauthorised(await w.manage(method, made))
    unauthorised(await w.manage("PUT", made, {"client_id": made["client_id"]}))
    assert (await w.ww.token(credentials_of(made))).status_code == 401
    assert await w.ww.introspect(reader, token) == {"active": False}


async def test_the_disabled_stay_so(w: World) -> None:
    """REG-021: whom the administrator shut out would let itself in again (CVE-2026-9705)."""
    made = await w.registered()
    await w.ww.call("PATCH", f"/applications/{made['client_id']}", {"enabled": False})
    for method, body in (("GET", None), ("PUT", {"client_id": made["client_id"]}), ("DELETE", None)):
        unauthorised(await w.manage(method, made, body))
    assert (await w.ww.call("GET", f"/applications/{made['client_id']}")).json()["enabled"] is False
    await w.ww.call("PATCH", f"/applications/{made['client_id']}", {"enabled": True})
    assert (await w.ww.token(credentials_of(made))).status_code == 200


async def test_an_update_is_all_of_it(w: World) -> None:
    """REG-023: what an application takes back would stay."""
    made = await w.registered({"client_name": "Payroll", "contacts": ["a@b.example"], "scope": "a:read"})
    answer = await w.manage("PUT", made, {"client_id": made["client_id"], "client_uri": "https://b.example/"})
    assert answer.status_code == 200, answer.text
    after = answer.json()
    assert (after["client_name"], after["scope"]) == (f"registered {made['client_id'][:8]}", "a:read a:write")
    assert after["client_uri"] == "https://b.example/"
    assert "contacts" not in after
    assert (await w.ww.token(credentials_of(made))).json()["scope"] == "a:read a:write"


async def test_the_registration_token_turns(w: World) -> None:
    """REG-024: a token that leaked once would be good for ever."""
    made = await w.registered()
    after = (await w.manage("PUT", made, {"client_id": made["client_id"]})).json()
    assert after["registration_access_token"] != made["registration_access_token"]
    unauthorised(await w.manage("GET", made))
    assert (await w.manage("GET", after)).status_code == 200


NO_UPDATE: list[dict[str, Any]] = [
    {}, {"client_id": "another"}, {"registration_access_token": "x"}, {"registration_client_uri": "x"},
    {"client_secret_expires_at": 0}, {"client_id_issued_at": 1}, {"client_secret": "chosen by me"},
    {"client_secret": None}, {"software_id": "another"}, {"enabled": True}, {"scope": "b:read"},
]  # fmt: skip


async def test_an_update_that_is_refused_changes_nothing(w: World) -> None:
    """RFC 7592 section 2.2: an application would choose its id, its secret or its lifetime."""
    made = await w.registered()
    for said in NO_UPDATE:
        body = {"client_id": made["client_id"], **said} if said else {}
        refused(await w.manage("PUT", made, body))
    assert (await w.manage("GET", made)).json()["client_name"] == made["client_name"]
    assert (await w.ww.token(credentials_of(made))).status_code == 200


async def test_credentials_follow_the_method(w: World) -> None:
    """An application that goes over to a key would keep a secret that nobody watches any more."""
    made = await w.registered()
    body = {"client_id": made["client_id"], "token_endpoint_auth_method": "private_key_jwt", "jwks": jwks(KEY)}
    by_key = (await w.manage("PUT", made, {**body, "client_secret": made["client_secret"]})).json()
    assert "client_secret" not in by_key
    assert (await w.ww.token(credentials_of(made))).status_code == 401
    back = (await w.manage("PUT", by_key, {"client_id": made["client_id"]})).json()
    assert back["client_secret"] != made["client_secret"]
    assert "jwks" not in back
    assert (await w.ww.token(credentials_of(back))).status_code == 200
    again = (await w.manage("PUT", back, {"client_id": made["client_id"]})).json()
    assert "client_secret" not in again
    assert (await w.ww.token(credentials_of(back))).status_code == 200


async def test_what_the_administrator_changed_stays(w: World) -> None:
    """An update would bring back a scope that was taken away, or drop one that was given."""
    made = await w.registered()
    less = {"grants": [{"api_id": w.api["api_id"], "scopes": ["a:read"]}]}
    await w.ww.call("PATCH", f"/applications/{made['client_id']}", less)
    after = (await w.manage("PUT", made, {"client_id": made["client_id"]})).json()
    assert after["scope"] == "a:read"
    refused(await w.manage("PUT", after, {"client_id": made["client_id"], "scope": "a:write"}))


async def test_the_policy_goes_on_to_hold(w: World) -> None:
    """Who revokes the token after a leak would free those who registered with it."""
    made = await w.registered(require_bound=True)
    token_id = (await w.ww.call("GET", "/initial-tokens")).json()["items"][0]["token_id"]
    await w.ww.call("DELETE", f"/initial-tokens/{token_id}")
    body = {"client_id": made["client_id"]}
    refused(await w.manage("PUT", made, {**body, "token_endpoint_auth_method": "client_secret_jwt"}))
    bound = "tls_client_certificate_bound_access_tokens"
    after = (await w.manage("PUT", made, {**body, bound: False})).json()
    assert after[bound] is True


@pytest.mark.parametrize("method", ["POST", "PATCH", "HEAD"])
async def test_other_methods(w: World, method: str) -> None:
    """A door that nobody thought of would stand open beside the others."""
    answer = await w.manage(method, await w.registered())
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, PUT, DELETE")


SHOWN_ONLY = ("registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at")


async def repeated(w: World, made: dict[str, Any]) -> dict[str, Any]:
    """PUT of what GET says, without the members that only the server sends (RFC 7592 section 2.2); what is said then."""
    told = (await w.manage("GET", made)).json()
    answer = await w.manage("PUT", told, {name: value for name, value in told.items() if name not in SHOWN_ONLY})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize(
    "body",
    [
        {"client_name": "agent", "scope": "a:read"},
        {"client_name": "ci-agent", "dpop_bound_access_tokens": True, "contacts": ["a@b.example"]},
        {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [KEY.public.to_jwk()]}},
        {},
    ],
    ids=["by secret", "bound", "by key", "nothing"],
)
async def test_what_get_returned_changes_nothing(w: World, body: dict[str, Any]) -> None:
    """A client that reads and writes would get a longer name each time, or other keys (issue 13, B4)."""
    made = await w.registered(body, name_prefix="ci-")
    path = f"/applications/{made['client_id']}"
    before = (await w.ww.call("GET", path)).json()
    w.ww.clock.now += 60
    again = await repeated(w, await repeated(w, made))
    after = (await w.ww.call("GET", path)).json()
    assert before["name"] == f"ci-{body.get('client_name', 'registered ' + made['client_id'][:8]).removeprefix('ci-')}"
    changing = {"version", "updated_at"}
    assert {k: v for k, v in after.items() if k not in changing} == {
        k: v for k, v in before.items() if k not in changing
    }
    assert again["client_name"] == before["name"]


async def test_what_is_stricter_stays(w: World) -> None:
    """A stolen registration token would undo what an administrator did about it (issue 13, B4)."""
    made = await w.registered({"client_name": "agent"})
    path, only = f"/applications/{made['client_id']}", {"client_id": made["client_id"]}
    strict = {
        "require_dpop": True, "require_bound": True, "auth_method": "private_key_jwt",
        "jwks": {"keys": [KEY.public.to_jwk()]},
        "grant_types": ["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"],
    }  # fmt: skip
    assert (await w.ww.call("PATCH", path, strict)).status_code == 200
    told = await repeated(w, await repeated(w, made))
    loose = {"dpop_bound_access_tokens": False, "tls_client_certificate_bound_access_tokens": False}
    answer = await w.manage("PUT", told, {**only, "jwks": told["jwks"], **loose})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    why = refused(await w.manage("PUT", told, {**only, "token_endpoint_auth_method": "client_secret_basic"}))
    assert "administrator" in why
    now = (await w.ww.call("GET", path)).json()
    assert (now["require_dpop"], now["require_bound"], now["auth_method"]) == (True, True, "private_key_jwt")
    assert now["grant_types"] == strict["grant_types"]


async def test_what_it_asked_for_itself_it_can_take_back(w: World) -> None:
    """A client that tries DPoP once could never stop."""
    made = await w.registered({"dpop_bound_access_tokens": True})
    after = (await w.manage("PUT", made, {"client_id": made["client_id"]})).json()
    assert "dpop_bound_access_tokens" not in after
