"""The disk is full: what needs it is refused, the rest goes on, and nothing needs repair.

Not a small file system, which takes a privilege to mount: the kernel is told to let the server's files grow no
further, and refuses each write as it does on a full disk.
"""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
from pathlib import Path

import httpx
from tests.chaos.test_database import credentials_in
from tests.chaos.test_kill import token_id
from tests.support.served import COMMAND, environment, free_port, ready, watchword

FULL = 8_192
"""Bytes: less than the write-ahead log has by then, so every commit is refused."""


def test_dbf_009_the_disk_is_full(tmp_path: Path) -> None:
    """DBF-009: a full disk would lose tokens that were handed out, end the server, or damage the database."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    with (tmp_path / "serve.log").open("w") as log:
        child = subprocess.Popen(
            [*COMMAND, "serve", "--port", str(port)], cwd=tmp_path, env=environment(tmp_path), stdout=log, stderr=log
        )
    try:
        asyncio.run(ready(base))
        given = asyncio.run(_while_full(base, child.pid, credentials_in(tmp_path)))
    finally:
        child.terminate()
        child.wait(15)
    recorded = watchword(tmp_path, "audit", "export").stdout
    assert [each for each in given if token_id(each) not in recorded] == []
    assert watchword(tmp_path, "audit", "verify").returncode == 0


async def _while_full(base: str, pid: int, admin: tuple[str, str]) -> list[str]:
    """Before, meanwhile, after; the tokens that were given."""
    issuer, form = f"{base}/t/default", {"grant_type": "client_credentials", "resource": "urn:watchword:admin"}
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    async with httpx.AsyncClient(timeout=10) as http:
        first = (await http.post(f"{issuer}/token", data=form, auth=admin)).json()["access_token"]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (FULL, hard))
        for _ in range(5):
            refused = await http.post(f"{issuer}/token", data=form, auth=admin)
            assert (refused.status_code, refused.json()["error"]) == (503, "temporarily_unavailable")
            assert int(refused.headers["retry-after"]) >= 1
        header = {"authorization": f"Bearer {first}"}
        change = await http.post(f"{base}/api/v1/applications", json={"name": "no room"}, headers=header)
        assert change.status_code == 503, change.text
        assert (await http.get(f"{issuer}/jwks")).status_code == 200
        assert (await http.get(f"{base}/api/v1/applications", headers=header)).status_code == 200
        assert (await http.get(f"{base}/health/live")).status_code == 200
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
        again = await http.post(f"{issuer}/token", data=form, auth=admin)
        assert again.status_code == 200, again.text
        names = (await http.get(f"{base}/api/v1/applications", headers=header)).text
        assert "no room" not in names
    os.kill(pid, 0)
    return [first, again.json()["access_token"]]
