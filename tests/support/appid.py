"""The App ID surface as its users know it: one tenant's two base URLs, applications, scopes and roles."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
from tests.support.instance import BASE, Instance

Credentials = tuple[str, str]


class AppId:
    """Calls both surfaces of one tenant, the management one as its administrator."""

    def __init__(self, ww: Instance, slug: str = "default", base: str = BASE) -> None:
        self.ww, self.slug = ww, slug
        self.server_url = f"{base}/oauth/v4/{slug}"
        self.management = f"{base}/management/v4/{slug}"

    async def token(self, credentials: Credentials, **form: str) -> httpx.Response:
        """POST /token with Basic and a form."""
        fields = {"grant_type": "client_credentials", **form}
        return await self.ww.http.post(f"{self.server_url}/token", data=fields, auth=credentials)

    async def call(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """A management call."""
        headers = {**await self.ww.bearer(), **options.pop("headers", {})}
        return await self.ww.http.request(method, f"{self.management}{path}", json=body, headers=headers, **options)

    async def application(self, name: str, *scopes: str) -> Credentials:
        """Register an application that offers `scopes`; its client id and secret."""
        made = (await self.call("POST", "/applications", {"name": name})).json()
        if scopes:
            offered = await self.call("PUT", f"/applications/{made['clientId']}/scopes", {"scopes": scopes})
            assert offered.status_code == 200, offered.text
        return made["clientId"], made["secret"]

    async def role(self, name: str, access: dict[str, list[str]], *holders: Credentials) -> str:
        """Create a role and give it, as their only one, to `holders`; its id."""
        listed = [{"application_id": client_id, "scopes": scopes} for client_id, scopes in access.items()]
        made = await self.call("POST", "/roles", {"name": name, "access": listed})
        assert made.status_code == 201, made.text
        role_id = str(made.json()["id"])
        for client_id, _ in holders:
            given = await self.call("PUT", f"/applications/{client_id}/roles", {"roles": {"ids": [role_id]}})
            assert given.status_code == 200, given.text
        return role_id

    async def events(self) -> list[dict[str, Any]]:
        """The newest audit events of the default tenant, newest first."""
        return list((await self.ww.call("GET", "/audit")).json()["items"])


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, unverified."""
    head, payload, _ = token.split(".")
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in (head, payload))
    return header, claims
