"""The client library by DPoP against `watchword serve`, and an API behind the ASGI adapter; proofs elsewhere."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.flows.clients.test_dpop import ISSUER, World, made, refused
from tests.support.instance import instance
from tests.support.listening import free_socket, listening
from tests.support.proofs import proof_of
from tests.support.served import serving, watchword

from watchword.client import ClientCredentials, DpopKey, TokenRefused
from watchword.resource import Dpop, Fetch, Verifier
from watchword.resource.asgi import RequireToken


async def hello(_scope: Any, _receive: Any, send: Any) -> None:
    """An API without a word of its own."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def test_from_the_key_to_the_api(tmp_path: Path) -> None:
    """DPO-002, DPO-040: what the guide says would not work with a real server; a stolen token would open the API."""
    bound = free_socket()
    audience = f"http://127.0.0.1:{bound.getsockname()[1]}"
    with serving(tmp_path, WATCHWORD_DPOP_NONCE="true") as base:
        issuer = f"{base}/t/default"
        assert watchword(tmp_path, "api", "create", audience, "--scope", "a:read").returncode == 0
        created = watchword(
            tmp_path, "app", "create", "bound", "--grant", f"{audience}=a:read", "--require-bound", "--json"
        )
        app = json.loads(created.stdout)
        pair = app["client_id"], app["client_secret"]
        with pytest.raises(TokenRefused):
            ClientCredentials(issuer, *pair).token()
        verifier = Verifier(
            issuer,
            audience=audience,
            dpop=Dpop(nonce_key=bytes(32)),
            require_bound=True,
            fetch=Fetch(insecure_http=True),
        )
        auth = ClientCredentials(issuer, *pair, dpop=DpopKey.generate())
        asyncio.run(calls(RequireToken(hello, verifier, scope="a:read"), bound, audience, auth))


async def calls(api: RequireToken, bound: socket.socket, audience: str, auth: ClientCredentials) -> None:
    """Those of the holder, and those of a thief with a key of its own."""
    async with listening(api, bound):
        async with httpx.AsyncClient(auth=auth) as caller:
            for _ in range(2):
                answer = await caller.get(f"{audience}/entries?limit=5")
                assert (answer.status_code, answer.text) == (200, "hello")
        stolen, own = (await auth.atoken()).value, DpopKey.generate()
        async with httpx.AsyncClient() as thief:
            answer = await thief.get(f"{audience}/entries", headers={"Authorization": f"Bearer {stolen}"})
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
            own.note_nonce(audience, await nonce_of(thief, audience, stolen))
            proof = own.proof("GET", f"{audience}/entries", time.time(), stolen)
            headers = {"Authorization": f"DPoP {stolen}", "DPoP": proof}
            answer = await thief.get(f"{audience}/entries", headers=headers)
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")


async def nonce_of(thief: httpx.AsyncClient, audience: str, token: str) -> str:
    """Anybody gets one."""
    proof = DpopKey.generate().proof("GET", f"{audience}/entries", 0.0, token)
    answer = await thief.get(f"{audience}/entries", headers={"Authorization": f"DPoP {token}", "DPoP": proof})
    assert answer.json()["error"] == "use_dpop_nonce"
    return str(answer.headers["DPoP-Nonce"])


@pytest.mark.parametrize("endpoint", ["introspect", "revoke"])
async def test_a_stolen_proof_at_another_endpoint(tmp_path: Path, endpoint: str) -> None:
    """DPO-046: whoever reads one request could use its proof for others; a right one harms nobody."""
    async with instance(tmp_path) as ww:
        w: World = await made(ww)
        form = {"token": "x"}

        async def ask(*proofs: str) -> httpx.Response:
            fields = [("dpop", one) for one in proofs]
            return await ww.http.post(f"{ISSUER}/{endpoint}", data=form, auth=w.basic, headers=fields)

        refused(await ask(w.proof()), "invalid_dpop_proof", 400)
        refused(await ask("abc"), "invalid_dpop_proof", 400)
        own = proof_of(w.key, f"{ISSUER}/{endpoint}", ww.clock.now)
        refused(await ask(own, own), "invalid_dpop_proof", 400)
        assert (await ask(own)).status_code == 200
        assert await w.marks() == []
