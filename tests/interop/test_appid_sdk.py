"""IBM's Node SDK, unchanged, with express and passport: its TokenManager gets tokens, its APIStrategy judges them."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support import npm
from tests.support.appid import AppId
from tests.support.instance import instance
from tests.support.listening import free_socket, listening

from watchword.server.app import build

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return npm.install(HERE / "appid", tmp_path_factory.mktemp("npm"))


@dataclass
class Told:
    """What the peer printed, and who took part."""

    result: dict[str, Any]
    caller: str
    payments: str
    server_url: str

    def refused(self, call: str, challenge: str) -> None:
        answer = self.result["calls"][call]
        assert (answer["status"], answer["challenge"]) == (401, challenge)


async def run(folder: Path, **given: Any) -> dict[str, Any]:
    """The peer in a process of its own; the SDK logs to stdout, too, so the answer is the last line."""
    peer = await asyncio.create_subprocess_exec(
        "node", "peer.js", cwd=folder,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, err = await peer.communicate(json.dumps(given).encode())
    assert peer.returncode == 0, err.decode()
    return dict(json.loads(out.splitlines()[-1]))


@pytest.fixture
async def told(sdk: Path, tmp_path: Path) -> Told:
    """One run. The SDK looks at the real clock, so the server's is set to it, and back for the expired token."""
    bound = free_socket()
    base = f"http://127.0.0.1:{bound.getsockname()[1]}"

    async def nothing(receive: Any, send: Any) -> None:
        """The services are open already."""

    async with instance(tmp_path, public_url=base) as ww:
        ww.witness.elsewhere = True
        ww.clock.now = time.time()
        appid = AppId(ww, base=base)
        payments = await appid.application("payments", "charge")
        caller, narrow = await appid.application("caller"), await appid.application("narrow")
        await appid.role("clerk", {payments[0]: ["charge"]}, caller)
        acme = (await ww.call("POST", "/tenants", {"slug": "acme", "name": "Acme"})).json()
        foreign = await AppId(ww, "acme", base).token((acme["client_id"], acme["client_secret"]))
        native = await ww.token(caller, resource=payments[0])
        good = await appid.token(caller, audience=payments[0])
        without = await appid.token(narrow)
        ww.clock.now -= 7_200
        expired = await appid.token(caller)
        ww.clock.now += 7_200
        answers = {"good": good, "narrow": without, "expired": expired, "foreign": foreign, "native": native}
        tokens = {name: answer.json()["access_token"] for name, answer in answers.items()}
        head, payload, signature = tokens["good"].split(".")
        tokens["forged"] = f"{head}.{payload}.{signature[::-1]}"
        async with listening(build(ww.services, nothing), bound):
            result = await run(
                sdk, serverUrl=appid.server_url, clientId=caller[0], secret=caller[1], audience=payments[0],
                tokens=tokens,
            )  # fmt: skip
    return Told(result, caller[0], payments[0], appid.server_url)


async def test_the_published_sdk_works_unchanged(told: Told) -> None:
    """A team that points its application at Watchword would have to change code, or an API would let in too much."""
    token = told.result["token"]
    assert token.keys() == {"accessToken", "tokenType", "expiresIn"}, token
    assert (token["tokenType"], token["expiresIn"]) == ("Bearer", 3_600)
    assert told.result["wrongSecret"] == {"error": "Unauthorized"}
    assert told.result["unknownTenant"] == {"error": "Not found"}
    calls = told.result["calls"]
    for call in ("sdk/any", "sdk/charge", "good/any", "good/charge", "good/audience", "narrow/any"):
        assert calls[call]["status"] == 200, (call, calls[call])
    payload = calls["sdk/charge"]["payload"]
    assert (payload["ver"], payload["aud"], payload["sub"]) == (4, [told.caller], told.caller)
    assert (payload["iss"], payload["scope"]) == (told.server_url, "appid_default charge")
    assert calls["good/audience"]["payload"]["aud"] == [told.payments]
    told.refused("narrow/charge", 'Bearer scope="appid_default charge", error="insufficient_scope"')
    mismatch = f"audience mismatch. expected:{told.caller} got:{told.payments}"
    told.refused("sdk/audience", f'Bearer scope="{mismatch}", error="insufficient_scope"')
    for name in ("expired", "foreign", "native", "forged"):
        told.refused(f"{name}/any", 'Bearer scope="appid_default", error="invalid_token"')
