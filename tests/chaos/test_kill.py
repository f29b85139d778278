"""kill -9 under load, twenty times: nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
from tests.support.served import COMMAND, environment, free_port, ready, watchword

from watchword.client import DpopKey

ROUNDS = 20
API = "https://rs1.example/"


class Acknowledged:
    """What the server said was done."""

    def __init__(self) -> None:
        self.tokens: set[str] = set()
        self.revoked: set[str] = set()
        self.secrets: list[str] = []
        self.created: set[str] = set()
        self.proofs: list[str] = []
        self.replayed = 0


def token_id(token: str) -> str:
    """The jti of a JWT."""
    payload = token.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(payload + "=="))["jti"])


async def ask(http: httpx.AsyncClient, base: str, credentials: tuple[str, str], resource: str) -> str | None:
    """A token, or None when the server is gone or refuses."""
    form = {"grant_type": "client_credentials", "resource": resource}
    answer = await http.post(f"{base}/t/default/token", data=form, auth=credentials)
    return str(answer.json()["access_token"]) if answer.status_code == 200 else None


async def tokens(http: httpx.AsyncClient, base: str, app: tuple[str, str], done: Acknowledged) -> None:
    """Tokens, each tenth one revoked, until the server is gone."""
    count = 0
    while True:
        token = await ask(http, base, app, API)
        if token is None:
            continue
        done.tokens.add(token_id(token))
        count += 1
        if count % 10 == 0:
            answer = await http.post(f"{base}/t/default/revoke", data={"token": token}, auth=app)
            if answer.status_code == 200:
                done.revoked.add(token_id(token))


async def changes(http: httpx.AsyncClient, base: str, admin: tuple[str, str], rotated: str, done: Acknowledged) -> None:
    """Rotations and registrations, until the server is gone."""
    token = await ask(http, base, admin, "urn:watchword:admin")
    header = {"authorization": f"Bearer {token}"}
    while True:
        path = f"{base}/api/v1/applications"
        answer = await http.post(f"{path}/{rotated}/secrets", json={"overlap": 600}, headers=header)
        if answer.status_code == 201:
            done.secrets.append(answer.json()["client_secret"])
        answer = await http.post(path, json={"name": "made under fire"}, headers=header)
        if answer.status_code == 201:
            done.created.add(answer.json()["client_id"])


async def proofs(http: httpx.AsyncClient, base: str, app: tuple[str, str], done: Acknowledged, key: DpopKey) -> None:
    """Bound tokens, each by a proof of its own, until the server is gone."""
    form = {"grant_type": "client_credentials", "resource": API}
    while True:
        proof = key.proof("POST", f"{base}/t/default/token", time.time())
        answer = await http.post(f"{base}/t/default/token", data=form, auth=app, headers={"dpop": proof})
        if answer.status_code == 200:
            done.proofs.append(proof)


async def replay(base: str, app: tuple[str, str], done: Acknowledged) -> None:
    """What was used before the crash, as long as its age alone would not have it refused."""
    form = {"grant_type": "client_credentials", "resource": API}
    async with httpx.AsyncClient(timeout=5) as http:
        for proof in done.proofs[-10:]:
            answer = await http.post(f"{base}/t/default/token", data=form, auth=app, headers={"dpop": proof})
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof")
            assert "used before" in answer.json()["error_description"]
            done.replayed += 1


async def until_gone(work: Any) -> None:
    """Run it until the connection breaks."""
    try:
        await work
    except (httpx.HTTPError, KeyError, ValueError):
        return


async def one_round(
    folder: Path, port: int, admin: tuple[str, str], app: tuple[str, str], rotated: str, done: Acknowledged, load: float
) -> None:
    """Start, load, kill."""
    base = f"http://127.0.0.1:{port}"
    with (folder / "serve.log").open("a") as log:
        child = subprocess.Popen(
            [*COMMAND, "serve", "--port", str(port)], cwd=folder, env=environment(folder), stdout=log, stderr=log
        )
    await ready(base)
    await replay(base, app, done)
    async with httpx.AsyncClient(timeout=5) as http:
        work = [tokens(http, base, app, done) for _ in range(8)] + [changes(http, base, admin, rotated, done)]
        work.append(proofs(http, base, app, done, DpopKey.generate()))
        running = [asyncio.ensure_future(until_gone(each)) for each in work]
        await asyncio.sleep(load)
        os.kill(child.pid, signal.SIGKILL)
        await asyncio.gather(*running)
    child.wait()


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """CRS-001 CRS-002 CRS-003 CRS-006 REV-011: a crash would forget tokens, revive revoked ones, or let proofs count twice."""
    port, done, chance = free_port(), Acknowledged(), random.Random(7)
    first = json.loads(watchword(tmp_path, "init", "--json", WATCHWORD_PORT=str(port)).stdout)
    admin = (first["client_id"], first["client_secret"])
    app, rotated = _registered(tmp_path, port)
    done.secrets.append(rotated[1])
    for _ in range(ROUNDS):
        asyncio.run(one_round(tmp_path, port, admin, app, rotated[0], done, chance.uniform(0.3, 1.2)))
    assert len(done.tokens) > 500
    assert done.revoked
    assert len(done.secrets) > ROUNDS
    assert done.replayed > ROUNDS
    recorded = watchword(tmp_path, "audit", "export").stdout
    missing = [each for each in done.tokens if each not in recorded]
    assert not missing, f"{len(missing)} of {len(done.tokens)} acknowledged tokens are not on record"
    database = sqlite3.connect(tmp_path / "watchword.db")
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert done.revoked <= {row[0] for row in database.execute("SELECT token_id FROM revoked")}
    assert done.created <= {row[0] for row in database.execute("SELECT id FROM application")}
    assert watchword(tmp_path, "audit", "verify").returncode == 0
    asyncio.run(_the_last_secret_works(tmp_path, port, rotated[0], done))


def _registered(folder: Path, port: int) -> tuple[tuple[str, str], tuple[str, str]]:
    """Two applications: one that asks for tokens, one whose secret is rotated."""
    from tests.support.served import serving

    with serving(folder) as base:
        known = {"WATCHWORD_ISSUER": f"{base}/t/default"}
        assert watchword(folder, "api", "create", API, "--scope", "a:read", **known).returncode == 0
        made = []
        for name in ("asks", "rotates"):
            shown = json.loads(
                watchword(folder, "app", "create", name, "--grant", f"{API}=a:read", "--json", **known).stdout
            )
            made.append((shown["client_id"], shown["client_secret"]))
    return made[0], made[1]


async def _the_last_secret_works(folder: Path, port: int, client_id: str, done: Acknowledged) -> None:
    """Of the secrets handed out, the newest authenticates, unless an unanswered rotation came after it."""
    base = f"http://127.0.0.1:{port}"
    child = subprocess.Popen([*COMMAND, "serve", "--port", str(port)], cwd=folder, env=environment(folder))
    try:
        await ready(base)
        async with httpx.AsyncClient() as http:
            assert await ask(http, base, (client_id, done.secrets[-1]), API) is not None
    finally:
        child.terminate()
        child.wait(15)
