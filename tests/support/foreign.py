"""Issuers that are not ours: their keys, where they publish them, and statements of every kind, right and wrong."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.assertions import CC, TYPE, compose, jwks
from tests.support.instance import ISSUER, Instance, instance
from tests.support.keyserver import HOST, Authority, KeyServer, Network

from watchword.jose import Algorithm, PrivateKey

SPIFFE = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"
DOMAIN = "spiffe://example.org"
BASE = f"https://{HOST}"
KUBERNETES = {
    "sub": "system:serviceaccount:payments:charger",
    "kubernetes.io": {"namespace": "payments", "serviceaccount": {"name": "charger", "uid": "4f1a"}},
}
GITHUB = {
    "sub": "repo:acme/payments:environment:production", "repository": "acme/payments", "repository_id": "74",
    "repository_owner": "acme", "repository_owner_id": "65", "environment": "production", "ref": "refs/heads/main",
}  # fmt: skip
GITLAB = {
    "sub": "project_path:acme/payments:ref_type:branch:ref:main", "project_path": "acme/payments", "project_id": "22",
    "namespace_path": "acme", "namespace_id": "72", "ref": "main", "ref_type": "branch", "ref_protected": "true",
}  # fmt: skip


def where(claim: str, value: Any) -> dict[str, Any]:
    """A condition."""
    return {"claim": claim, "equals": value}


@dataclass
class Foreign:
    """An issuer, and what it says of a workload."""

    issuer: str
    says: dict[str, Any]
    key: PrivateKey
    issuer_id: str = ""
    spiffe: bool = False

    def claims(self, ww: Instance, **changed: Any) -> dict[str, Any]:
        """Right ones; None takes a claim away."""
        now = int(ww.clock.now)
        right = {"iss": self.issuer, "aud": [ISSUER], "iat": now, "nbf": now, "exp": now + 600, **self.says}
        if self.spiffe:
            right = {"aud": [ISSUER], "exp": now + 300, **self.says}
        return {name: value for name, value in {**right, **changed}.items() if value is not None}

    def statement(self, ww: Instance, header: dict[str, Any] | None = None, sign: Any = None, **changed: Any) -> str:
        """A right one but for what is said."""
        right = {"alg": self.key.algorithm.value, "kid": self.key.kid, "typ": "JWT"}
        head = {name: value for name, value in {**right, **(header or {})}.items() if value is not None}
        return compose(head, json.dumps(self.claims(ww, **changed)).encode(), sign or self.key.sign)


@dataclass
class World:
    """An instance whose network is the test's, and an API."""

    ww: Instance
    api: dict[str, Any]
    server: KeyServer
    network: Network

    async def trust(self, foreign: Foreign, **more: Any) -> Foreign:
        """The default tenant trusts it, by value unless `jwks_uri` is said; None stands for discovery."""
        body = {"issuer": foreign.issuer, **({"jwks": jwks(foreign.key)} if "jwks_uri" not in more else {}), **more}
        body = {name: value for name, value in body.items() if value is not None}
        answer = await self.ww.call("POST", "/trusted-issuers", body)
        assert answer.status_code == 201, answer.text
        foreign.issuer_id = answer.json()["issuer_id"]
        foreign.spiffe = answer.json()["kind"] == "spiffe"
        return foreign

    async def app(self, foreign: Foreign, *conditions: dict[str, Any], **more: Any) -> str:
        """An application that statements of this issuer prove."""
        fields = {
            "auth_method": "spiffe_jwt" if foreign.spiffe else "federated_jwt",
            "identities": [{"issuer_id": foreign.issuer_id, "conditions": conditions}],
            **more,
        }
        made = await self.ww.application("borrows", self.api, "a:read", **fields)
        assert made["client_secret"] is None
        return str(made["client_id"])

    async def send(
        self, statement: str, client_id: str = "", kind: str = TYPE, at: str = "token", ww: Instance | None = None,
        issuer: str = ISSUER, **form: str,
    ) -> Any:  # fmt: skip
        """POST with the statement."""
        fields = {"client_assertion": statement, "client_assertion_type": kind, **form}
        if client_id:
            fields["client_id"] = client_id
        if at == "token":
            fields["grant_type"] = CC
        return await (ww or self.ww).http.post(f"{issuer}/{at}", data=fields)

    async def last_issued(self) -> dict[str, Any]:
        """The newest token's event, but for the administrator's."""
        events = (await self.ww.call("GET", "/audit?limit=500")).json()["items"]
        return next(e for e in events if e["event"] == "TokenIssued" and e["actor"] != self.ww.admin[0])

    async def kubernetes(self, path: str = "cluster", **more: Any) -> tuple[Foreign, str]:
        """A cluster whose keys are fetched, and the application that its service account is."""
        key = PrivateKey.generate(Algorithm.ES256)
        self.server.pages[f"/{path}/jwks"] = json.dumps(jwks(key)).encode()
        made = Foreign(f"{BASE}/{path}", dict(KUBERNETES), key)
        await self.trust(made, **{"kind": "kubernetes", "jwks_uri": f"{BASE}/{path}/jwks", **more})
        return made, await self.app(made, where("sub", KUBERNETES["sub"]))


@asynccontextmanager
async def world(folder: Path, database_url: str = "", **settings: Any) -> AsyncIterator[World]:
    """Running."""
    authority, server = Authority(folder), KeyServer()
    network = Network(server)
    outside = {"network": network, "resolve": network.resolve}
    async with (
        server.serving(authority.context()),
        instance(folder, database_url, world_of=outside, fetch_ca_file=str(authority.file), **settings) as ww,
    ):
        yield World(ww, await ww.api("https://rs1.example/", "a:read"), server, network)
