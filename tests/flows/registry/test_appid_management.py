"""`/management/v4/{tenant}`: the calls of App ID's management API, as its generated clients and scripts make them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.appid import AppId, Credentials, parts
from tests.support.instance import ADMIN_API, BASE, Instance, credentials_of, instance

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture
async def ww(tmp_path: Path) -> AsyncIterator[Instance]:
    async with instance(tmp_path) as running:
        yield running


@pytest.fixture
async def appid(ww: Instance) -> AppId:
    return AppId(ww)


def refused(answer: Any, status: int, error: str) -> str:
    """IBM's core library shows `error` or `message`; both are there. The reason."""
    told = answer.json()
    assert (answer.status_code, told["error"]) == (status, error), answer.text
    assert told["error_description"] == told["message"] != ""
    assert answer.headers["cache-control"] == "no-store"
    return str(told["message"])


CALLS = [
    ("GET", "/applications"), ("POST", "/applications"), ("GET", "/applications/x"), ("PUT", "/applications/x"),
    ("DELETE", "/applications/x"), ("GET", "/applications/x/scopes"), ("PUT", "/applications/x/scopes"),
    ("GET", "/applications/x/roles"), ("PUT", "/applications/x/roles"), ("GET", "/roles"), ("POST", "/roles"),
    ("GET", "/roles/x"), ("PUT", "/roles/x"), ("DELETE", "/roles/x"), ("GET", "/config/tokens"),
    ("PUT", "/config/tokens"),
]  # fmt: skip


@pytest.mark.parametrize("how", ["none", "garbage", "expired", "another audience", "basic"])
async def test_no_call_answers_without_a_good_token(appid: AppId, how: str) -> None:
    """Somebody without a credential could read or change the registry through the second door."""
    header = await appid.ww.bearer()
    if how == "none":
        header = {}
    elif how == "garbage":
        header = {"authorization": "Bearer a.b.c"}
    elif how == "expired":
        appid.ww.clock.now += 3_601
    elif how == "basic":
        header = {"authorization": "Basic eDp4"}
    else:
        api = await appid.ww.api("https://rs1.example/", "a:read")
        caller = credentials_of(await appid.ww.application("caller", api, "a:read"))
        header = {"authorization": f"Bearer {(await appid.ww.token(caller)).json()['access_token']}"}
    for method, path in CALLS:
        answer = await appid.ww.http.request(method, appid.management + path, headers=header)
        refused(answer, 401, "invalid_token")
        assert answer.headers["www-authenticate"].startswith("Bearer ")


async def test_each_call_needs_its_scope(appid: AppId) -> None:
    """A reader's token could write."""
    apis = (await appid.ww.call("GET", "/apis")).json()["items"]
    reader = await appid.ww.application("reader", apis[0], "applications:read", "apis:read")
    header = await appid.ww.bearer(credentials_of(reader))
    for method, path in CALLS:
        answer = await appid.ww.http.request(method, appid.management + path, headers=header)
        if method == "GET":
            assert answer.status_code in (200, 404), (method, path)
        else:
            refused(answer, 403, "insufficient_scope")
            assert re.search(r'scope="(applications|apis):write"', answer.headers["www-authenticate"])


async def test_a_token_administers_its_own_tenant_alone(appid: AppId) -> None:
    """One customer's administrator could manage another's applications by changing the path."""
    acme = (await appid.ww.call("POST", "/tenants", {"slug": "acme", "name": "Acme"})).json()
    theirs = await appid.ww.bearer((acme["client_id"], acme["client_secret"]), acme["issuer"])
    for method, path in CALLS:
        answer = await appid.ww.http.request(method, appid.management + path, headers=theirs)
        refused(answer, 403, "insufficient_scope")
    ours = await appid.ww.http.get(f"{BASE}/management/v4/acme/applications", headers=theirs)
    assert [a["clientId"] for a in ours.json()["applications"]] == [acme["client_id"]]
    refused(await AppId(appid.ww, "acme").call("GET", "/applications"), 403, "insufficient_scope")


async def test_unknown_tenants_paths_and_methods(appid: AppId) -> None:
    """Terraform takes 404 for "gone"; a tenant that does not exist must not look like one that refuses."""
    for method, path in CALLS:
        answer = await appid.ww.http.request(method, f"{BASE}/management/v4/nobody{path}")
        refused(answer, 404, "not_found")
    refused(await appid.call("GET", "/users"), 404, "not_found")
    refused(await appid.call("GET", ""), 404, "not_found")
    answer = await appid.call("PATCH", "/applications/x")
    refused(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, PUT, DELETE"
    for method, path in CALLS:
        bodies: dict[str, Any] = {
            "/applications/x": {"name": "n"}, "/applications/x/scopes": {"scopes": []},
            "/applications/x/roles": {"roles": {"ids": []}}, "/roles/x": {"name": "n", "access": []},
        }  # fmt: skip
        if "/x" in path:
            refused(await appid.call(method, path, bodies[path] if method == "PUT" else None), 404, "not_found")


async def test_an_application_from_birth_to_death(appid: AppId) -> None:
    """IBM's clients decode exactly these shapes and statuses."""
    answer = await appid.call("POST", "/applications/", {"name": "Reservations", "type": "regularwebapp"})
    assert answer.status_code == 200
    made = answer.json()
    secret = made.pop("secret")
    server = f"{BASE}/oauth/v4/default"
    assert UUID.fullmatch(made["clientId"])
    assert made == {
        "clientId": made["clientId"], "tenantId": "default", "name": "Reservations", "oAuthServerUrl": server,
        "profilesUrl": BASE, "discoveryEndpoint": f"{server}/.well-known/openid-configuration", "type": "regularwebapp",
    }  # fmt: skip
    assert not set(secret) & set(":+/% ")
    assert (await appid.token((made["clientId"], secret))).status_code == 200

    path = f"/applications/{made['clientId']}"
    shown = await appid.call("GET", path)
    assert (shown.status_code, shown.json()) == (200, made)
    listed = (await appid.call("GET", "/applications")).json()["applications"]
    assert made in listed and len(listed) == 2

    renamed = await appid.call("PUT", path, {"name": "Bookings"})
    assert (renamed.status_code, renamed.json()) == (201, {**made, "name": "Bookings"})
    gone = await appid.call("DELETE", path)
    assert (gone.status_code, gone.content) == (204, b"")
    refused(await appid.call("GET", path), 404, "not_found")
    assert (await appid.token((made["clientId"], secret))).status_code == 401


async def test_a_secret_is_told_once(appid: AppId) -> None:
    """App ID shows secrets for ever, to whoever may read; here a reader must never become the application."""
    client_id, secret = await appid.application("caller", "read")
    for path in ("/applications", f"/applications/{client_id}"):
        text = (await appid.call("GET", path)).text
        assert secret not in text and "secret" not in text and "hmac" not in text
    assert "secret" not in (await appid.call("PUT", f"/applications/{client_id}", {"name": "x"})).text


async def test_scopes_are_replaced(appid: AppId) -> None:
    """A scope that is no longer offered would stay in roles and in tokens."""
    payments = await appid.application("payments")
    path = f"/applications/{payments[0]}/scopes"
    assert (await appid.call("GET", path)).json() == {"scopes": []}
    put = await appid.call("PUT", path, {"scopes": ["charge", "refund"]})
    assert (put.status_code, put.json()) == (200, {"scopes": ["charge", "refund"]})
    caller = await appid.application("caller")
    role_id = await appid.role("clerk", {payments[0]: ["charge", "refund"]}, caller)
    assert (await appid.call("PUT", path, {"scopes": ["charge", "audit.read_1"]})).status_code == 200
    assert (await appid.call("GET", path)).json() == {"scopes": ["charge", "audit.read_1"]}
    role = (await appid.call("GET", f"/roles/{role_id}")).json()
    assert role["access"] == [{"application_id": payments[0], "scopes": ["charge"]}]
    assert (await appid.token(caller)).json()["scope"] == "appid_default charge"
    assert (await appid.call("PUT", path, {"scopes": []})).json() == {"scopes": []}
    assert (await appid.token(caller)).json()["scope"] == "appid_default"


@pytest.mark.parametrize(
    "scope", ["Read", "a b", "a:b", "a-b", "x" * 50, "", "appid_x", "openid", "openid.x", "ä", "read\n"]
)
async def test_scope_names_that_app_id_does_not_have(appid: AppId, scope: str) -> None:
    """A scope could look like one of the issuer's own, or like two."""
    payments = await appid.application("payments", "charge")
    reason = refused(
        await appid.call("PUT", f"/applications/{payments[0]}/scopes", {"scopes": [scope]}), 400, "invalid_request"
    )
    assert reason.startswith("scopes: ")
    assert (await appid.call("GET", f"/applications/{payments[0]}/scopes")).json() == {"scopes": ["charge"]}


async def test_a_scope_is_offered_once_and_by_a_client_id(appid: AppId) -> None:
    """A doubled scope, or an application that becomes an API of the native issuer by its name."""
    payments = await appid.application("payments")
    answer = await appid.call("PUT", f"/applications/{payments[0]}/scopes", {"scopes": ["read", "read"]})
    refused(answer, 400, "invalid_request")
    body = {"name": "imported", "client_id": ADMIN_API, "secret": "s" * 16}
    assert (await appid.ww.call("POST", "/applications", body)).status_code == 201
    refused(await appid.call("PUT", f"/applications/{ADMIN_API}/scopes", {"scopes": ["read"]}), 400, "invalid_request")


async def test_a_role_from_birth_to_death(appid: AppId) -> None:
    """IBM's clients expect 201 and 202 here, and a role that is gone must give nothing."""
    payments, caller = await appid.application("payments", "charge", "refund"), await appid.application("caller")
    access = [{"application_id": payments[0], "scopes": ["charge"]}]
    made = await appid.call("POST", "/roles", {"name": "clerk", "description": "At the desk", "access": access})
    role = made.json()
    assert made.status_code == 201
    assert UUID.fullmatch(role["id"])
    assert role == {"id": role["id"], "name": "clerk", "description": "At the desk", "access": access}
    path = f"/roles/{role['id']}"
    shown = await appid.call("GET", path)
    assert (shown.status_code, shown.json()) == (200, role)
    assert (await appid.call("GET", "/roles")).json() == {"roles": [role]}

    holders = f"/applications/{caller[0]}/roles"
    assert (await appid.call("GET", holders)).json() == {"roles": []}
    given = await appid.call("PUT", holders, {"roles": {"ids": [role["id"]]}})
    assert (given.status_code, given.json()) == (200, {"roles": [{"id": role["id"], "name": "clerk"}]})
    assert (await appid.call("GET", holders)).json() == given.json()

    access[0]["scopes"] = ["refund"]
    put = await appid.call("PUT", path, {"name": "cashier", "access": access})
    assert (put.status_code, put.json()) == (
        200,
        {"id": role["id"], "name": "cashier", "description": "", "access": access},
    )
    assert (await appid.token(caller)).json()["scope"] == "appid_default refund"

    gone = await appid.call("DELETE", path)
    assert (gone.status_code, gone.content) == (202, b"")
    refused(await appid.call("GET", path), 404, "not_found")
    assert (await appid.call("GET", holders)).json() == {"roles": []}
    assert (await appid.token(caller)).json()["scope"] == "appid_default"


async def test_deleting_an_application_takes_its_scopes_along(appid: AppId) -> None:
    """Roles would go on naming an application that is gone, and an heir of its id would inherit."""
    payments, caller = await appid.application("payments", "charge"), await appid.application("caller")
    role_id = await appid.role("clerk", {payments[0]: ["charge"]}, caller)
    assert (await appid.call("DELETE", f"/applications/{payments[0]}")).status_code == 204
    assert (await appid.call("GET", f"/roles/{role_id}")).json()["access"] == []
    assert payments[0] not in (await appid.ww.call("GET", "/apis")).text
    assert (await appid.token(caller, audience=payments[0])).json()["error"] == "invalid_target"
    refused(await appid.call("PUT", f"/applications/{payments[0]}/scopes", {"scopes": ["x"]}), 404, "not_found")


async def test_an_application_can_change_after_what_it_held_was_deleted(appid: AppId) -> None:
    """A deleted role, API or scope would block every later change of its holders, disabling included."""
    payments, caller = await appid.application("payments", "charge"), await appid.application("caller")
    role_id = await appid.role("clerk", {payments[0]: ["charge"]}, caller)
    api = await appid.ww.api("https://rs1.example/", "a:read", "a:write")
    other = await appid.ww.api("https://rs2.example/", "b:read")
    grants = [
        {"api_id": api["api_id"], "scopes": ["a:read", "a:write"]},
        {"api_id": other["api_id"], "scopes": ["b:read"]},
    ]
    changed = await appid.ww.call(
        "PATCH", f"/applications/{caller[0]}", {"grants": grants, "default_api_id": other["api_id"]}
    )
    assert changed.status_code == 200
    assert (await appid.call("DELETE", f"/roles/{role_id}")).status_code == 202
    assert (await appid.ww.call("DELETE", f"/apis/{other['api_id']}")).status_code == 204
    assert (await appid.ww.call("PATCH", f"/apis/{api['api_id']}", {"scopes": [{"name": "a:read"}]})).status_code == 200
    disabled = await appid.ww.call("PATCH", f"/applications/{caller[0]}", {"enabled": False})
    assert disabled.status_code == 200, disabled.text
    told = disabled.json()
    assert (told["enabled"], told["role_ids"], told["default_api_id"]) == (False, [], None)
    assert told["grants"] == [{"api_id": api["api_id"], "scopes": ["a:read"]}]


async def test_a_native_api_in_a_role_is_shown_and_kept(appid: AppId) -> None:
    """A PUT of what GET showed would take away, unseen, what the role gives at the native issuer."""
    api = await appid.ww.api("https://rs1.example/", "a:read")
    role = {"name": "reader", "access": [{"api_id": api["api_id"], "scopes": ["a:read"]}]}
    role_id = (await appid.ww.call("POST", "/roles", role)).json()["role_id"]
    shown = (await appid.call("GET", f"/roles/{role_id}")).json()
    assert shown["access"] == [{"application_id": "https://rs1.example/", "scopes": ["a:read"]}]
    assert (
        await appid.call("PUT", f"/roles/{role_id}", {"name": "reader", "access": shown["access"]})
    ).status_code == 200
    kept = (await appid.ww.call("GET", f"/roles/{role_id}")).json()["access"]
    assert kept == role["access"]


async def test_the_configuration_of_tokens(appid: AppId) -> None:
    """Terraform reads back what it wrote; a PUT without a part sets that part to its default."""
    default = (await appid.call("GET", "/config/tokens")).json()
    off = {"enabled": False, "expires_in": 2_592_000}
    assert default == {
        "access": {"expires_in": 3_600}, "refresh": off, "anonymousAccess": off, "accessTokenClaims": [], "idTokenClaims": [],
    }  # fmt: skip
    claims = [{"source": "attributes", "sourceClaim": "team", "destinationClaim": "squad"}, {"source": "roles"}]
    wanted = {**default, "access": {"expires_in": 86_400}, "accessTokenClaims": claims}
    put = await appid.call("PUT", "/config/tokens", wanted)
    assert (put.status_code, put.json()) == (200, wanted)
    assert (await appid.call("GET", "/config/tokens")).json() == wanted
    assert (await appid.call("PUT", "/config/tokens", {"refresh": {"expires_in": 86_400}})).json() == default


CONFIGURATIONS: list[tuple[Any, str]] = [
    ({"access": {"expires_in": 299}}, "300 to 86400"),
    ({"access": {"expires_in": 86_401}}, "300 to 86400"),
    ({"access": {"expires_in": "3600"}}, "int"),
    ({"refresh": {"enabled": True, "expires_in": 86_400}}, "refresh token"),
    ({"anonymousAccess": {"enabled": True}}, "anonymous"),
    ({"idTokenClaims": [{"source": "saml"}]}, "id token"),
    *[
        ({"accessTokenClaims": [{"source": source, "sourceClaim": "x"}]}, "user tokens")
        for source in ("saml", "cloud_directory", "facebook", "google", "appid_custom", "ibmid", "x")
    ],
    ({"accessTokenClaims": [{"source": "attributes"}]}, "characters"),
    ({"accessTokenClaims": [{"source": "roles", "sourceClaim": "id"}]}, "sourceClaim"),
    *[
        ({"accessTokenClaims": [{"source": "attributes", "sourceClaim": "x", "destinationClaim": name}]}, "own")
        for name in ("iss", "aud", "sub", "iat", "exp", "amr", "tenant", "scope", "jti", "nbf", "client_id", "cnf")
    ],
    ({"accessTokenClaims": [{"source": "attributes", "sourceClaim": "sub"}]}, "own"),
    ({"accessTokenClaims": [{"source": "roles"}, {"source": "attributes", "sourceClaim": "roles"}]}, "twice"),
    ({"accessTokenClaims": [{"source": "attributes", "sourceClaim": str(n)} for n in range(101)]}, "100"),
    ({"accessTokenClaim": []}, "accessTokenClaim"),
    ([], "object"),
]


@pytest.mark.parametrize(("body", "reason"), CONFIGURATIONS, ids=lambda v: str(v)[:70])
async def test_a_configuration_that_cannot_hold_is_refused(appid: AppId, body: Any, reason: str) -> None:
    """Switched on without effect it would be a promise that nobody keeps."""
    before = (await appid.call("GET", "/config/tokens")).json()
    assert reason in refused(await appid.call("PUT", "/config/tokens", body), 400, "invalid_request")
    assert (await appid.call("GET", "/config/tokens")).json() == before


BODIES: list[tuple[str, str, Any, int]] = [
    ("POST", "/applications", {}, 400),
    ("POST", "/applications", {"name": ""}, 400),
    ("POST", "/applications", {"name": "x" * 51}, 400),
    ("POST", "/applications", {"name": "\u202ex"}, 400),
    ("POST", "/applications", {"name": "x", "type": "singlepageapp"}, 400),
    ("POST", "/applications", {"name": "x", "type": "other"}, 400),
    ("POST", "/applications", {"name": "x", "secret": "mine"}, 400),
    ("PUT", "/applications/{}", {"name": "x" * 51}, 400),
    ("PUT", "/applications/{}", {"name": 1}, 400),
    ("PUT", "/applications/{}/scopes", {"scopes": "read"}, 400),
    ("PUT", "/applications/{}/scopes", {}, 400),
    ("PUT", "/applications/{}/roles", {"roles": ["x"]}, 400),
    ("PUT", "/applications/{}/roles", {"roles": {"ids": ["nobody"]}}, 400),
    ("POST", "/roles", {"name": "x"}, 400),
    ("POST", "/roles", {"name": "x", "access": [{"application_id": "nobody", "scopes": ["a"]}]}, 400),
    ("POST", "/roles", {"name": "x", "access": [{"application_id": "{}", "scopes": ["unknown"]}]}, 400),
    ("POST", "/roles", {"name": "", "access": []}, 400),
    ("POST", "/roles", {"name": "taken", "access": []}, 409),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), BODIES, ids=lambda v: str(v)[:60])
async def test_bad_bodies_get_a_reason_and_change_nothing(
    appid: AppId, method: str, path: str, body: Any, status: int
) -> None:
    """Half-done changes, or a script that believes it has done what it has not."""
    client_id, _ = await appid.application("payments", "charge")
    assert (await appid.call("POST", "/roles", {"name": "taken", "access": []})).status_code == 201
    for entry in body.get("access", []):
        entry["application_id"] = entry["application_id"].replace("{}", client_id)
    before = await appid.ww.services.storage.reader.newest_change()
    answer = await appid.call(method, path.replace("{}", client_id), body)
    refused(answer, status, "invalid_request" if status == 400 else "conflict")
    assert await appid.ww.services.storage.reader.newest_change() == before


async def test_what_is_no_json_is_refused(appid: AppId) -> None:
    """A trace on the wire, or a form read as something else."""
    headers = {**await appid.ww.bearer(), "content-type": "application/json"}
    url = f"{appid.management}/applications"
    for text in ("{", '{"name": "a", "name": "b"}', "[" * 5_000):
        refused(await appid.ww.http.post(url, content=text, headers=headers), 400, "invalid_request")
    headers["content-type"] = "text/plain"
    refused(await appid.ww.http.post(url, content='{"name": "a"}', headers=headers), 415, "unsupported_media_type")
    refused(await appid.call("GET", "/applications?limit=1"), 400, "invalid_request")


async def test_an_administrator_cannot_disarm_itself_here_either(appid: AppId) -> None:
    """The last administrator could lock everybody out through the second door."""
    refused(await appid.call("DELETE", f"/applications/{appid.ww.admin[0]}"), 409, "conflict")
    role = await appid.role("none", {})
    path = f"/applications/{appid.ww.admin[0]}/roles"
    refused(await appid.call("PUT", path, {"roles": {"ids": [role]}}), 409, "conflict")


async def test_every_change_is_in_the_audit_log(appid: AppId) -> None:
    """A change through this door would leave no trace of who made it."""
    payments: Credentials = await appid.application("payments", "charge")
    role_id = await appid.role("clerk", {payments[0]: ["charge"]}, payments)
    await appid.call("PUT", f"/applications/{payments[0]}", {"name": "x"}, headers={"x-request-id": "rename-1"})
    await appid.call("PUT", f"/applications/{payments[0]}/scopes", {"scopes": []})
    await appid.call("PUT", "/config/tokens", {"access": {"expires_in": 600}})
    await appid.call("DELETE", f"/roles/{role_id}")
    await appid.call("DELETE", f"/applications/{payments[0]}")
    said = [event for event in reversed(await appid.events()) if event["event"] != "TokenIssued"]
    done = [event for event in said if event.get("actor") == appid.ww.admin[0]]
    assert [event["event"] for event in done] == [
        "ApplicationCreated", "SecretCreated", "ApiCreated", "RoleCreated", "ApplicationUpdated", "ApplicationUpdated",
        "RoleUpdated", "ApiUpdated", "TenantUpdated", "RoleDeleted", "ApplicationDeleted", "ApiDeleted",
    ]  # fmt: skip
    assert done[5]["request_id"] == "rename-1"
    assert done[8]["fields"] == ["appid_lifetime"]


async def test_a_change_counts_at_once(appid: AppId) -> None:
    """A role that was taken away would go on giving tokens."""
    payments, caller = await appid.application("payments", "charge"), await appid.application("caller")
    await appid.role("clerk", {payments[0]: ["charge"]}, caller)
    assert parts((await appid.token(caller)).json()["access_token"])[1]["scope"] == "appid_default charge"
    assert (await appid.call("PUT", f"/applications/{caller[0]}/roles", {"roles": {"ids": []}})).status_code == 200
    assert parts((await appid.token(caller)).json()["access_token"])[1]["scope"] == "appid_default"
