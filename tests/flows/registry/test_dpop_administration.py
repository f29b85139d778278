"""Tokens that are bound by DPoP at our own administrative surfaces (RFC 9449 section 7)."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.instance import ADMIN_API, BASE, ISSUER, Instance, credentials_of, instance, node
from tests.support.proofs import proof_of
from tests.support.served import serving, watchword

from watchword.client import ClientCredentials, Clock, DpopKey, Network
from watchword.jose import Algorithm, PrivateKey

APIS = f"{BASE}/api/v1/apis"
FORM = {"grant_type": "client_credentials", "resource": ADMIN_API}


@dataclass
class World:
    """An administrator that may hold bound tokens only."""

    ww: Instance
    pair: tuple[str, str]
    key: PrivateKey
    token: str = ""

    async def fetch(self, nonce: str | None = None) -> httpx.Response:
        """A token by the key."""
        proof = proof_of(self.key, f"{ISSUER}/token", self.ww.clock.now, nonce=nonce)
        return await self.ww.http.post(f"{ISSUER}/token", data=FORM, auth=self.pair, headers={"dpop": proof})

    def proof(self, url: str = APIS, **changed: Any) -> str:
        """A right one for a list of APIs but for what is said."""
        right = {"method": "GET", "token": self.token, **changed}
        return proof_of(right.pop("key", self.key), url, right.pop("now", self.ww.clock.now), **right)

    async def get(
        self, *proofs: str, url: str = APIS, scheme: str = "DPoP", token: str = "", ww: Instance | None = None
    ) -> httpx.Response:
        """A list of APIs, unless another address is named."""
        shown = [("authorization", f"{scheme} {token or self.token}"), *(("dpop", one) for one in proofs)]
        return await (ww or self.ww).http.get(url, headers=shown)


async def made(ww: Instance) -> World:
    """On an instance with whatever settings."""
    listed = (await ww.call("GET", "/apis")).json()["items"]
    api = next(one for one in listed if one["identifier"] == ADMIN_API)
    scopes = ["apis:read", "apis:write", "applications:read"]
    body = {"name": "operator", "require_dpop": True, "grants": [{"api_id": api["api_id"], "scopes": scopes}]}
    answer = await ww.call("POST", "/applications", body)
    assert answer.status_code == 201, answer.text
    return World(ww, credentials_of(answer.json()), PrivateKey.generate(Algorithm.ES256))


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    """With the default settings."""
    async with instance(tmp_path) as ww:
        made_ = await made(ww)
        made_.token = (await made_.fetch()).json()["access_token"]
        yield made_


def refused(answer: httpx.Response, error: str) -> str:
    """401 in the words of DPoP; what it says."""
    assert answer.status_code == 401, answer.text
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith('DPoP algs="ES256 PS256 EdDSA", error="'), challenge
    assert f'error="{error}"' in challenge
    return str(answer.json()["detail"])


async def test_an_administrator_with_a_key(w: World) -> None:
    """An application that has to be bound could administer nothing: bearer tokens would be all that is taken."""
    assert (await w.get(w.proof())).status_code == 200
    managed = f"{BASE}/management/v4/default/applications"
    assert (await w.get(w.proof(managed), url=managed)).status_code == 200
    asked = await w.get(w.proof(), url=f"{APIS}?limit=1")  # section 4.2: htu has no query
    assert (asked.status_code, len(asked.json()["items"])) == (200, 1)
    body = {"identifier": "https://new.example/", "name": "new", "scopes": []}
    shown = {"authorization": f"DPoP {w.token}", "dpop": w.proof(method="POST")}
    assert (await w.ww.http.post(APIS, json=body, headers=shown)).status_code == 201


@pytest.mark.parametrize("surface", ["/api/v1/apis", "/management/v4/default/applications"])
async def test_a_stolen_token(w: World, surface: str) -> None:
    """Whoever reads an administrator's token in a log would administer."""
    url = BASE + surface
    answer = await w.get(url=url, scheme="Bearer")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith('DPoP algs="ES256 PS256 EdDSA", error="invalid_token"')
    assert (await w.get(url=url)).status_code == 401
    thief = w.proof(url, key=PrivateKey.generate(Algorithm.ES256))
    assert (await w.get(thief, url=url)).status_code == 401
    assert (await w.get(w.proof(url), url=url, scheme="Bearer")).status_code == 401
    assert (await w.get(w.proof(url), url=url)).status_code == 200


WRONG = [
    ("another method", {"method": "POST"}),
    ("another address", {"url": f"{BASE}/api/v1/applications"}),
    ("another host", {"url": "https://evil.example/api/v1/apis"}),
    ("of the token endpoint", {"token": None}),
    ("another token", {"token": "other"}),
    ("too old", {"iat": -71}),
    ("in the future", {"iat": 11}),
    ("without jti", {"jti": None}),
    ("a nonce that we never gave", {"nonce": "bm9uY2U"}),
]


@pytest.mark.parametrize(("name", "changed"), [pytest.param(*one, id=one[0]) for one in WRONG])
async def test_a_wrong_proof(w: World, name: str, changed: dict[str, Any]) -> None:
    """A proof of one request would do for others, of other callers and other days."""
    if "iat" in changed:
        changed = {**changed, "iat": int(w.ww.clock.now) + changed["iat"]}
    answer = await w.get(w.proof(**changed))
    refused(answer, "use_dpop_nonce" if "nonce" in changed else "invalid_dpop_proof")
    assert (await w.get(w.proof())).status_code == 200


async def test_proofs_by_number(w: World) -> None:
    """None and two are no proof: one of the two would be judged and the other used."""
    assert "send a DPoP header" in refused(await w.get(), "invalid_dpop_proof")
    assert "one DPoP header" in refused(await w.get(w.proof(), w.proof()), "invalid_dpop_proof")


async def test_another_key(w: World) -> None:
    """A thief would sign with a key of its own."""
    answer = await w.get(w.proof(key=PrivateKey.generate(Algorithm.EdDSA)))
    assert "another key" in refused(answer, "invalid_token")


async def test_a_bearer_token_in_the_scheme_of_the_other(w: World) -> None:
    """Section 7.1: a token that is bound to nothing would look bound to whoever reads the log."""
    bearer = (await w.ww.bearer())["authorization"].removeprefix("Bearer ")
    answer = await w.get(w.proof(token=bearer), token=bearer)
    assert "bound to no DPoP key" in refused(answer, "invalid_token")


async def test_a_proof_counts_once(w: World, tmp_path: Path) -> None:
    """A request that is read on its way would be sent again: to this worker, to another, or after a restart."""
    proof = w.proof()
    answers = await asyncio.gather(*(w.get(proof) for _ in range(4)))
    assert sorted(one.status_code for one in answers) == [200, 401, 401, 401]
    assert "used before" in refused(await w.get(proof), "invalid_dpop_proof")
    async with AsyncExitStack() as stack:
        settings = w.ww.services.settings
        other = await stack.enter_async_context(node(settings, w.ww.clock, w.ww.admin))
        assert "used before" in refused(await w.get(proof, ww=other), "invalid_dpop_proof")
        assert (await w.get(w.proof(), ww=other)).status_code == 200


async def test_what_is_refused_uses_nothing_up(w: World) -> None:
    """Whoever sends another's proof with a token that it lacks would make the owner's own request fail."""
    proof = w.proof()
    assert (await w.get(proof, token="stolen.and.wrong")).status_code == 401
    assert (await w.get(proof, scheme="Bearer")).status_code == 401
    assert (await w.get(proof)).status_code == 200


async def test_a_scope_that_is_missing(w: World) -> None:
    """403 would tell a caller with a key to come with a bearer token."""
    url = f"{BASE}/api/v1/audit"
    answer = await w.get(w.proof(url), url=url)
    assert answer.status_code == 403
    assert answer.headers["www-authenticate"].startswith("DPoP algs=")
    assert 'scope="audit:read"' in answer.headers["www-authenticate"]


async def test_disabled(w: World) -> None:
    """A key would keep an administrator whom nobody wants any more."""
    await w.ww.call("PATCH", f"/applications/{w.pair[0]}", {"enabled": False})
    refused(await w.get(w.proof()), "invalid_token")


async def test_nonces(tmp_path: Path) -> None:
    """Where the server wants nonces, a proof that was made in advance would do here and nowhere else."""
    async with instance(tmp_path, dpop_nonce=True) as ww:
        w = await made(ww)
        nonce = (await w.fetch()).headers["dpop-nonce"]
        w.token = (await w.fetch(nonce)).json()["access_token"]
        answer = await w.get(w.proof())
        refused(answer, "use_dpop_nonce")
        assert (await w.get(w.proof(nonce=answer.headers["dpop-nonce"]))).status_code == 200


async def test_our_own_client(tmp_path: Path) -> None:
    """What the guide says would end in a refusal, or in one for each request where nonces are wanted."""
    async with instance(tmp_path, dpop_nonce=True) as ww:
        w = await made(ww)
        auth = ClientCredentials(
            ISSUER,
            *w.pair,
            resource=ADMIN_API,
            dpop=DpopKey.generate(),
            network=Network(transport=ww.door, clock=Clock(now=lambda: ww.clock.now)),
        )
        for _ in range(2):
            assert (await ww.http.get(APIS, auth=auth)).status_code == 200


def test_the_command_line(tmp_path: Path) -> None:
    """An operator whose application has to be bound would have no command line; a wrong key would be a traceback."""
    key = tmp_path / "operator.key"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(key)], check=True)
    key.chmod(0o600)
    with serving(tmp_path, WATCHWORD_DPOP_NONCE="true") as base:
        made = watchword(
            tmp_path, "app", "create", "operator", "--require-dpop", "--grant", f"{ADMIN_API}=apis:read", "--json"
        )
        assert made.returncode == 0, made.stderr
        app = json.loads(made.stdout)
        known = {
            "WATCHWORD_ISSUER": f"{base}/t/default", "WATCHWORD_CLIENT_ID": app["client_id"],
            "WATCHWORD_CLIENT_SECRET": app["client_secret"],
        }  # fmt: skip
        bound = {**known, "WATCHWORD_DPOP_KEY_FILE": str(key)}
        assert watchword(tmp_path, "api", "list", **known).returncode == 1
        listed = watchword(tmp_path, "api", "list", "--json", **bound)
        assert listed.returncode == 0, listed.stderr
        assert ADMIN_API in listed.stdout
        for wrong in ("nothing.key", "profile.toml"):
            said = watchword(tmp_path, "api", "list", **{**bound, "WATCHWORD_DPOP_KEY_FILE": str(tmp_path / wrong)})
            assert said.returncode == 1
            assert "no DPoP key" in said.stderr
            assert "Traceback" not in said.stderr
