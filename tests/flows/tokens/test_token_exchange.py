"""Token exchange (RFC 8693), case by case (`cases/tex.yaml`)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.exchange import ACCESS, BACK, BOTH, FRONT, GRANT, JWT, THIRD, World, made, refused
from tests.support.instance import ADMIN_API, BASE, ISSUER, instance, node
from tests.support.proofs import proof_of
from tests.support.tokens import claims_in, claims_of

from watchword.jose import Algorithm, PrivateKey


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    """On SQLite."""
    async with instance(tmp_path) as ww:
        yield await made(ww)


async def test_a_service_calls_on(w: World) -> None:
    """The back would not know for whom it is called, or by whom; or the token be good for longer or for more."""
    subject = await w.called()
    before = claims_in(subject)
    w.ww.clock.now += 1000
    answer = await w.exchange(subject)
    claims, told = claims_of(answer), answer.json()
    assert (claims["sub"], claims["client_id"], claims["act"]) == (w.caller[0], w.front[0], {"sub": w.front[0]})
    assert (claims["aud"], claims["scope"]) == (BACK, "a:read")
    assert (claims["exp"], told["expires_in"]) == (before["exp"], before["exp"] - int(w.ww.clock.now))
    assert (told["issued_token_type"], told["token_type"], told["scope"]) == (ACCESS, "Bearer", "a:read")
    assert "refresh_token" not in told
    further = claims_of(await w.exchange(told["access_token"], w.back, audience=THIRD))
    assert further["act"] == {"sub": w.back[0], "act": {"sub": w.front[0]}}
    assert (further["sub"], further["client_id"]) == (w.caller[0], w.back[0])
    shown = await w.ww.introspect(w.back, told["access_token"])
    assert (shown["active"], shown["sub"], shown["client_id"]) == (True, w.caller[0], w.front[0])
    event = (await w.ww.call("GET", "/audit")).json()["items"][1:]
    issued = next(one for one in event if one["event"] == "TokenIssued" and one.get("subject"))
    assert (issued["actor"], issued["subject"]) == (w.back[0], w.caller[0])
    metadata = (await w.ww.http.get(f"{ISSUER}/.well-known/oauth-authorization-server")).json()
    assert metadata["grant_types_supported"] == BOTH


async def test_who_may_not(w: World) -> None:
    """TEX-002: every application that sees a token could trade it in (GHSA-7qjx-gp9h-65qj)."""
    subject = await w.called()
    refused(await w.exchange(subject, w.caller), "unauthorized_client")
    refused(await w.exchange(subject, (w.front[0], "wrong")), "invalid_client", 401)
    assert "exchange_from" in refused(await w.exchange(subject, w.back, audience=THIRD))
    body = {"name": "x", "exchange_from": [w.apis[FRONT]["api_id"]]}
    assert (await w.ww.call("POST", "/applications", body)).status_code == 400


@pytest.mark.parametrize("without", ["subject_token", "subject_token_type"])
async def test_without_a_subject(w: World, without: str) -> None:
    """TEX-003: the server would fall back to the caller's own identity (CVE-2026-9704)."""
    subject = await w.called()
    for value in (None, ""):
        refused(await w.exchange(subject, **{without: value}))


@pytest.mark.parametrize(
    "form",
    [
        {"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"},
        {"subject_token_type": "urn:ietf:params:oauth:token-type:refresh_token"},
        {"subject_token_type": "urn:ietf:params:oauth:token-type:id_token"},
        {"actor_token": "x", "actor_token_type": "urn:ietf:params:oauth:token-type:saml1"},
        {"actor_token": "x"},
        {"actor_token_type": ACCESS},
    ],
    ids=str,
)  # fmt: skip
async def test_types_that_are_not_exchanged(w: World, form: dict[str, str]) -> None:
    """TEX-004: a token of a kind that nobody judged would be believed."""
    refused(await w.exchange(await w.called(), **form))


@pytest.mark.parametrize("kind", ["refresh_token", "id_token", "saml2"])
async def test_types_that_are_not_given(w: World, kind: str) -> None:
    """TEX-013: one would be given that lives for ever, or something else than was asked for."""
    subject = await w.called()
    refused(await w.exchange(subject, requested_token_type=f"urn:ietf:params:oauth:token-type:{kind}"))
    assert "refresh_token" not in (await w.exchange(subject)).json()


async def test_a_jwt_where_there_are_jwts(w: World) -> None:
    """Who asks for a JWT would get something that it cannot read."""
    subject = await w.called()
    assert (await w.exchange(subject, requested_token_type=JWT)).json()["issued_token_type"] == JWT
    await w.ww.call("PATCH", f"/apis/{w.apis[BACK]['api_id']}", {"tokens": {"format": "opaque"}})
    refused(await w.exchange(subject, requested_token_type=JWT))
    opaque = (await w.exchange(subject)).json()["access_token"]
    assert opaque.startswith("wwtok_")
    assert (await w.ww.introspect(w.back, opaque))["act"] == {"sub": w.front[0]}
    assert claims_of(await w.exchange(opaque, w.back, audience=THIRD))["sub"] == w.caller[0]


async def test_may_act(w: World) -> None:
    """TEX-007: a token that names who may use it would be used by another."""
    await w.change(w.caller, may_act=w.back[0])
    subject = await w.called()
    assert claims_in(subject)["may_act"] == {"sub": w.back[0]}
    assert "may_act" in refused(await w.exchange(subject))
    await w.change(w.caller, may_act=w.front[0])
    token = (await w.exchange(await w.called())).json()["access_token"]
    refused(await w.exchange(token, w.back, audience=THIRD))


@pytest.mark.parametrize("scope", ["a:write", "b:read", "a:read b:read", "nothing", "a:read a:write"])
async def test_scopes_only_narrow(w: World, scope: str) -> None:
    """TEX-008: a service could give itself what its caller does not have, or what it does not have itself."""
    refused(await w.exchange(await w.called(), scope=scope), "invalid_scope")


async def test_nothing_in_common(w: World) -> None:
    """An empty token would be given, and be taken for one that is good for something."""
    refused(await w.exchange(await w.called(scope="a:write")), "invalid_scope")
    assert claims_of(await w.exchange(await w.called(scope="a:read"), scope="a:read"))["scope"] == "a:read"


@pytest.mark.parametrize("target", ["https://unknown.example/", FRONT, ADMIN_API])
@pytest.mark.parametrize("parameter", ["audience", "resource"])
async def test_targets(w: World, target: str, parameter: str) -> None:
    """TEX-009: a service could reach what nobody granted to it."""
    form = {"audience": None, parameter: target}
    refused(await w.exchange(await w.called(), **form), "invalid_target")


async def test_nobody_administers_for_another(w: World) -> None:
    """An exchanged token of an administrator would be the administrator's."""
    admin = next(a for a in (await w.ww.call("GET", "/apis")).json()["items"] if a["identifier"] == ADMIN_API)
    grants = [{"api_id": admin["api_id"], "scopes": ["applications:read"]}]
    await w.change(w.front, grants=grants, exchange_from=[admin["api_id"]])
    bearer = (await w.ww.bearer())["authorization"].removeprefix("Bearer ")
    refused(await w.exchange(bearer, audience=ADMIN_API), "invalid_target")


@pytest.mark.parametrize("api", [FRONT, BACK])
async def test_a_disabled_api(w: World, api: str) -> None:
    """TEX-010: an API that was shut would be reached through another door (CVE-2026-93999)."""
    subject = await w.called()
    await w.ww.call("PATCH", f"/apis/{w.apis[api]['api_id']}", {"enabled": False})
    refused(await w.exchange(subject), "invalid_target" if api == BACK else "invalid_request")


async def test_two_audiences(w: World) -> None:
    """TEP-016: RFC 8693 section 2.1 lets it repeat, and only here."""
    claims = claims_of(await w.exchange(await w.called(), audience=[BACK, THIRD]))
    assert (claims["aud"], claims["scope"]) == ([BACK, THIRD], "a:read")
    form = {"grant_type": "client_credentials", "audience": [BACK, THIRD]}
    refused(await w.ww.http.post(f"{ISSUER}/token", data=form, auth=w.front))


async def test_what_is_revoked_takes_along_what_came_of_it(w: World) -> None:
    """TEX-014: who revokes a stolen token would leave the thief with what it was traded in for."""
    subject = await w.called()
    first = (await w.exchange(subject)).json()["access_token"]
    second = (await w.exchange(first, w.back, audience=THIRD)).json()["access_token"]
    assert (await w.ww.introspect(w.back, second))["active"] is True
    await w.ww.http.post(f"{ISSUER}/revoke", data={"token": subject}, auth=w.caller)
    for token in (first, second):
        assert await w.ww.introspect(w.back, token) == {"active": False}
    refused(await w.exchange(first, w.back, audience=THIRD))


async def test_revoking_is_for_who_asked(w: World) -> None:
    """The subject would pull the token from under a service, or nobody could revoke it."""
    token = (await w.exchange(await w.called())).json()["access_token"]
    refused(await w.ww.http.post(f"{ISSUER}/revoke", data={"token": token}, auth=w.caller))
    assert (await w.ww.introspect(w.back, token))["active"] is True
    assert (await w.ww.http.post(f"{ISSUER}/revoke", data={"token": token}, auth=w.front)).status_code == 200
    assert await w.ww.introspect(w.back, token) == {"active": False}


@pytest.mark.parametrize("who", ["caller", "front"])
@pytest.mark.parametrize("how", ["disabled", "cut off"])
async def test_who_is_shut_out_takes_it_along(w: World, who: str, how: str) -> None:
    """A service that was shut out would go on in the name of its callers, or a caller through the service."""
    token = (await w.exchange(await w.called())).json()["access_token"]
    w.ww.clock.now += 1
    pair = getattr(w, who)
    if how == "disabled":
        await w.change(pair, enabled=False)
    else:
        await w.ww.call("POST", f"/applications/{pair[0]}/cut-off")
    assert await w.ww.introspect(w.back, token) == {"active": False}
    refused(await w.exchange(token, w.back, audience=THIRD))


@pytest.mark.parametrize("token", ["x", "a.b.c", "wwtok_x", "", "é", "\ud800"])
async def test_what_is_no_token(w: World, token: str) -> None:
    """A forged one would be exchanged for a real one."""
    refused(await w.exchange(token.encode("utf-8", "surrogatepass").decode("latin-1")))


async def test_an_expired_one(w: World) -> None:
    """An exchange would give a token new life."""
    subject = await w.called()
    w.ww.clock.now += 3600
    refused(await w.exchange(subject))


async def test_the_actor_is_who_asks(w: World) -> None:
    """A service could act in the name of another one."""
    subject = await w.called()
    own = (await w.ww.token(w.front, resource=BACK)).json()["access_token"]
    other = (await w.ww.token(w.back, resource=THIRD)).json()["access_token"]
    assert claims_of(await w.exchange(subject, actor_token=own, actor_token_type=ACCESS))["act"] == {"sub": w.front[0]}
    refused(await w.exchange(subject, actor_token=other, actor_token_type=ACCESS))
    refused(await w.exchange(subject, actor_token="x", actor_token_type=ACCESS))


async def test_a_chain_ends(w: World) -> None:
    """Two services that call each other would make tokens without an end."""
    await w.change(w.front, exchange_from=[w.apis[FRONT]["api_id"], w.apis[BACK]["api_id"]])
    token = await w.called()
    for _ in range(5):
        answer = await w.exchange(token)
        token = answer.json()["access_token"]
    refused(await w.exchange(token))


async def test_a_bound_token_never_comes_out_unbound(w: World) -> None:
    """DPO-045: a thief of a bound token would exchange it for one that anybody can use (Keycloak issue 50963)."""
    key, own = (PrivateKey.generate(Algorithm.ES256) for _ in range(2))
    url, now = f"{ISSUER}/token", w.ww.clock.now
    form = {"grant_type": "client_credentials", "resource": FRONT}
    headers = {"dpop": proof_of(key, url, now)}
    subject = (await w.ww.http.post(url, data=form, auth=w.caller, headers=headers)).json()["access_token"]
    refused(await w.exchange(subject), "invalid_dpop_proof")
    answer = await w.exchange(subject, headers={"dpop": proof_of(own, url, now)})
    assert claims_of(answer)["cnf"] == {"jkt": own.public.thumbprint()}
    assert answer.json()["token_type"] == "DPoP"


async def test_details_only_narrow(w: World) -> None:
    """A service could raise the amount that its caller was granted."""
    kind = {"name": "pay", "schema": {"type": "object", "properties": {"type": {}, "most": {"type": "integer"}}}}
    for api in (FRONT, BACK):
        await w.ww.call("PATCH", f"/apis/{w.apis[api]['api_id']}", {"details_types": [kind]})
    for pair in (w.caller, w.front):
        await w.change(pair, details_types=["pay"])
    held = {"type": "pay", "most": 5}
    subject = await w.called(authorization_details=json.dumps([held]))
    assert claims_of(await w.exchange(subject))["authorization_details"] == [held]
    assert claims_of(await w.exchange(subject, authorization_details=json.dumps([held])))["authorization_details"] == [
        held
    ]
    more = json.dumps([{"type": "pay", "most": 6}])
    refused(await w.exchange(subject, authorization_details=more), "invalid_authorization_details")
    assert "authorization_details" not in claims_of(await w.exchange(await w.called()))


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_disabled_in_the_middle(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """RAC-002: an exchange that was under way would outlive the moment at which its subject was shut out."""
    url = request.getfixturevalue("postgres_dsn") if database == "postgres" else ""
    async with instance(tmp_path, url) as ww:
        w = await made(ww)
        async with node(ww.services.settings, ww.clock, ww.admin) as second:
            subject = await w.called()
            sent = [w.exchange(subject, ww=(ww, second)[n % 2]) for n in range(20)]
            answers, _ = await asyncio.gather(asyncio.gather(*sent), w.change(w.caller, enabled=False))
            given = [answer.json()["access_token"] for answer in answers if answer.status_code == 200]
            assert {answer.status_code for answer in answers} <= {200, 400}
            refused(await w.exchange(subject, ww=ww))
            for token in given:
                assert await ww.introspect(w.back, token) == {"active": False}


async def test_the_app_id_surface_exchanges_nothing(w: World) -> None:
    """It would answer with the application's own identity, as if nothing had been asked (CVE-2026-9704)."""
    url = f"{BASE}/oauth/v4/default/token"
    form = {"grant_type": GRANT, "subject_token": await w.called(), "subject_token_type": ACCESS}
    refused(await w.ww.http.post(url, data=form, auth=w.front), "unsupported_grant_type")
    form = {"grant_type": "client_credentials", "authorization_details": '[{"type":"x"}]'}
    refused(await w.ww.http.post(url, data=form, auth=w.front), "unsupported_grant_type")


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
@pytest.mark.parametrize("how", ["disabled", "cut off", "revoked", "its service disabled", "an older one revoked"])
async def test_what_another_node_did_counts_at_the_commit(
    database: str, how: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """RAC-002: a node that has not heard yet would give a new token for one that is dead, after that was acknowledged."""
    url = request.getfixturevalue("postgres_dsn") if database == "postgres" else ""
    async with instance(tmp_path, url) as ww:
        w = await made(ww)
        async with node(ww.services.settings, ww.clock, ww.admin) as second:
            first = await w.called()
            token = (await w.exchange(first)).json()["access_token"]
            assert (await w.exchange(token, w.back, audience=THIRD, ww=second)).status_code == 200
            ww.clock.now += 1
            if how == "cut off":
                await ww.call("POST", f"/applications/{w.caller[0]}/cut-off")
            elif "revoked" in how:
                whose = (first, w.caller) if how == "an older one revoked" else (token, w.front)
                await ww.http.post(f"{ISSUER}/revoke", data={"token": whose[0]}, auth=whose[1])
            else:
                await w.change(w.caller if how == "disabled" else w.front, enabled=False)
            refused(await w.exchange(token, w.back, audience=THIRD, ww=second))
