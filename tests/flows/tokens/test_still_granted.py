"""A token allows what its application holds now: every reader of tokens is told so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.appid import AppId
from tests.support.instance import ADMIN_API, BASE, ISSUER, Instance, credentials_of, instance

A, B = "https://a.example/", "https://b.example/"


class World:
    """Two APIs that one guard introspects for, and an application with two scopes at each."""

    def __init__(self, ww: Instance) -> None:
        self.ww = ww
        self.apis: dict[str, Any] = {}

    async def begin(self) -> World:
        """Create it."""
        guard = (await self.ww.call("POST", "/applications", {"name": "guard"})).json()
        self.guard = credentials_of(guard)
        for identifier in (A, B):
            self.apis[identifier] = await self.ww.api(identifier, "read", "write")
            path = f"/apis/{self.apis[identifier]['api_id']}"
            assert (await self.ww.call("PATCH", path, {"introspectors": [self.guard[0]]})).status_code == 200
        grants = self.grants(read=(A, B), write=(A, B))
        self.app = (await self.ww.call("POST", "/applications", {"name": "app", "grants": grants})).json()
        return self

    def grants(self, **where: tuple[str, ...]) -> list[dict[str, Any]]:
        """read=(A, B): the scope at these APIs."""
        return [
            {"api_id": api["api_id"], "scopes": [scope for scope, listed in where.items() if name in listed]}
            for name, api in self.apis.items()
            if any(name in listed for listed in where.values())
        ]

    async def change(self, **body: Any) -> None:
        """The application."""
        answer = await self.ww.call("PATCH", f"/applications/{self.app['client_id']}", body)
        assert answer.status_code == 200, answer.text

    async def token(self, *resources: str) -> str:
        """For these APIs."""
        answer = await self.ww.token(credentials_of(self.app), resource=list(resources))  # type: ignore[arg-type]
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    async def asked(self, token: str) -> tuple[Any, Any, Any]:
        """active, aud and scope."""
        told = await self.ww.introspect(self.guard, token)
        return told["active"], told.get("aud"), told.get("scope")

    async def passes(self, token: str, scope: str) -> int:
        """The status of forward-auth at A."""
        query = {"audience": A, "scope": scope}
        headers = {"authorization": f"Bearer {token}"}
        return (await self.ww.http.get(f"{ISSUER}/forward-auth", params=query, headers=headers)).status_code


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    """On SQLite."""
    async with instance(tmp_path) as ww:
        yield await World(ww).begin()


async def test_introspection_shows_what_is_still_granted(w: World) -> None:
    """An API that asks would believe a token for an hour after the scope was taken away (issue 13, B5)."""
    one, both = await w.token(A), await w.token(A, B)
    assert await w.asked(both) == (True, [A, B], "read write")
    assert await w.passes(one, "write") == 200
    await w.change(grants=w.grants(read=(A, B), write=(B,)))
    assert await w.asked(one) == (True, A, "read")
    assert await w.asked(both) == (True, [A, B], "read")
    assert (await w.passes(one, "write"), await w.passes(one, "read")) == (403, 200)
    await w.change(grants=w.grants(read=(B,), write=(B,)))
    assert await w.asked(one) == (False, None, None)
    assert await w.asked(both) == (True, B, "read write")
    assert await w.passes(one, "read") == 401


async def test_what_is_not_granted_now_can_be_revoked(w: World) -> None:
    """A token that is revoked while its grant is away would be good again when the grant is back."""
    token = await w.token(A)
    await w.change(grants=[])
    revoked = await w.ww.http.post(f"{ISSUER}/revoke", data={"token": token}, auth=credentials_of(w.app))
    assert revoked.status_code == 200
    await w.change(grants=w.grants(read=(A,), write=(A,)))
    assert await w.asked(token) == (False, None, None)


async def test_a_disabled_api_has_no_tokens(w: World) -> None:
    """CVE-2026-93999: a token would be active for an API that is switched off."""
    token = await w.token(A)
    assert (await w.ww.call("PATCH", f"/apis/{w.apis[A]['api_id']}", {"enabled": False})).status_code == 200
    assert await w.asked(token) == (False, None, None)


async def test_forward_auth_knows_tokens_of_app_id(w: World) -> None:
    """A gateway in front of an App ID application would answer 500 (issue 13, B7)."""
    appid = AppId(w.ww)
    payments, caller = await appid.application("payments", "charge"), await appid.application("caller")
    role = await appid.role("clerk", {payments[0]: ["charge"]}, caller)
    token = (await appid.token(caller, audience=payments[0])).json()["access_token"]
    query, headers = {"audience": payments[0], "scope": "charge"}, {"authorization": f"Bearer {token}"}
    passed = await w.ww.http.get(f"{ISSUER}/forward-auth", params=query, headers=headers)
    assert passed.status_code == 200, passed.text
    assert passed.headers["x-watchword-client"] == caller[0]
    assert passed.headers["x-watchword-scope"] == "appid_default charge"
    assert (await appid.call("DELETE", f"/roles/{role}")).status_code == 202
    assert (await w.ww.http.get(f"{ISSUER}/forward-auth", params=query, headers=headers)).status_code == 403


async def test_the_administration_api_is_compared_as_a_whole(w: World) -> None:
    """An API whose identifier holds the one of administration would open introspection (issue 13, B7)."""
    near = await w.ww.api(f"{ADMIN_API}/of/another", "tokens:introspect")
    grants = [{"api_id": near["api_id"], "scopes": ["tokens:introspect"]}]
    one = (await w.ww.call("POST", "/applications", {"name": "near", "grants": grants})).json()
    token = (await w.ww.token(credentials_of(one))).json()["access_token"]
    headers = {"authorization": f"Bearer {token}"}
    answer = await w.ww.http.post(f"{ISSUER}/introspect", data={"token": token}, headers=headers)
    assert answer.status_code == 401
    named = {"name": "named", "client_id": ADMIN_API, "secret": "x" * 40}
    assert (await w.ww.call("POST", "/applications", named)).status_code == 201
    of_admin = (await w.ww.bearer())["authorization"].removeprefix("Bearer ")
    assert await w.ww.introspect((ADMIN_API.replace(":", "%3A"), "x" * 40), of_admin) == {"active": False}


async def test_a_tenant_is_suspended_and_resumed(w: World) -> None:
    """A customer that does not pay, or was broken into, could only be deleted, for good (issue 13, B7)."""
    made = (await w.ww.call("POST", "/tenants", {"slug": "acme", "name": "Acme"})).json()
    admin, issuer = credentials_of(made), f"{BASE}/t/acme"
    headers = await w.ww.bearer(admin, issuer)
    for enabled, status in ((False, 401), (True, 200)):
        changed = await w.ww.call("PATCH", "/tenants/acme", {"enabled": enabled})
        assert changed.json()["enabled"] is enabled, changed.text
        assert (await w.ww.token(admin, issuer, resource=ADMIN_API)).status_code == status
        assert (await w.ww.http.get(f"{BASE}/api/v1/apis", headers=headers)).status_code == status
    own = await w.ww.call("PATCH", "/tenants/default", {"enabled": False})
    assert (own.status_code, own.json()["field"]) == (400, "enabled")
    one = await w.ww.call("PATCH", "/tenants/default", {"several_apis": False})
    assert one.json()["several_apis"] is False
    refused = await w.ww.token(credentials_of(w.app), resource=[A, B])  # type: ignore[arg-type]
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_target")
