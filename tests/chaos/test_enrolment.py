"""Devices whose server is killed while they enrol: each asks again, and is one device, with one use of its code."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
from collections import Counter
from pathlib import Path

import httpx
from tests.support.csr import csr, new_key
from tests.support.served import COMMAND, environment, free_port, ready, serving, watchword

DEVICES, ROUNDS = 40, 3


def told(folder: Path, *arguments: str) -> dict[str, list[str]]:
    """What a command says with --json."""
    done = watchword(folder, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def rows(folder: Path, query: str) -> list[tuple[int, ...]]:
    """Out of the database, while nobody serves."""
    with sqlite3.connect(folder / "watchword.db") as database:
        return list(database.execute(query).fetchall())


async def enrolling(base: str, body: dict[str, str], known: dict[str, Counter[str]]) -> None:
    """One device, until it was answered or the server is gone."""
    async with httpx.AsyncClient(timeout=5) as http:
        try:
            answer = await http.post(f"{base}/t/default/enrol", json=body)
        except httpx.HTTPError:
            return
    assert answer.status_code in (200, 201, 503), answer.text
    if answer.status_code != 503:
        known[body["enrolment_id"]][answer.json()["client_id"]] += 1


async def storm(base: str, bodies: list[dict[str, str]], known: dict[str, Counter[str]], server: int) -> None:
    """All of them at once, and the end of the server in the middle."""
    asking = asyncio.gather(*(enrolling(base, body, known) for body in bodies))
    await asyncio.sleep(random.uniform(0.02, 0.3))
    os.kill(server, signal.SIGKILL)
    await asking


def test_killed_while_devices_enrol(tmp_path: Path) -> None:
    """A device would be two, or none with its code used up, or have a place in the group without being there."""
    port = free_port()
    assert watchword(tmp_path, "init", WATCHWORD_PORT=str(port)).returncode == 0
    with serving(tmp_path) as base:
        profile = tmp_path / "profile.toml"
        profile.write_text(profile.read_text().replace(f":{port}/", f":{base.rpartition(':')[2]}/"))
        told(tmp_path, "enrolment", "create", "sensors", "--auth", "tls_client_auth", "--auth", "client_secret_basic")
        batch = told(tmp_path, "enrolment", "codes", "sensors", "--uses", str(DEVICES))["codes"][0]
        single = told(tmp_path, "enrolment", "codes", "sensors", "--count", str(DEVICES))["codes"]
    bodies = [{"code": batch, "enrolment_id": f"b{n}", "serial": f"B{n}"} for n in range(DEVICES)]
    bodies += [{"code": code, "enrolment_id": f"s{n}", "csr": csr(new_key())} for n, code in enumerate(single)]
    known: dict[str, Counter[str]] = {body["enrolment_id"]: Counter() for body in bodies}
    quiet, where = subprocess.DEVNULL, environment(tmp_path)
    for _ in range(ROUNDS):
        server = subprocess.Popen(
            [*COMMAND, "serve", "--port", str(port)], cwd=tmp_path, env=where, stdout=quiet, stderr=quiet
        )
        try:
            asyncio.run(ready(f"http://127.0.0.1:{port}"))
            asyncio.run(storm(f"http://127.0.0.1:{port}", bodies, known, server.pid))
        finally:
            server.kill()
            server.wait()
        living = rows(tmp_path, 'SELECT count(*) FROM application WHERE body LIKE \'%"group_id":"%\'')[0][0]
        assert rows(tmp_path, "SELECT sum(taken) FROM place") in ([(living,)], [(None,)])
        assert rows(tmp_path, "SELECT sum(uses_left) FROM enrolment_code") == [(2 * DEVICES - living,)]
        assert rows(tmp_path, "SELECT count(*) FROM claim WHERE kind = 'enrolment'") == [(living,)]
    with serving(tmp_path) as base:

        async def one_after_the_other() -> None:
            for body in bodies:
                await enrolling(base, body, known)

        asyncio.run(one_after_the_other())
    assert {len(ids) for ids in known.values()} == {1}
    assert len({next(iter(ids)) for ids in known.values()}) == 2 * DEVICES
    assert rows(tmp_path, "SELECT sum(uses_left) FROM enrolment_code") == [(0,)]
    assert watchword(tmp_path, "audit", "verify").returncode == 0
