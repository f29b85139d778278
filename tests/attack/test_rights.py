"""Every scope of administration against every operation: what is allowed, and that nobody ends with more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from docs.write_rights import DOCUMENT, document, routes
from tests.support.certificates import authority
from tests.support.instance import ADMIN_API, BASE, Instance, credentials_of, instance

from watchword.jose import Algorithm, PrivateKey
from watchword.server.registry.admin_rights import rights_of
from watchword.server.service.desk import EVERYTHING, apis_of, roles_of
from watchword.server.service.registry.create_tenant import ADMIN_SCOPES

SCOPES = tuple(ADMIN_SCOPES)
KEY, OTHER = (PrivateKey.generate(Algorithm.ES256) for _ in range(2))
ISSUER_TEXT = "https://issuer.example"
SUBJECT = {"claim": "sub", "equals": "robot"}
BUNDLE = "A" * 43
_numbers = count()


def key_set(key: PrivateKey, kid: str) -> dict[str, Any]:
    """A JWK set with one public key."""
    return {"keys": [{**key.public.to_jwk(), "kid": kid, "use": "sig"}]}


class World:
    """One application for each scope, and administrators that hold every scope, one for each way to authenticate."""

    def __init__(self, ww: Instance, admin_api: str) -> None:
        self.ww, self.admin_api = ww, admin_api
        self.everything = [{"api_id": admin_api, "scopes": list(SCOPES)}]
        self.holders: dict[str, dict[str, str]] = {}
        """The Authorization header of an application with this scope and no other."""
        self.ids: dict[str, str] = {}

    async def make(self, path: str, body: Any, *, kept: str = "") -> dict[str, Any]:
        """As the first administrator."""
        answer = await self.ww.call("POST", path, body)
        assert answer.status_code == 201, answer.text
        made = dict(answer.json())
        if kept:
            self.ids[kept] = str(
                next(made[name] for name in ("client_id", "role_id", "issuer_id", "group_id") if made.get(name))
            )
        return made

    async def powerful(self) -> dict[str, tuple[frozenset[str], int]]:
        """Rights and version of everything that has rights, by its id."""
        tenant = await self.ww.services.view.tenant("default")
        assert tenant is not None
        tenant_id = tenant.tenant.tenant_id
        async with self.ww.services.desk.store.snapshot() as look:
            apis, roles = await apis_of(look, tenant_id), await roles_of(look, tenant_id)
            listed = await look.applications.page(tenant_id, None, EVERYTHING)
        admin = apis[self.admin_api]
        found: dict[str, tuple[frozenset[str], int]] = {"api": (admin.scope_names(), admin.version)}
        for one in listed:
            found[one.client_id] = rights_of(one, roles, admin), one.version
        for role in roles.values():
            given = frozenset(s for g in role.access if g.api_id == self.admin_api for s in g.scopes)
            found[role.role_id] = given, role.version
        return {name: held for name, held in found.items() if held[0]}

    async def send(self, scope: str, method: str, path: str, body: Any = None) -> httpx.Response:
        """As the application with this one scope; `{name}` in the path is an id that was kept."""
        url = BASE + path.format(**self.ids, tenant="default")
        return await self.ww.http.request(method, url, json=body, headers=self.holders[scope])


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    """On SQLite."""
    async with instance(tmp_path) as ww:
        yield await made(ww)


async def made(ww: Instance) -> World:
    """The world."""
    apis = (await ww.call("GET", "/apis")).json()["items"]
    w = World(ww, next(one["api_id"] for one in apis if one["identifier"] == ADMIN_API))
    w.ids["admin"] = w.admin_api
    for scope in SCOPES:
        grants = [{"api_id": w.admin_api, "scopes": [scope]}]
        one = await w.make("/applications", {"name": scope, "grants": grants})
        w.holders[scope] = await ww.bearer(credentials_of(one))
    anchor, other = authority("CA", ww.clock.now), authority("other CA", ww.clock.now)
    w.ids["pem"] = other.pem
    assert (await ww.call("POST", "/trust-anchors", {"pem": anchor.pem})).status_code == 201
    issuer = {"issuer": ISSUER_TEXT, "jwks": key_set(KEY, "i")}
    await w.make("/trusted-issuers", issuer, kept="issuer")
    rule = {"issuer_id": w.ids["issuer"], "conditions": [SUBJECT]}
    all_of = {"grants": w.everything}
    await w.make("/applications", {"name": "plain", "serial": "P-1"}, kept="plain")
    v = await w.make("/applications", {"name": "by secret", "serial": "V-1", **all_of}, kept="v")
    await w.make(f"/applications/{v['client_id']}/secrets", {"overlap": 60})
    w.ids["secret"] = (await ww.call("GET", f"/applications/{v['client_id']}")).json()["secrets"][0]["id"]
    keyed = {
        "auth_method": "private_key_jwt",
        "jwks": {"keys": [*key_set(KEY, "1")["keys"], *key_set(OTHER, "2")["keys"]]},
    }
    await w.make("/applications", {"name": "by key", **keyed, **all_of}, kept="vk")
    federated = {"auth_method": "federated_jwt", "identities": [rule]}
    vf = await w.make("/applications", {"name": "by issuer", **federated, **all_of}, kept="vf")
    w.ids["rule"] = (await ww.call("GET", f"/applications/{vf['client_id']}")).json()["identities"][0]["rule_id"]
    named = {"auth_method": "tls_client_auth", "tls_client_auth": {"subject_dn": "CN=robot"}}
    await w.make("/applications", {"name": "by certificate", **named, **all_of}, kept="vt")
    await w.make("/roles", {"name": "everything", "access": w.everything}, kept="role")
    await w.make("/roles", {"name": "nothing"}, kept="small")
    await w.make("/applications", {"name": "by role", "role_ids": [w.ids["role"]]}, kept="vr")
    await w.make("/enrolment-groups", {"name": "devices", "role_ids": [w.ids["small"]]}, kept="group")
    return w


class Attempt(NamedTuple):
    """A request with more rights in it than its sender has; `{name}` stands for an id."""

    method: str
    path: str
    body: Any = None
    status: int = 403


def attempts(w: World) -> Iterator[tuple[str, str, Attempt]]:
    """(method, path of the route, attempt): each way to give or to take rights that somebody thought of."""
    every, role = w.everything, [w.ids["role"]]
    app, group = "/api/v1/applications", "/api/v1/enrolment-groups"
    admin_role = {"name": "r", "access": every}
    for body in (
        {"name": "n", "grants": every}, {"name": "n", "role_ids": role},
        {"name": "n", "grants": every, "client_id": "chosen", "secret": "x" * 40},
        {"name": "n", "grants": [{"api_id": w.admin_api, "scopes": ["applications:write", "apis:read"]}]},
    ):  # fmt: skip
        yield "POST", app, Attempt("POST", app, body)
    yield "POST", app, Attempt("POST", app, {"name": "n", "kind": "device", "role_ids": role}, 400)
    one = f"{app}/{{client_id}}"
    for body in ({"grants": every}, {"role_ids": role}):
        yield "PATCH", one, Attempt("PATCH", f"{app}/{{plain}}", body)
    for victim, body in (
        ("v", {"auth_method": "private_key_jwt", "jwks": key_set(OTHER, "x")}), ("v", {"name": "other"}),
        ("v", {"enabled": False}), ("v", {"grants": []}), ("vk", {"jwks": key_set(OTHER, "x")}),
        ("vf", {"auth_method": "client_secret_basic"}), ("vt", {"tls_client_auth": {"subject_dn": "CN=mine"}}),
        ("vr", {"auth_method": "client_secret_post"}),
    ):  # fmt: skip
        yield "PATCH", one, Attempt("PATCH", f"{app}/{{{victim}}}", body)
    yield "DELETE", one, Attempt("DELETE", f"{app}/{{v}}")
    yield "POST", f"{one}/secrets", Attempt("POST", f"{app}/{{v}}/secrets", {})
    yield "POST", f"{one}/secrets", Attempt("POST", f"{app}/{{vr}}/secrets", {"overlap": 0})
    yield "DELETE", f"{one}/secrets/{{secret_id}}", Attempt("DELETE", f"{app}/{{v}}/secrets/{{secret}}")
    yield "POST", f"{one}/keys", Attempt("POST", f"{app}/{{vk}}/keys", {"jwk": key_set(OTHER, "x")["keys"][0]})
    yield "DELETE", f"{one}/keys/{{kid}}", Attempt("DELETE", f"{app}/{{vk}}/keys/1")
    for verb in ("cut-off", "release"):
        yield "POST", f"{one}/{verb}", Attempt("POST", f"{app}/{{v}}/{verb}")
    yield "POST", f"{one}/quarantine", Attempt("POST", f"{app}/{{v}}/quarantine", {})
    rules = f"{one}/identities"
    rule = {"issuer_id": w.ids["issuer"], "conditions": [{"claim": "sub", "equals": "me"}]}
    yield "POST", rules, Attempt("POST", f"{app}/{{vf}}/identities", rule)
    yield "DELETE", f"{rules}/{{rule_id}}", Attempt("DELETE", f"{app}/{{vf}}/identities/{{rule}}")
    for action in ("rotate", "disable", "quarantine"):
        body = {"action": action, "serials": ["V-1"]}
        body |= {"bundle_key": BUNDLE} if action == "rotate" else {}
        yield "POST", "/api/v1/devices/bulk", Attempt("POST", "/api/v1/devices/bulk", body, 200)
    for given in ({"grants": every}, {"role_ids": role}):
        rows = [{"serial": f"I-{next(_numbers)}", **given}]
        yield (
            "POST",
            "/api/v1/devices/import",
            Attempt("POST", "/api/v1/devices/import", {"rows": rows, "bundle_key": BUNDLE}, 200),
        )
        yield "POST", group, Attempt("POST", group, {"name": f"g{next(_numbers)}", **given}, 400)
        yield "PATCH", f"{group}/{{group_id}}", Attempt("PATCH", f"{group}/{{group}}", given, 400)
    initial = {"name": "i", "policy": {"grants": every}}
    yield "POST", "/api/v1/initial-tokens", Attempt("POST", "/api/v1/initial-tokens", initial, 400)
    yield "POST", "/api/v1/apis", Attempt("POST", "/api/v1/apis", {"identifier": ADMIN_API, "name": "a"}, 409)
    for body in ({"enabled": False}, {"scopes": []}, {"tokens": {"format": "opaque"}}, {"tokens": {"format": "cwt"}}):
        yield "PATCH", "/api/v1/apis/{api_id}", Attempt("PATCH", "/api/v1/apis/{admin}", body, 400)
    yield "DELETE", "/api/v1/apis/{api_id}", Attempt("DELETE", "/api/v1/apis/{admin}", None, 409)
    roles = "/api/v1/roles"
    yield "POST", roles, Attempt("POST", roles, admin_role)
    for named, body in (("small", {"access": every}), ("role", {"name": "other"}), ("role", {"access": []})):
        yield "PATCH", f"{roles}/{{role_id}}", Attempt("PATCH", f"{roles}/{{{named}}}", body)
    yield "DELETE", f"{roles}/{{role_id}}", Attempt("DELETE", f"{roles}/{{role}}")
    issuers = "/api/v1/trusted-issuers"
    for body in ({"jwks": key_set(OTHER, "x")}, {"audiences": ["https://mine.example"]}, {"max_life": 3_000}):
        yield "PATCH", f"{issuers}/{{issuer_id}}", Attempt("PATCH", f"{issuers}/{{issuer}}", body)
    yield "POST", "/api/v1/trust-anchors", Attempt("POST", "/api/v1/trust-anchors", {"pem": w.ids["pem"]})
    yield from _appid_attempts()


def _appid_attempts() -> Iterator[tuple[str, str, Attempt]]:
    root = "/management/v4/{tenant}"
    app, roles = f"{root}/applications", f"{root}/roles"
    access = {"name": "r", "access": [{"application_id": ADMIN_API, "scopes": list(SCOPES)}]}
    yield "PUT", f"{app}/{{client_id}}", Attempt("PUT", f"{app}/{{v}}", {"name": "other"})
    yield "DELETE", f"{app}/{{client_id}}", Attempt("DELETE", f"{app}/{{v}}")
    for victim, ids in (("plain", ["{role}"]), ("vr", [])):
        body = {"roles": {"ids": ids}}
        yield "PUT", f"{app}/{{client_id}}/roles", Attempt("PUT", f"{app}/{{{victim}}}/roles", body)
    yield "POST", roles, Attempt("POST", roles, access)
    yield "PUT", f"{roles}/{{role_id}}", Attempt("PUT", f"{roles}/{{small}}", access)
    yield "PUT", f"{roles}/{{role_id}}", Attempt("PUT", f"{roles}/{{role}}", {"name": "r", "access": []})
    yield "DELETE", f"{roles}/{{role_id}}", Attempt("DELETE", f"{roles}/{{role}}")


GIVES_NOTHING = {
    ("DELETE", "/api/v1/initial-tokens/{token_id}"): "ends a token",
    ("DELETE", "/api/v1/enrolment-groups/{group_id}"): "a group never administers",
    ("POST", "/api/v1/enrolment-groups/{group_id}/codes"): "a group never administers",
    ("DELETE", "/api/v1/enrolment-groups/{group_id}/codes"): "ends codes",
    ("POST", "/api/v1/enrolment-groups/{group_id}/expected"): "a group never administers",
    ("DELETE", "/api/v1/enrolment-groups/{group_id}/expected"): "ends a list",
    ("DELETE", "/api/v1/enrolment-groups/{group_id}/expected/{entry}"): "ends an entry",
    ("POST", "/api/v1/enrolments/{pending_id}/approve"): "a group never administers",
    ("POST", "/api/v1/enrolments/{pending_id}/deny"): "turns a device away",
    ("POST", "/api/v1/trusted-issuers"): "no rule trusts a new issuer",
    ("DELETE", "/api/v1/trusted-issuers/{issuer_id}"): "ends trust",
    ("DELETE", "/api/v1/trust-anchors/{thumbprint}"): "ends trust",
    ("POST", "/api/v1/keys/rotate"): "the private key stays in the server",
    ("DELETE", "/api/v1/keys/{kid}"): "ends tokens",
    ("POST", "/api/v1/device-authorities"): "the private key stays in the server",
    ("DELETE", "/api/v1/device-authorities/{authority_id}"): "ends trust",
    ("POST", "/api/v1/tenants"): "the administrator of a new tenant has no rights here",
    ("PATCH", "/api/v1/tenants/{slug}"): "a tenant's settings have no rights",
    ("DELETE", "/api/v1/tenants/{slug}"): "ends a tenant",
    ("POST", "/management/v4/{tenant}/applications"): "a new application without grants",
    ("PUT", "/management/v4/{tenant}/applications/{client_id}/scopes"): "an API that is not the administration API",
    ("PUT", "/management/v4/{tenant}/config/tokens"): "claims that are not read back",
}
"""The operations that change something and that no attempt is for, with the reason."""


async def test_each_scope_opens_its_own_operations(w: World) -> None:
    """A scope would open more than its name says; or an operation be closed to everybody."""
    wrong = []
    nothing = dict.fromkeys(
        ("client_id", "secret_id", "kid", "rule_id", "api_id", "role_id", "issuer_id", "thumbprint", "token_id",
         "group_id", "entry", "pending_id", "authority_id", "slug"), "no-such-thing",
    )  # fmt: skip
    for route in routes():
        path = BASE + route.path.format(**nothing, tenant="default")
        for scope in SCOPES:
            answer = await w.ww.http.request(route.method, path, headers=w.holders[scope])
            closed = answer.status_code == 403 and "insufficient_scope" in answer.headers["www-authenticate"]
            if closed == (route.scope == scope) or answer.status_code in (401, 500):
                wrong.append(f"{scope}: {route.method} {route.path} {answer.status_code}")
    assert wrong == []


async def test_nobody_gives_or_takes_what_he_does_not_hold(w: World) -> None:
    """`applications:write` alone would be every scope, by one of many ways (issue 13, B2)."""
    scopes = {(route.method, route.path): route.scope for route in routes()}
    before, wrong = await w.powerful(), []
    for method, path, attempt in attempts(w):
        scope = scopes[method, path]
        body = attempt.body
        if body == {"roles": {"ids": ["{role}"]}}:
            body = {"roles": {"ids": [w.ids["role"]]}}
        answer = await w.send(scope, attempt.method, attempt.path, body)
        outcomes = {row["outcome"] for row in answer.json().get("rows", ())} if attempt.status == 200 else set()
        if answer.status_code != attempt.status or outcomes - {"refused"}:
            wrong.append(f"{attempt.method} {attempt.path} {body}: {answer.status_code} {answer.text[:200]}")
        if (now := await w.powerful()) != before:
            wrong.append(f"{attempt.method} {attempt.path} {body} changed who holds what")
            before = now
    assert wrong == []


async def test_every_operation_that_changes_something_is_attempted(w: World) -> None:
    """A new operation would be a new way around, and nobody have looked."""
    changing = {(route.method, route.path) for route in routes() if route.scope.endswith(":write")}
    attempted = {(method, path) for method, path, _ in attempts(w)}
    assert attempted.isdisjoint(GIVES_NOTHING)
    assert changing == attempted | GIVES_NOTHING.keys()
    assert {route.scope for route in routes() if route.method in ("GET", "HEAD")}.isdisjoint(
        {scope for scope in SCOPES if scope.endswith(":write")}
    )


async def test_a_narrow_token_of_an_administrator_is_narrow(w: World) -> None:
    """A script's token for applications alone would take a new secret of its owner, and be the owner."""
    asked = await w.ww.token(w.ww.admin, resource=ADMIN_API, scope="applications:write")
    w.holders["narrow"] = {"authorization": f"Bearer {asked.json()['access_token']}"}
    for path in (f"/api/v1/applications/{w.ww.admin[0]}/secrets", "/api/v1/applications/{v}/secrets"):
        assert (await w.send("narrow", "POST", path, {})).status_code == 403
    body = {"name": "n", "grants": [{"api_id": w.admin_api, "scopes": ["applications:write"]}]}
    assert (await w.send("narrow", "POST", "/api/v1/applications", body)).status_code == 201


async def test_what_one_holds_can_be_given(w: World) -> None:
    """Nobody could delegate at all, and everything be done by the one who holds everything."""
    given = [{"api_id": w.admin_api, "scopes": ["applications:write"]}]
    answer = await w.send("applications:write", "POST", "/api/v1/applications", {"name": "deputy", "grants": given})
    assert answer.status_code == 201, answer.text
    path = f"/api/v1/applications/{answer.json()['client_id']}"
    assert (await w.send("applications:write", "POST", f"{path}/secrets", {})).status_code == 201
    assert (await w.send("applications:write", "DELETE", path)).status_code == 204
    assert (await w.ww.call("POST", f"/applications/{w.ids['v']}/secrets", {})).status_code == 201
    assert (await w.ww.call("PATCH", f"/trusted-issuers/{w.ids['issuer']}", {"max_life": 3_000})).status_code == 200


async def test_a_demoted_administrator_is_demoted_at_once(w: World) -> None:
    """A dismissed administrator would have an hour to come back (issue 13, B5)."""
    own = await w.ww.call("GET", f"/applications/{w.ids['vr']}")
    secret = (await w.ww.call("POST", f"/applications/{w.ids['vr']}/secrets", {})).json()["client_secret"]
    w.holders["vr"] = await w.ww.bearer((own.json()["client_id"], secret))
    assert (await w.send("vr", "GET", "/api/v1/tenants")).status_code == 200
    narrowed = {"access": [{"api_id": w.admin_api, "scopes": ["apis:read"]}]}
    assert (await w.ww.call("PATCH", f"/roles/{w.ids['role']}", narrowed)).status_code == 200
    assert (await w.send("vr", "GET", "/api/v1/tenants")).status_code == 403
    assert (await w.send("vr", "GET", "/api/v1/apis")).status_code == 200
    assert (await w.ww.call("PATCH", f"/applications/{w.ids['vr']}", {"role_ids": []})).status_code == 200
    assert (await w.send("vr", "GET", "/api/v1/apis")).status_code == 401


async def test_a_role_that_is_widened_later_makes_no_device_an_administrator(w: World) -> None:
    """A million devices would hold the server, by one change of a role (issue 13, B3)."""
    widened = await w.ww.call("PATCH", f"/roles/{w.ids['small']}", {"access": w.everything})
    assert (widened.status_code, widened.json()["field"]) == (400, "access"), widened.text
    role = await w.make("/roles", {"name": "later"})
    device = await w.make("/applications", {"name": "d", "kind": "device", "role_ids": [role["role_id"]]})
    widened = await w.ww.call("PATCH", f"/roles/{role['role_id']}", {"access": w.everything})
    assert widened.status_code == 200, widened.text
    refused = await w.ww.token(credentials_of(device), resource=ADMIN_API)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_target")
    changed = await w.ww.call("PATCH", f"/applications/{device['client_id']}", {"enabled": False})
    assert changed.status_code == 200, changed.text


def test_the_document_shows_the_table() -> None:
    """docs/rights.md would show rights that nobody has any more."""
    assert DOCUMENT.read_text() == document(), "run: .venv/bin/python docs/write_rights.py"
