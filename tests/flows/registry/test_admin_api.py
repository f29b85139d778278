"""The admin API through HTTP: who may, what is refused, what is never shown."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.instance import BASE, ISSUER, Instance, credentials_of, instance


@pytest.fixture
async def ww(tmp_path: Path) -> AsyncIterator[Instance]:
    """A running instance."""
    async with instance(tmp_path) as running:
        yield running


async def routes(ww: Instance) -> list[tuple[str, str]]:
    """Every operation that the OpenAPI file names."""
    document = (await ww.http.get(f"{BASE}/api/v1/openapi.json")).json()
    return [
        (method.upper(), re.sub(r"{\w+}", "x", path)) for path, item in document["paths"].items() for method in item
    ]


@pytest.mark.parametrize(
    "how",
    [pytest.param(how, id=f"ADM-001 {how}") for how in ("none", "garbage", "expired", "revoked", "wrong audience")],
)
async def test_no_route_answers_without_a_good_token(ww: Instance, how: str) -> None:
    """Somebody without a credential could read or change the registry."""
    api = await ww.api("https://rs1.example/", "a:read")
    app = await ww.application("caller", api, "a:read")
    header = await ww.bearer()
    if how == "none":
        header = {}
    elif how == "garbage":
        header = {"authorization": "Bearer a.b.c"}
    elif how == "expired":
        ww.clock.now += 3_601
    elif how == "revoked":
        token = header["authorization"][7:]
        assert (await ww.http.post(f"{ISSUER}/revoke", data={"token": token}, auth=ww.admin)).status_code == 200
    else:
        token = (await ww.token(credentials_of(app))).json()["access_token"]
        header = {"authorization": f"Bearer {token}"}
    listed = await routes(ww)
    assert len(listed) > 20
    for method, path in listed:
        answer = await ww.http.request(method, BASE + path, headers=header)
        assert answer.status_code == 401, (method, path)
        assert answer.headers["www-authenticate"].startswith("Bearer ")
        assert answer.headers["content-type"] == "application/problem+json"


async def test_each_route_needs_its_own_scope(ww: Instance) -> None:
    """A reader's token could write."""
    apis = (await ww.call("GET", "/apis")).json()["items"]
    reader = await ww.application("reader", apis[0], "applications:read")
    header = await ww.bearer(credentials_of(reader))
    assert (await ww.http.get(f"{BASE}/api/v1/applications", headers=header)).status_code == 200
    refused = await ww.http.post(f"{BASE}/api/v1/applications", headers=header, json={"name": "x"})
    assert refused.status_code == 403
    assert 'scope="applications:write"' in refused.headers["www-authenticate"]


@pytest.mark.parametrize("damage", ["flip", "foreign list", "sql", "empty"], ids=lambda d: f"ADM-006 {d}")
async def test_a_forged_cursor_is_refused(ww: Instance, damage: str) -> None:
    """A forged cursor could reach a query or another tenant's rows."""
    api = await ww.api("https://rs1.example/", "a:read")
    for number in range(3):
        await ww.application(f"app {number}", api, "a:read")
    cursor = (await ww.call("GET", "/applications?limit=1")).json()["next"]
    second = (await ww.call("GET", f"/applications?limit=1&cursor={cursor}")).json()["items"][0]
    assert second["name"] != (await ww.call("GET", "/applications?limit=1")).json()["items"][0]["name"]
    forged = {"flip": cursor[:-1] + ("A" if cursor[-1] != "A" else "B"), "sql": "' OR 1=1 --", "empty": "AA"}
    path = f"/apis?cursor={cursor}" if damage == "foreign list" else f"/applications?cursor={forged[damage]}"
    assert (await ww.call("GET", path)).status_code == 400


@pytest.mark.parametrize("text", ["%", "_", "'", "\\", "(a+)+$", "x" * 10_000], ids=lambda t: f"ADM-007 {t[:8]}")
async def test_search_text_is_only_text(ww: Instance, text: str) -> None:
    """A search could inject SQL, match everything, or burn the CPU."""
    answer = await ww.call("GET", "/applications", params={"name": text})
    assert answer.status_code in (200, 400)
    assert answer.status_code == 400 or answer.json()["items"] == []


@pytest.mark.parametrize(
    "query", ["sort=secret_hash", "order=digest", "limit=0", "limit=x", "limit=1&limit=2"], ids=lambda q: f"ADM-008 {q}"
)
async def test_unknown_query_parameters_are_refused(ww: Instance, query: str) -> None:
    """Sorting by a secret column would be an oracle; ignoring it would hide a mistake."""
    assert (await ww.call("GET", f"/applications?{query}")).status_code == 400


async def test_no_get_changes_anything(ww: Instance) -> None:
    """ADM-010: a link could change state."""
    before = await ww.services.storage.reader.newest_change()
    for method, path in await routes(ww):
        if method == "GET":
            await ww.call("GET", path.removeprefix("/api/v1"))
    assert await ww.services.storage.reader.newest_change() == before


async def test_secrets_are_shown_once(ww: Instance) -> None:
    """CAU-038 ADM-020: a secret or its digest could be read again by whoever may list applications."""
    api = await ww.api("https://rs1.example/", "a:read")
    made = await ww.application("caller", api, "a:read")
    for path in (f"/applications/{made['client_id']}", "/applications", "/audit"):
        text = (await ww.call("GET", path)).text
        assert made["client_secret"] not in text
        assert "hmac:" not in text


async def test_health_and_metrics_say_nothing_about_us(ww: Instance) -> None:
    """ADM-023: versions, hosts or client ids would help an attacker."""
    for path in ("/health/live", "/health/ready", "/metrics"):
        answer = await ww.http.get(BASE + path)
        assert answer.status_code == 200
        assert not re.search(r"sqlite|postgres|python_info|uvicorn|version=\"", answer.text)
        assert ww.admin[0] not in answer.text


async def test_metric_labels_stay_bounded(ww: Instance) -> None:
    """LOG-009: a stranger could grow memory and the monitoring bill with random client ids."""
    before = len((await ww.http.get(f"{BASE}/metrics")).text.splitlines())
    for number in range(300):
        await ww.token((f"nobody-{number}", "x"))
    assert len((await ww.http.get(f"{BASE}/metrics")).text.splitlines()) <= before + 2


async def test_updates_need_the_version_they_were_read_at(ww: Instance) -> None:
    """Two administrators would overwrite each other unseen."""
    api = await ww.api("https://rs1.example/", "a:read")
    app = await ww.application("caller", api, "a:read")
    path = f"/applications/{app['client_id']}"
    etag = (await ww.call("GET", path)).headers["etag"]
    assert (await ww.call("PATCH", path, {"name": "first"}, headers={"if-match": etag})).status_code == 200
    assert (await ww.call("PATCH", path, {"name": "second"}, headers={"if-match": etag})).status_code == 412
    assert (await ww.call("GET", path)).json()["name"] == "first"


@pytest.mark.parametrize(
    "body",
    [
        '{"name": "x", "name": "y"}', '{"name": 1}', "[]", "{", '{"name": "x", "admin": true}', '{"name": "\\u202e"}',
        '{"name": "x", "grants": [{"api_id": "nope", "scopes": []}]}', '{"name": "x", "secret": "y"}', '{"name": ""}',
        '{"name": "x", "auth_method": "none"}', "[" * 3_000,
    ],
)  # fmt: skip
async def test_bad_bodies_get_a_reason_and_change_nothing(ww: Instance, body: str) -> None:
    """LOG-003 CAU-029: half-done changes, escape sequences in names, public clients, or a trace on the wire."""
    headers = {**await ww.bearer(), "content-type": "application/json"}
    before = await ww.services.storage.reader.newest_change()
    answer = await ww.http.post(f"{BASE}/api/v1/applications", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["detail"]
    assert await ww.services.storage.reader.newest_change() == before


@pytest.mark.parametrize(
    "slug", ["../", "%2e%2e", "ｄefault", "x" * 300, "UPPER", "-a", ""], ids=lambda s: f"TEN-010 {s[:8]}"
)
async def test_tenant_slugs_are_strict(ww: Instance, slug: str) -> None:
    """A slug stands in URLs; a look-alike or a path would make two issuers one."""
    assert (await ww.call("POST", "/tenants", {"slug": slug, "name": "n"})).status_code == 400


async def test_tenants_do_not_see_each_other(ww: Instance) -> None:
    """TEN-002 TEN-004 TEN-006 TEN-008: one customer could read, revoke or outlive another's."""
    acme = (await ww.call("POST", "/tenants", {"slug": "acme", "name": "Canary Acme"})).json()
    theirs = (acme["client_id"], acme["client_secret"])
    header = await ww.bearer(theirs, acme["issuer"])
    token = header["authorization"][7:]
    assert await ww.introspect(ww.admin, token) == {"active": False}
    revoked = await ww.http.post(f"{ISSUER}/revoke", data={"token": token}, auth=ww.admin)
    assert revoked.status_code == 200
    assert (await ww.http.get(f"{BASE}/api/v1/applications", headers=header)).status_code == 200
    assert (await ww.http.get(f"{BASE}/api/v1/tenants", headers=header)).status_code == 403
    for path in ("/applications", "/apis", "/roles", "/keys", "/audit"):
        assert acme["client_id"] not in (await ww.call("GET", path)).text
        assert ww.admin[0] not in (await ww.http.get(f"{BASE}/api/v1{path}", headers=header)).text
    kids = [{k["kid"] for k in (await ww.http.get(f"{i}/jwks")).json()["keys"]} for i in (ISSUER, acme["issuer"])]
    assert not kids[0] & kids[1]
    assert (await ww.call("DELETE", "/tenants/acme")).status_code == 204
    assert (await ww.token(theirs, acme["issuer"])).status_code == 404
    assert (await ww.http.get(f"{BASE}/api/v1/applications", headers=header)).status_code == 401
    assert (await ww.call("POST", "/tenants", {"slug": "acme", "name": "again"})).status_code == 409


async def test_a_client_id_lives_once_in_each_tenant(ww: Instance) -> None:
    """TEN-003: the same imported id in two tenants must have separate secrets."""
    acme = (await ww.call("POST", "/tenants", {"slug": "acme", "name": "Acme"})).json()
    header = await ww.bearer((acme["client_id"], acme["client_secret"]), acme["issuer"])
    for secret, headers in (("one of sixteen characters", await ww.bearer()), ("two of sixteen characters", header)):
        body = {"name": "moved", "client_id": "same", "secret": secret}
        made = await ww.http.post(f"{BASE}/api/v1/applications", json=body, headers=headers)
        assert made.status_code == 201
        assert made.json()["client_secret"] is None
    # Neither has a grant, so the right secret is invalid_target and the other one's is invalid_client.
    assert (await ww.token(("same", "one of sixteen characters"))).json()["error"] == "invalid_target"
    assert (await ww.token(("same", "two of sixteen characters"))).json()["error"] == "invalid_client"
    assert (await ww.token(("same", "two of sixteen characters"), acme["issuer"])).json()["error"] == "invalid_target"


async def test_the_openapi_document_describes_itself(ww: Instance) -> None:
    """A generated client would call what does not exist."""
    document = (await ww.http.get(f"{BASE}/api/v1/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    text = json.dumps(document)
    for name in re.findall(r"#/components/schemas/(\w+)", text):
        assert name in document["components"]["schemas"]
