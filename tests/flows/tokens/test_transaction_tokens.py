"""Transaction tokens (draft-ietf-oauth-transaction-tokens-10) through HTTP: who gets which, and what they are good for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace
from tests.support.assertions import TYPE, Caller
from tests.support.exchange import ACCESS, BACK, BOTH, FRONT, JWT, World, made, refused
from tests.support.instance import ADMIN_API, BASE, ISSUER, Instance, credentials_of, instance, node
from tests.support.proofs import proof_of
from tests.support.tokens import claims_in, claims_of

from watchword.jose import Algorithm, PrivateKey

TXN = "urn:ietf:params:oauth:token-type:txn_token"
DOMAIN = "trust.example"
ON = {"draft": "draft-10", "trust_domain": DOMAIN}
DETAILS = {"action": "BUY", "quantity": 100, "customer": {"level": "VIP"}}
CONTEXT = {"req_ip": "69.151.72.123"}


class Domain(World):
    """With a trust domain: the front begins transactions, the back may replace their tokens."""

    async def switch(self, wanted: dict[str, Any] | None, slug: str = "default") -> httpx.Response:
        """As the administrator of all tenants."""
        return await self.ww.call("PATCH", f"/tenants/{slug}", {"transaction_tokens": wanted})

    async def txn(self, token: str, pair: tuple[str, str] | None = None, **form: Any) -> httpx.Response:
        """A right request of the front but for what is said; None takes a parameter away."""
        right = {"requested_token_type": TXN, "audience": DOMAIN, "scope": "a:read"}
        return await self.exchange(token, pair, **{**right, **form})

    async def replaced(self, token: str, **form: Any) -> httpx.Response:
        """By the back."""
        return await self.txn(token, form.pop("pair", self.back), subject_token_type=TXN, **form)


async def domain(ww: Instance) -> Domain:
    """All of it, switched on."""
    w = await made(ww)
    d = Domain(ww, w.apis)
    d.caller, d.front, d.back = w.caller, w.front, w.back
    d.apis[DOMAIN] = await ww.api(DOMAIN, "a:read", "a:write", "b:read")
    at = d.apis[DOMAIN]["api_id"]
    grants = {"grants": [{"api_id": at, "scopes": ["a:read", "a:write"]}]}
    await d.change(d.front, **grants)
    await d.change(d.back, **grants, exchange_from=[at])
    answer = await d.switch(ON)
    assert answer.status_code == 200, answer.text
    return d


@pytest.fixture
async def d(tmp_path: Path) -> AsyncIterator[Domain]:
    """On SQLite."""
    async with instance(tmp_path) as ww:
        yield await domain(ww)


async def test_what_a_transaction_token_says(d: Domain) -> None:
    """The workloads behind the front would not know what the call is about, or another kind of token be taken for one."""
    subject = await d.called()
    answer = await d.txn(subject, request_details=json.dumps(DETAILS), request_context=json.dumps(CONTEXT))
    claims, told, now = claims_of(answer), answer.json(), int(d.ww.clock.now)
    jti = claims.pop("jti")
    assert claims == {
        "iss": ISSUER, "iat": now, "aud": DOMAIN, "exp": now + 120, "txn": jti, "sub": d.caller[0], "scope": "a:read",
        "req_wl": d.front[0], "act": {"sub": d.front[0]}, "subject_tokens": [claims_in(subject)["jti"]],
        "tctx": DETAILS, "rctx": CONTEXT,
    }  # fmt: skip
    header = told["access_token"].partition(".")[0]
    assert claims_in(f".{header}.")["typ"] == "txntoken+jwt"
    assert (told["token_type"], told["issued_token_type"], told["expires_in"]) == ("N_A", TXN, 120)
    assert "refresh_token" not in told
    assert subject not in json.dumps(claims)
    events = (await d.ww.call("GET", "/audit")).json()["items"]
    issued = next(one for one in events if one.get("txn"))
    assert (issued["event"], issued["txn"], issued["token_id"]) == ("TokenIssued", jti, jti)
    assert (issued["actor"], issued["subject"], issued["audience"]) == (d.front[0], d.caller[0], [DOMAIN])
    assert issued["subject_token"] == claims_in(subject)["jti"]


async def test_it_ends_with_its_subject(d: Domain) -> None:
    """An access token that ends in a moment would live on as a transaction."""
    subject = await d.called()
    d.ww.clock.now += 3590
    assert claims_of(await d.txn(subject))["exp"] == claims_in(subject)["exp"]
    d.ww.clock.now += 10
    refused(await d.txn(subject))


async def test_off_is_as_if_there_were_none(d: Domain) -> None:
    """A tenant that never asked for a draft would serve it, or tell strangers that this software knows it."""
    token = (await d.txn(await d.called())).json()["access_token"]
    assert (await d.switch(None)).status_code == 200
    subject = await d.called()
    for form in ({}, {"scope": None}, {"audience": BACK}, {"request_details": "{"}):
        answer = await d.txn(subject, **form)
        unknown = await d.txn(subject, requested_token_type="urn:x", **form)
        assert (answer.status_code, answer.json()) == (400, unknown.json())
    answer, unknown = await d.replaced(token), await d.txn(token, d.back, subject_token_type="urn:x")
    assert (answer.status_code, answer.json()) == (400, unknown.json())
    metadata = (await d.ww.http.get(f"{ISSUER}/.well-known/oauth-authorization-server")).json()
    assert "transaction" not in json.dumps(metadata)
    await d.switch(ON)
    metadata = (await d.ww.http.get(f"{ISSUER}/.well-known/oauth-authorization-server")).json()
    assert metadata["watchword_transaction_tokens"] == "draft-ietf-oauth-transaction-tokens-10"


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"draft": "draft-09", "trust_domain": DOMAIN}, ""),
        ({"draft": "", "trust_domain": DOMAIN}, ""),
        ({"draft": "draft-10"}, ""),
        ({**ON, "more": 1}, ""),
        ({**ON, "trust_domain": ""}, "identifier"),
        ({**ON, "trust_domain": ADMIN_API}, "transaction_tokens.trust_domain"),
        ({**ON, "lifetime": 9}, "transaction_tokens.lifetime"),
        ({**ON, "lifetime": 601}, "transaction_tokens.lifetime"),
    ],
    ids=str,
)  # fmt: skip
async def test_settings_that_are_refused(d: Domain, wanted: dict[str, Any], field: str) -> None:
    """A version that nobody built would be promised, or a token of a minute live for a day."""
    answer = await d.switch(wanted)
    assert (answer.status_code, answer.json().get("field", "")) == (400, field), answer.text
    assert (await d.ww.call("GET", "/tenants")).json()["items"][0]["transaction_tokens"] == {**ON, "lifetime": 120}


async def test_one_token_service_for_a_trust_domain(d: Domain) -> None:
    """Two issuers would speak for one domain (section 10), and its workloads believe either."""
    assert (await d.ww.call("POST", "/tenants", {"slug": "other", "name": "other"})).status_code == 201
    answer = await d.switch(ON, "other")
    assert (answer.status_code, answer.json()["field"]) == (409, "transaction_tokens.trust_domain")
    assert (await d.switch({**ON, "trust_domain": "other.example", "lifetime": 10}, "other")).status_code == 200
    assert (await d.switch({**ON, "lifetime": 600})).status_code == 200
    assert claims_of(await d.txn(await d.called()))["exp"] == int(d.ww.clock.now) + 600


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"scope": None}, "invalid_request"),
        ({"scope": ""}, "invalid_request"),
        ({"scope": "b:read"}, "invalid_scope"),
        ({"scope": "a:read nothing"}, "invalid_scope"),
        ({"audience": None}, "invalid_target"),
        ({"audience": BACK}, "invalid_target"),
        ({"audience": [DOMAIN, BACK]}, "invalid_target"),
        ({"audience": [DOMAIN, DOMAIN]}, "invalid_target"),
        ({"resource": BACK}, "invalid_target"),
        ({"audience": None, "resource": DOMAIN}, "invalid_target"),
        ({"authorization_details": '[{"type":"x"}]'}, "invalid_request"),
        ({"subject_token": "x"}, "invalid_request"),
        ({"subject_token": None}, "invalid_request"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:self_signed"}, "invalid_request"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:unsigned_json"}, "invalid_request"),
        ({"actor_token": "x", "actor_token_type": TXN}, "invalid_request"),
    ],
    ids=str,
)  # fmt: skip
async def test_requests_that_are_refused(d: Domain, form: dict[str, Any], error: str) -> None:
    """A transaction would be for nothing in particular, for another domain, or for a subject that nobody proved."""
    refused(await d.txn(await d.called(scope="a:read"), **form), error)


@pytest.mark.parametrize("name", ["request_details", "request_context"])
@pytest.mark.parametrize(
    "text",
    [
        "x", "[]", "1", "null", '"a"', '{"a":1,"a":2}', '{"a":NaN}', '{"a":9223372036854775808}',
        '{"a":"' + "x" * 2048 + '"}', '{"a":"' + "é" * 1022 + '"}', '{"a":' * 9 + "1" + "}" * 9, '{"a":"\\ud800"}',
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
async def test_contexts_that_are_refused(d: Domain, name: str, text: str) -> None:
    """Two readers would see two contexts, or the token not fit into a header."""
    assert name in refused(await d.txn(await d.called(), **{name: text}))


async def test_contexts_at_the_edge(d: Domain) -> None:
    """The bounds would refuse what they promise."""
    longest = '{"a":"' + "x" * 2040 + '"}'
    deepest = '{"a":' * 8 + "1" + "}" * 8
    claims = claims_of(await d.txn(await d.called(), request_details=longest, request_context=deepest))
    assert (claims["tctx"], claims["rctx"]) == (json.loads(longest), json.loads(deepest))
    claims = claims_of(await d.txn(await d.called(), request_details="{}"))
    assert (claims["tctx"], "rctx" in claims) == ({}, False)


async def test_who_may_ask(d: Domain) -> None:
    """Every workload that sees a token could begin a transaction with it."""
    subject = await d.called()
    refused(await d.txn(subject, d.caller), "unauthorized_client")
    refused(await d.txn(subject, (d.front[0], "wrong")), "invalid_client", 401)
    assert "exchange_from" in refused(await d.txn(subject, d.back))
    more = {"grant_types": BOTH, "exchange_from": [d.apis[FRONT]["api_id"]]}
    stranger = await d.app("stranger", {BACK: ["a:read"]}, **more)
    refused(await d.txn(subject, stranger), "invalid_target")
    await d.change(d.caller, may_act=d.back[0])
    assert "may_act" in refused(await d.txn(await d.called()))
    await d.ww.call("PATCH", f"/apis/{d.apis[DOMAIN]['api_id']}", {"enabled": False})
    refused(await d.txn(subject), "invalid_target")


async def test_a_scheduled_task_is_its_own_subject(d: Domain) -> None:
    """A workload without a caller would need a subject token that it signs itself, and could name anybody in it."""
    grants = [{"api_id": d.apis[name]["api_id"], "scopes": ["a:read"]} for name in (FRONT, DOMAIN)]
    await d.change(d.front, grants=grants)
    claims = claims_of(await d.txn(await d.called(d.front)))
    assert (claims["sub"], claims["req_wl"]) == (d.front[0], d.front[0])


# -- what it is not -----------------------------------------------------------------------------


async def test_it_is_no_access_token(d: Domain) -> None:
    """A token that passes through every workload of a domain would open whatever its subject may open (section 13.13)."""
    token = (await d.txn(await d.called())).json()["access_token"]
    await d.ww.call("PATCH", f"/apis/{d.apis[DOMAIN]['api_id']}", {"introspectors": [d.back[0]]})
    for _ in range(2):  # the second time from memory, if it were remembered
        assert await d.ww.introspect(d.back, token) == {"active": False}
        assert (await d.replaced(token)).status_code == 200
    headers = {"authorization": f"Bearer {token}"}
    assert (await d.ww.http.get(f"{BASE}/api/v1/applications", headers=headers)).status_code == 401
    answer = await d.ww.http.get(f"{ISSUER}/forward-auth", params={"audience": DOMAIN}, headers=headers)
    assert answer.status_code in (401, 403), answer.text
    for requested in (None, ACCESS, JWT):
        for kind in (ACCESS, JWT, TXN):
            form = {"requested_token_type": requested, "subject_token_type": kind, "scope": None}
            for audience in (BACK, DOMAIN):
                answer = await d.exchange(token, d.back, audience=audience, **form)
                refused(answer)


async def test_an_access_token_is_no_transaction_token(d: Domain) -> None:
    """An access token would be replaced by a transaction that never began, under a name that its holder chose."""
    at_domain = (await d.ww.token(d.front, resource=DOMAIN)).json()["access_token"]
    for token in (at_domain, await d.called()):
        refused(await d.replaced(token))
        refused(await d.replaced(token, pair=d.front))
    begun = (await d.txn(await d.called())).json()["access_token"]
    refused(await d.txn(begun, d.back))


async def test_it_proves_nobody(d: Domain) -> None:
    """A transaction token would authenticate whoever was handed it (section 13.12)."""
    token = (await d.txn(await d.called())).json()["access_token"]
    form = {
        "grant_type": "client_credentials", "client_id": d.caller[0], "client_assertion": token,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    }  # fmt: skip
    refused(await d.ww.http.post(f"{ISSUER}/token", data=form), "invalid_client", 401)
    actor = {"actor_token": token, "actor_token_type": ACCESS}
    refused(await d.txn(await d.called(), **actor))


# -- replacement ---------------------------------------------------------------------------------


async def test_a_replacement_keeps_what_it_is_of(d: Domain) -> None:
    """A workload in the middle could make another transaction of the one that it serves (section 13.15)."""
    first = (await d.txn(await d.called(), scope="a:read a:write", request_details=json.dumps(DETAILS))).json()
    before = claims_in(first["access_token"])
    d.ww.clock.now += 60
    more = {"request_details": '{"risk":"low","quantity":100}', "request_context": json.dumps(CONTEXT)}
    after = claims_of(await d.replaced(first["access_token"], **more))
    for name in ("txn", "sub", "aud", "exp"):
        assert after[name] == before[name], name
    assert after["jti"] != before["jti"]
    assert (after["scope"], after["req_wl"]) == ("a:read", d.back[0])
    assert after["act"] == {"sub": d.back[0], "act": {"sub": d.front[0]}}
    assert (after["tctx"], after["rctx"]) == ({**DETAILS, "risk": "low"}, CONTEXT)
    assert after["subject_tokens"] == [*before["subject_tokens"], before["jti"]]
    d.ww.clock.now += 60
    refused(await d.replaced(first["access_token"]))


@pytest.mark.parametrize(
    "details", [{"quantity": 101}, {"quantity": 100.0}, {"action": None}, {"customer": {"level": "VIP", "geo": "US"}}]
)
async def test_what_was_said_stays_said(d: Domain, details: dict[str, Any]) -> None:
    """A workload could raise the amount, or read the same number as another type."""
    both = {"request_details": json.dumps(DETAILS), "request_context": json.dumps(DETAILS)}
    token = (await d.txn(await d.called(), **both)).json()["access_token"]
    for name in both:
        assert next(iter(details)) in refused(await d.replaced(token, **{name: json.dumps(details)}))
    assert claims_of(await d.replaced(token, request_details=json.dumps(DETAILS)))["tctx"] == DETAILS


async def test_a_replacement_grows_no_further(d: Domain) -> None:
    """Contexts would grow with every workload until no header takes the token."""
    half = json.dumps({"a": "x" * 1500})
    token = (await d.txn(await d.called(), request_details=half)).json()["access_token"]
    refused(await d.replaced(token, request_details=json.dumps({"b": "x" * 600})))
    assert (await d.replaced(token, request_details=json.dumps({"b": "x" * 500}))).status_code == 200


async def test_a_replacement_only_narrows(d: Domain) -> None:
    """A workload could do what the transaction was not for."""
    token = (await d.txn(await d.called(), scope="a:read")).json()["access_token"]
    refused(await d.replaced(token, scope="a:write"), "invalid_scope")
    refused(await d.replaced(token, scope="a:read a:write"), "invalid_scope")
    refused(await d.replaced(token, scope=None))
    assert "exchange_from" in refused(await d.replaced(token, pair=d.front))
    await d.switch({**ON, "trust_domain": "other.example"})
    refused(await d.replaced(token), "invalid_target")


async def test_a_chain_of_replacements_ends(d: Domain) -> None:
    """Two workloads that call each other would make tokens without an end."""
    token = (await d.txn(await d.called())).json()["access_token"]
    for _ in range(4):
        token = (await d.replaced(token)).json()["access_token"]
    refused(await d.replaced(token))


# -- bound subject tokens -------------------------------------------------------------------------


async def bound(d: Domain) -> str:
    """A token with which the front was called, bound to its caller's key."""
    key, url = PrivateKey.generate(Algorithm.ES256), f"{ISSUER}/token"
    form = {"grant_type": "client_credentials", "resource": FRONT}
    headers = {"dpop": proof_of(key, url, d.ww.clock.now)}
    return str((await d.ww.http.post(url, data=form, auth=d.caller, headers=headers)).json()["access_token"])


async def test_a_bound_token_needs_an_application_with_a_key(d: Domain) -> None:
    """DPO-045: two stolen texts, a bound token and a secret, would do what neither of them can."""
    subject = await bound(d)
    assert "key" in refused(await d.txn(subject))
    own = {"dpop": proof_of(PrivateKey.generate(Algorithm.ES256), f"{ISSUER}/token", d.ww.clock.now)}
    refused(await d.txn(subject, headers=own))
    more = {"grant_types": BOTH, "exchange_from": [d.apis[FRONT]["api_id"]]}
    keyed = await Caller.register(d.ww, d.apis[DOMAIN], "gateway", **more)
    form = {
        "grant_type": BOTH[1], "subject_token": subject, "subject_token_type": ACCESS, "requested_token_type": TXN,
        "audience": DOMAIN, "scope": "a:read",
    }  # fmt: skip
    claims = claims_of(await keyed.send(keyed.assertion(), **form))
    assert (claims["sub"], claims["req_wl"], "cnf" in claims) == (d.caller[0], keyed.client_id, False)


async def test_a_proof_is_judged_and_binds_nothing(d: Domain) -> None:
    """A proof would be taken for a binding, or count for another request as well."""
    await d.change(d.front, require_dpop=True)
    subject, key = await d.called(), PrivateKey.generate(Algorithm.ES256)
    refused(await d.txn(subject), "invalid_dpop_proof")
    headers = {"dpop": proof_of(key, f"{ISSUER}/token", d.ww.clock.now)}
    answer = await d.txn(subject, headers=headers)
    assert (answer.json()["token_type"], "cnf" in claims_of(answer)) == ("N_A", False)
    refused(await d.txn(subject, headers=headers), "invalid_dpop_proof")


async def test_a_domain_of_bound_tokens_has_no_transactions(d: Domain) -> None:
    """An administrator who wants tokens bound would get some that are not."""
    await d.ww.call("PATCH", f"/apis/{d.apis[DOMAIN]['api_id']}", {"require_bound": True})
    assert "require_bound" in refused(await d.txn(await d.called()), "invalid_target")


# -- the moment of the commit ---------------------------------------------------------------------


@pytest.mark.parametrize("how", ["disabled", "cut off", "revoked", "an older one revoked"])
async def test_what_died_gives_no_transaction(d: Domain, how: str) -> None:
    """A transaction would begin, or go on, with what was shut out."""
    subject = await d.called()
    token = (await d.txn(subject)).json()["access_token"]
    d.ww.clock.now += 1
    if "revoked" in how:
        await d.ww.http.post(f"{ISSUER}/revoke", data={"token": subject}, auth=d.caller)
    elif how == "disabled":
        await d.change(d.caller, enabled=False)
    else:
        await d.ww.call("POST", f"/applications/{d.caller[0]}/cut-off")
    refused(await d.replaced(token) if "older" in how else await d.txn(subject))
    refused(await d.replaced(token))


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
@pytest.mark.parametrize("how", ["caller disabled", "front disabled", "revoked", "switched off", "grant taken"])
async def test_what_another_node_did_counts_at_the_commit(
    database: str, how: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """RAC-002: a node that has not heard yet would begin a transaction for what is dead, after that was acknowledged."""
    url = request.getfixturevalue("postgres_dsn") if database == "postgres" else ""
    async with instance(tmp_path, url) as ww:
        d = await domain(ww)
        async with node(ww.services.settings, ww.clock, ww.admin) as second:
            subject = await d.called()
            token = (await d.txn(subject)).json()["access_token"]
            assert (await d.txn(subject, ww=second)).status_code == 200
            assert (await d.replaced(token, ww=second)).status_code == 200
            if how == "revoked":
                await ww.http.post(f"{ISSUER}/revoke", data={"token": subject}, auth=d.caller)
            elif how == "switched off":
                await d.switch(None)
            elif how == "grant taken":
                await d.change(d.front, grants=[])
                await d.change(d.back, grants=[])
            else:
                await d.change(d.caller if how == "caller disabled" else d.front, enabled=False)
            for answer in (await d.txn(subject, ww=second), await d.replaced(token, ww=second)):
                assert answer.status_code in (400, 401), answer.text


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_revoked_in_the_middle(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """RAC-002: of transactions that begin while their subject token is revoked, one could be recorded after the mark."""
    url = request.getfixturevalue("postgres_dsn") if database == "postgres" else ""
    async with instance(tmp_path, url) as ww:
        d = await domain(ww)
        async with node(ww.services.settings, ww.clock, ww.admin) as second:
            subject = await d.called()
            begun = [d.txn(subject, ww=(ww, second)[n % 2]) for n in range(20)]
            revoked = ww.http.post(f"{ISSUER}/revoke", data={"token": subject}, auth=d.caller)
            answers, _ = await asyncio.gather(asyncio.gather(*begun), revoked)
            assert {answer.status_code for answer in answers} <= {200, 400}
            refused(await d.txn(subject, ww=second))
            for answer in answers:
                if answer.status_code == 200:  # begun before the mark: no replacement outlives it
                    refused(await d.replaced(answer.json()["access_token"], ww=second))
            events = (await ww.call("GET", "/audit", params={"limit": 200})).json()["items"]
            recorded = [one for one in events if one.get("txn")]
            assert len(recorded) == sum(answer.status_code == 200 for answer in answers)


async def test_in_the_profile(tmp_path: Path) -> None:
    """FAPI 2.0 binds access tokens: a tenant of it would have no transactions, or tokens of a length that it refuses."""
    async with instance(tmp_path) as ww:
        made_by = (await ww.call("POST", "/tenants", {"slug": "bank", "name": "bank"})).json()
        issuer = made_by["issuer"]
        admin = await ww.bearer(credentials_of(made_by), issuer)

        async def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
            answer = await ww.http.post(f"{BASE}/api/v1{path}", json=body, headers=admin)
            assert answer.status_code == 201, answer.text
            return dict(answer.json())

        apis = [
            await post("/apis", {"identifier": name, "name": name, "scopes": [{"name": "a:read"}]})
            for name in (FRONT, DOMAIN)
        ]
        key = PrivateKey.generate(Algorithm.ES256)
        body = {
            "name": "gateway", "auth_method": "private_key_jwt", "jwks": {"keys": [key.public.to_jwk()]},
            "grant_types": BOTH, "exchange_from": [apis[0]["api_id"]],
            "grants": [{"api_id": api["api_id"], "scopes": ["a:read"]} for api in apis],
        }  # fmt: skip
        gateway = Caller(ww, (await post("/applications", body))["client_id"], key)
        on = {**ON, "lifetime": 600}
        assert (await ww.call("PATCH", "/tenants/bank", {"transaction_tokens": on})).status_code == 200
        async with ww.services.storage.store.transaction() as tx:  # the administrator has a secret still
            record = await tx.tenants.find("", "bank")
            assert record is not None
            await tx.tenants.replace(replace(record, profile="fapi2", version=record.version + 1))
        await ww.services.view.refresh()

        async def send(headers: dict[str, str] | None = None, **form: str) -> httpx.Response:
            shown = {"client_assertion": gateway.assertion(aud=issuer), "client_assertion_type": TYPE, **form}
            return await ww.http.post(f"{issuer}/token", data=shown, headers=headers)

        proof = {"dpop": proof_of(PrivateKey.generate(Algorithm.ES256), f"{issuer}/token", ww.clock.now)}
        subject = (await send(proof, grant_type="client_credentials", resource=FRONT)).json()["access_token"]
        answer = await send(
            grant_type=BOTH[1], subject_token=subject, subject_token_type=ACCESS, requested_token_type=TXN,
            audience=DOMAIN, scope="a:read",
        )  # fmt: skip
        assert (claims_of(answer)["sub"], answer.json()["token_type"]) == (gateway.client_id, "N_A")
