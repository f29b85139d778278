"""`/oauth/v4/{tenant}`: what an application that was written for IBM Cloud App ID asks, and what it is told."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.appid import AppId, Credentials, parts
from tests.support.instance import ADMIN_API, BASE, ISSUER, Instance, credentials_of, instance

from watchword.jose import KeySet, PublicKey, verify_signature
from watchword.jose.algorithms import Algorithm

GRANT = "client_credentials"


@dataclass
class World:
    """A caller whose role reaches two of the scopes of `payments` and one of `bookings`."""

    ww: Instance
    appid: AppId
    caller: Credentials
    stranger: Credentials
    payments: Credentials
    bookings: Credentials

    async def post(self, endpoint: str, **request: Any) -> Any:
        return await self.ww.http.post(f"{self.appid.server_url}/{endpoint}", **request)

    async def access_token(self, credentials: Credentials, **form: str) -> str:
        answer = await self.appid.token(credentials, **form)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with instance(tmp_path) as ww:
        appid = AppId(ww)
        payments = await appid.application("payments", "charge", "refund", "audit")
        bookings = await appid.application("bookings", "read")
        caller, stranger = await appid.application("caller"), await appid.application("stranger")
        await appid.role("clerk", {payments[0]: ["charge", "refund"], bookings[0]: ["read"]}, caller)
        yield World(ww, appid, caller, stranger, payments, bookings)


def refused(answer: Any, status: int, error: str) -> None:
    """The SDK reads `error_description`; nobody may cache a refusal."""
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    assert answer.json()["error_description"]
    assert answer.headers["cache-control"] == "no-store"


async def test_a_token_has_app_ids_form(w: World) -> None:
    """The SDK, the Istio adapter and HRI's services refuse a token in which one of these members differs."""
    answer = await w.appid.token(w.stranger)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert (told["token_type"], told["expires_in"]) == ("Bearer", 3_600)
    assert told.keys() == {"access_token", "token_type", "expires_in", "scope"}
    header, claims = parts(told["access_token"])
    kid = header.pop("kid")
    assert header == {"alg": "RS256", "typ": "JWT", "ver": 4}
    assert isinstance(header["ver"], int)
    now = int(w.ww.clock())
    jti = claims.pop("jti")
    assert claims == {
        "iss": f"{BASE}/oauth/v4/default", "aud": [w.stranger[0]], "sub": w.stranger[0], "iat": now, "exp": now + 3_600,
        "tenant": "default", "scope": "appid_default", "amr": ["appid_client_credentials"],
    }  # fmt: skip
    listed = (await w.ww.http.get(f"{w.appid.server_url}/publickeys")).json()["keys"]
    assert kid in [key["kid"] for key in listed]
    keys = KeySet([PublicKey.from_jwk(key) for key in listed])
    verified = verify_signature(told["access_token"], keys, algorithms=[Algorithm.RS256], typ=["JWT"])
    assert verified.claims["jti"] == jti


@pytest.mark.parametrize(
    ("form", "audience", "scope"),
    [
        pytest.param({}, "caller", "appid_default charge read refund", id="nothing asked"),
        pytest.param({"scope": "charge"}, "caller", "appid_default charge", id="one scope"),
        pytest.param({"scope": "appid_default"}, "caller", "appid_default", id="the default scope alone"),
        pytest.param({"scope": "appid_default read"}, "caller", "appid_default read", id="the default scope and one"),
        pytest.param({"audience": "payments"}, "payments", "appid_default charge refund", id="an audience"),
        pytest.param({"audience": "bookings", "scope": "read"}, "bookings", "appid_default read", id="both"),
    ],
)
async def test_scopes_and_audience(w: World, form: dict[str, str], audience: str, scope: str) -> None:
    """A token without `appid_default` fails the SDK; one with another audience or more scopes gives too much."""
    asked = {**form, **({"audience": getattr(w, form["audience"])[0]} if "audience" in form else {})}
    _, claims = parts(await w.access_token(w.caller, **asked))
    assert (claims["aud"], claims["scope"]) == ([getattr(w, audience)[0]], scope)
    assert claims["sub"] == w.caller[0]


@pytest.mark.parametrize(
    ("form", "error"),
    [
        pytest.param({"scope": "audit"}, "invalid_scope", id="a scope that the role does not give"),
        pytest.param({"scope": "charge nothing"}, "invalid_scope", id="one of two is unknown"),
        pytest.param({"scope": "appid_readuserattr"}, "invalid_scope", id="a scope of users"),
        pytest.param({"audience": "bookings", "scope": "charge"}, "invalid_scope", id="a scope of another audience"),
        pytest.param({"audience": "nobody"}, "invalid_target", id="an audience that does not exist"),
        pytest.param({"audience": "stranger"}, "invalid_target", id="an application that offers nothing"),
        pytest.param({"resource": "https://rs1.example/"}, "invalid_target", id="a resource indicator"),
        pytest.param({"grant_type": "password"}, "unsupported_grant_type", id="a grant for users"),
        pytest.param({"grant_type": ""}, "invalid_request", id="no grant type"),
    ],
)
async def test_what_is_not_granted_is_refused(w: World, form: dict[str, str], error: str) -> None:
    """A narrowed token fails later and elsewhere; a widened one opens what no role opens."""
    named = form.get("audience", "")
    asked = {**form, **({"audience": getattr(w, named)[0]} if hasattr(w, named) else {})}
    refused(await w.appid.token(w.caller, **asked), 400, error)


async def test_apis_of_the_native_issuer_stay_its_own(w: World) -> None:
    """An administrator's App ID token would open the admin API, or an API that wants short or opaque tokens."""
    _, claims = parts(await w.access_token(w.ww.admin))
    assert claims["scope"] == "appid_default"
    refused(await w.appid.token(w.ww.admin, audience=ADMIN_API), 400, "invalid_target")
    refused(await w.appid.token(w.ww.admin, scope="applications:write"), 400, "invalid_scope")
    api = await w.ww.api("https://rs1.example/", "a:read", format="opaque")
    native = credentials_of(await w.ww.application("native", api, "a:read"))
    refused(await w.appid.token(native, audience="https://rs1.example/"), 400, "invalid_target")


async def test_an_app_id_token_does_not_administer(w: World) -> None:
    """A surface that any application may use would be a door to the registry."""
    header = {"authorization": f"Bearer {await w.access_token(w.ww.admin)}"}
    for url in (f"{BASE}/api/v1/applications", f"{w.appid.management}/applications"):
        assert (await w.ww.http.get(url, headers=header)).status_code == 401


async def test_a_disabled_target_or_caller_gets_nothing(w: World) -> None:
    """Disabling would not reach this surface."""
    apis = (await w.ww.call("GET", "/apis")).json()["items"]
    api_id = next(api["api_id"] for api in apis if api["identifier"] == w.bookings[0])
    assert (await w.ww.call("PATCH", f"/apis/{api_id}", {"enabled": False})).status_code == 200
    refused(await w.appid.token(w.caller, audience=w.bookings[0]), 400, "invalid_target")
    _, claims = parts(await w.access_token(w.caller))
    assert claims["scope"] == "appid_default charge refund"
    assert (await w.ww.call("PATCH", f"/applications/{w.caller[0]}", {"enabled": False})).status_code == 200
    refused(await w.appid.token(w.caller), 401, "invalid_client")


def multipart(fields: list[tuple[str, str]], extra: str = "") -> tuple[bytes, dict[str, str]]:
    """A body as `curl -F` writes it, and its content type."""
    lines = [f'--b\r\nContent-Disposition: form-data; name="{n}"{extra}\r\n\r\n{v}\r\n' for n, v in fields]
    return ("".join(lines) + "--b--\r\n").encode(), {"content-type": "multipart/form-data; boundary=b"}


async def test_three_kinds_of_bodies(w: World) -> None:
    """The Node SDK sends JSON, the documentation's curl a form or multipart: each must get its token."""
    url = "token"
    as_json = await w.post(url, json={"grant_type": GRANT, "scope": None}, auth=w.caller)
    as_form = await w.post(url, data={"grant_type": GRANT}, auth=w.caller)
    body, media = multipart([("grant_type", GRANT), ("scope", "read")])
    as_multipart = await w.post(url, content=body, headers=media, auth=w.caller)
    assert [a.status_code for a in (as_json, as_form, as_multipart)] == [200, 200, 200], as_multipart.text
    assert as_multipart.json()["scope"] == "appid_default read"


BAD_BODIES = [
    ("a repeated member", b'{"grant_type": "a", "grant_type": "b"}', "application/json"),
    ("a number", b'{"grant_type": 1}', "application/json"),
    ("a list", b'["grant_type"]', "application/json"),
    ("half of JSON", b'{"grant_type"', "application/json"),
    ("deep JSON", b"[" * 5_000, "application/json"),
    ("too many members", b"{" + b",".join(b'"%d":"x"' % n for n in range(101)) + b"}", "application/json"),
    ("text", b"grant_type=client_credentials", "text/plain"),
    ("no media type", b"grant_type=client_credentials", ""),
    ("no boundary", multipart([("grant_type", GRANT)])[0], "multipart/form-data"),
    ("a wrong boundary", multipart([("grant_type", GRANT)])[0], "multipart/form-data; boundary=c"),
    ("a boundary of 300", b"x", "multipart/form-data; boundary=" + "b" * 300),
    ("a repeated field", multipart([("scope", "a"), ("scope", "b")])[0], "multipart/form-data; boundary=b"),
    ("a file", multipart([("grant_type", GRANT)], '; filename="x"')[0], "multipart/form-data; boundary=b"),
    (
        "a transfer encoding",
        multipart([("grant_type", GRANT)], "\r\nContent-Transfer-Encoding: base64")[0],
        "multipart/form-data; boundary=b",
    ),
    (
        "a part in a part",
        multipart([("grant_type", GRANT)], "\r\nContent-Type: multipart/mixed; boundary=c")[0],
        "multipart/form-data; boundary=b",
    ),
    ("too many fields", multipart([(str(n), "x") for n in range(101)])[0], "multipart/form-data; boundary=b"),
    ("an unfinished body", multipart([("grant_type", GRANT)])[0][:-6], "multipart/form-data; boundary=b"),
]


@pytest.mark.parametrize(("body", "media"), [pytest.param(body, media, id=name) for name, body, media in BAD_BODIES])
async def test_broken_bodies_are_refused(w: World, body: bytes, media: str) -> None:
    """Two readers of one body must not see two requests, and no body may cost a trace."""
    headers = {"content-type": media} if media else {}
    refused(await w.post("token", content=body, headers=headers, auth=w.caller), 400, "invalid_request")


async def test_a_compressed_body_is_refused(w: World) -> None:
    """A small body could become a large one."""
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    refused(await w.post("token", content=b"\x1f\x8b", headers=headers, auth=w.caller), 400, "invalid_request")


async def test_an_oversized_body_is_refused(w: World) -> None:
    """A stranger could fill the memory."""
    answer = await w.post("token", content=b"x" * 65_537, headers={"content-type": "application/json"}, auth=w.caller)
    refused(answer, 413, "invalid_request")


async def test_basic_is_not_percent_decoded_here(w: World) -> None:
    """A secret with a percent sign, moved from App ID, would match on one surface's reading and not on the other's."""
    body = {"name": "moved", "client_id": "moved", "secret": "50%2Boff+x on all flights", "grants": []}
    assert (await w.ww.call("POST", "/applications", body)).status_code == 201
    raw = base64.b64encode(b"moved:50%2Boff+x on all flights").decode()
    answer = await w.post("token", data={"grant_type": GRANT}, headers={"authorization": f"Basic {raw}"})
    assert answer.status_code == 200
    decoded = base64.b64encode(b"moved:50+off x on all flights").decode()
    answer = await w.post("token", data={"grant_type": GRANT}, headers={"authorization": f"Basic {decoded}"})
    refused(answer, 401, "invalid_client")


async def test_a_secret_counts_in_the_body_too(w: World) -> None:
    """The Istio adapter can send it there; on the native surface an application's one method stays enforced."""
    form = {"grant_type": GRANT, "client_id": w.caller[0], "client_secret": w.caller[1]}
    assert (await w.post("token", data=form)).status_code == 200
    assert (await w.post("token", json=form)).status_code == 200
    refused(await w.post("token", data=form, auth=w.caller), 400, "invalid_request")
    native = await w.ww.http.post(f"{ISSUER}/token", data=form)
    refused(native, 401, "invalid_client")


@pytest.mark.parametrize("how", ["nothing", "wrong", "unknown", "bearer", "no secret"])
async def test_unknown_and_wrong_are_one_answer(w: World, how: str) -> None:
    """A stranger could find out which applications exist; the SDK maps the 401 to "Unauthorized"."""
    given: dict[str, Any] = {
        "nothing": {},
        "wrong": {"auth": (w.caller[0], "x" * 48)},
        "unknown": {"auth": ("nobody", w.caller[1])},
        "bearer": {"headers": {"authorization": f"Bearer {w.caller[1]}"}},
        "no secret": {"auth": (w.caller[0], "")},
    }[how]
    answer = await w.post("token", json={"grant_type": GRANT}, **given)
    refused(answer, 401, "invalid_client")
    assert answer.json()["error_description"] == "client authentication failed"
    assert ("www-authenticate" in answer.headers) == (how != "nothing")


async def test_the_lifetime_is_the_tenants(w: World) -> None:
    """An operator who shortened the lifetime would go on handing out tokens for an hour."""
    assert (await w.appid.call("PUT", "/config/tokens", {"access": {"expires_in": 300}})).status_code == 200
    answer = (await w.appid.token(w.caller)).json()
    _, claims = parts(answer["access_token"])
    assert (answer["expires_in"], claims["exp"] - claims["iat"]) == (300, 300)


async def test_custom_claims(w: World) -> None:
    """Services that read a claim of theirs would find it missing, or find the issuer's own overwritten."""
    claims = [
        {"source": "attributes", "sourceClaim": "team"},
        {"source": "attributes", "sourceClaim": "cost centre", "destinationClaim": "cost_centre"},
        {"source": "attributes", "sourceClaim": "absent"},
        {"source": "roles"},
    ]
    assert (await w.appid.call("PUT", "/config/tokens", {"accessTokenClaims": claims})).status_code == 200
    labels = {"team": "red", "cost centre": "17"}
    assert (await w.ww.call("PATCH", f"/applications/{w.caller[0]}", {"labels": labels})).status_code == 200
    _, told = parts(await w.access_token(w.caller))
    assert (told["team"], told["cost_centre"], told["roles"]) == ("red", "17", ["clerk"])
    assert "absent" not in told
    assert (told["sub"], told["scope"]) == (w.caller[0], "appid_default charge read refund")


async def test_introspection_says_active_and_nothing_else(w: World) -> None:
    """App ID answers exactly this; an application of the tenant may ask about any token of this issuer."""
    token = await w.access_token(w.caller)
    for body in ({"data": {"token": token}}, {"json": {"token": token}}):
        answer = await w.post("introspect", auth=w.payments, **body)
        assert (answer.status_code, answer.json()) == (200, {"active": True})
    w.ww.clock.now += 3_600
    assert (await w.post("introspect", auth=w.payments, data={"token": token})).json() == {"active": False}


async def test_introspection_knows_its_own_issuers_tokens_alone(w: World) -> None:
    """The native issuer tells only the audience whether a token is active; this surface must not tell the others."""
    api = await w.ww.api("https://rs1.example/", "a:read", format="opaque")
    native = credentials_of(await w.ww.application("native", api, "a:read"))
    opaque = (await w.ww.token(native)).json()["access_token"]
    jwt = (await w.ww.token(w.ww.admin, resource=ADMIN_API)).json()["access_token"]
    for token in (opaque, jwt, "a.b.c", "x"):
        assert (await w.post("introspect", auth=w.payments, data={"token": token})).json() == {"active": False}


@pytest.mark.parametrize("endpoint", ["introspect", "revoke"])
async def test_questions_need_an_application_and_a_token(w: World, endpoint: str) -> None:
    """A stranger could test stolen tokens, or end other people's."""
    refused(await w.post(endpoint, data={"token": "x"}), 401, "invalid_client")
    refused(await w.post(endpoint, data={"token": "x"}, auth=(w.caller[0], "x")), 401, "invalid_client")
    refused(await w.post(endpoint, data={}, auth=w.caller), 400, "invalid_request")
    refused(await w.post(endpoint, data={"token": "x" * 16_385}, auth=w.caller), 400, "invalid_request")
    refused(await w.post(endpoint, content=b"{", auth=w.caller), 400, "invalid_request")


async def test_a_token_can_be_revoked(w: World) -> None:
    """A leaked token would live out its day, as it does at App ID."""
    token = await w.access_token(w.caller)
    refused(await w.post("revoke", data={"token": token}, auth=w.stranger), 400, "invalid_request")
    assert (await w.post("introspect", auth=w.caller, data={"token": token})).json() == {"active": True}
    for _ in range(2):
        answer = await w.post("revoke", data={"token": token, "token_type_hint": "refresh_token"}, auth=w.caller)
        assert (answer.status_code, answer.content) == (200, b"")
    assert (await w.post("introspect", auth=w.caller, data={"token": token})).json() == {"active": False}
    _, claims = parts(token)
    said = [e for e in await w.appid.events() if e["event"] == "TokenRevoked"]
    assert [(e["token_id"], e["actor"]) for e in said] == [(claims["jti"], w.caller[0])]


async def test_an_issued_token_is_in_the_audit_log_with_its_surface(w: World) -> None:
    """Nobody could tell who still uses the old surface."""
    token = await w.access_token(w.caller, audience=w.payments[0])
    _, claims = parts(token)
    event = next(e for e in await w.appid.events() if e.get("token_id") == claims["jti"])
    assert (event["event"], event["surface"], event["actor"]) == ("TokenIssued", "appid", w.caller[0])
    assert (event["audience"], event["scope"]) == ([w.payments[0]], claims["scope"])


async def test_every_public_key_is_rsa(w: World) -> None:
    """The SDK makes a PEM of `n` and `e` of each: one elliptic key would end every verification."""
    await w.ww.api("https://rs1.example/", "a:read", algorithm="PS256")
    answer = await w.ww.http.get(f"{w.appid.server_url}/publickeys", headers={"x-filter-type": "nodejs"})
    assert answer.status_code == 200
    keys = answer.json()["keys"]
    assert len(keys) == 2  # the one that signs, and the next
    for key in keys:
        assert (key["kty"], key["use"], key["alg"]) == ("RSA", "sig", "RS256")
        assert {"n", "e", "kid"} <= key.keys()
        assert "d" not in key
    again = await w.ww.http.get(f"{w.appid.server_url}/publickeys", headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304


async def test_the_discovery_document(w: World) -> None:
    """The SDK fails without `issuer`; the Istio adapter without any of the five."""
    document = (await w.ww.http.get(f"{w.appid.server_url}/.well-known/openid-configuration")).json()
    url = w.appid.server_url
    assert document["issuer"] == url == parts(await w.access_token(w.caller))[1]["iss"]
    assert document["token_endpoint"] == f"{url}/token"
    assert document["jwks_uri"] == f"{url}/publickeys"
    assert document["authorization_endpoint"] == f"{url}/authorization"
    assert document["userinfo_endpoint"] == f"{url}/userinfo"
    assert document["management_endpoint"] == w.appid.management
    assert document["profiles_endpoint"] == BASE
    assert document["grant_types_supported"] == [GRANT]
    refused(await w.ww.http.get(f"{url}/authorization"), 400, "invalid_request")
    refused(await w.ww.http.get(f"{url}/userinfo"), 403, "insufficient_scope")


@pytest.mark.parametrize(
    "path", ["nobody/token", "nobody/publickeys", "default/nothing", "default/token/", "", "default"]
)
async def test_unknown_tenants_and_paths_are_404(w: World, path: str) -> None:
    """The SDK maps 404 to "Not found"; anything else hides a mistyped tenant id."""
    for method in ("GET", "POST"):
        refused(await w.ww.http.request(method, f"{BASE}/oauth/v4/{path}", auth=w.caller), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "endpoint", "allow"),
    [
        ("GET", "token", "POST"),
        ("GET", "introspect", "POST"),
        ("PUT", "revoke", "POST"),
        ("POST", "publickeys", "GET, HEAD"),
    ],
)
async def test_other_methods_are_405(w: World, method: str, endpoint: str, allow: str) -> None:
    """A secret in a GET's query would be in every log on the way."""
    answer = await w.ww.http.request(method, f"{w.appid.server_url}/{endpoint}", auth=w.caller)
    refused(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == allow


async def test_tenants_do_not_share_this_surface(w: World) -> None:
    """One customer's credentials or tokens would count at another."""
    acme = (await w.ww.call("POST", "/tenants", {"slug": "acme", "name": "Acme"})).json()
    theirs, other = (acme["client_id"], acme["client_secret"]), AppId(w.ww, "acme")
    token = (await other.token(theirs)).json()["access_token"]
    header, claims = parts(token)
    assert (claims["tenant"], claims["iss"]) == ("acme", f"{BASE}/oauth/v4/acme")
    ours = (await w.ww.http.get(f"{w.appid.server_url}/publickeys")).json()["keys"]
    assert header["kid"] not in [key["kid"] for key in ours]
    refused(await other.token(w.caller), 401, "invalid_client")
    assert (await w.post("introspect", auth=w.caller, data={"token": token})).json() == {"active": False}


async def test_the_native_issuer_serves_the_same_application(w: World) -> None:
    """Moving on to RFC 9068 tokens would need new credentials."""
    answer = await w.ww.token(w.caller, resource=w.payments[0])
    assert answer.status_code == 200
    header, claims = parts(answer.json()["access_token"])
    assert (header["typ"], header["alg"], claims["iss"], claims["aud"]) == ("at+jwt", "ES256", ISSUER, w.payments[0])
