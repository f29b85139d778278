"""`watchword` as real processes: one command to its end, a server on a free port, a server with a registry."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx
from tests.adapters.pages import wait_for
from tests.support.warm import Process, fits

COMMAND = [sys.executable, "-m", "watchword.cli"]


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def free_ports(count: int) -> list[int]:
    """As many as are asked for, each another one: held together until all are known."""
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports


def environment(folder: Path, **more: str) -> dict[str, str]:
    """A clean environment that keeps everything inside the folder."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WATCHWORD_")}
    return {**clean, "WATCHWORD_PROFILE": str(folder / "profile.toml"), **more}


def watchword(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = start(folder, [*arguments], environment(folder, **more), out, err)
        try:
            code = child.wait(120)
        except subprocess.TimeoutExpired:
            child.kill()
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess([*COMMAND, *arguments], code, out.read(), err.read())


def start(
    folder: Path, arguments: list[str], given: dict[str, str], out: IO[str], err: IO[str]
) -> subprocess.Popen[bytes] | Process:
    """`watchword`, in this folder; with its imports done where its environment allows that."""
    if fits(given):
        return Process(arguments, folder, given, out, err)
    return subprocess.Popen([*COMMAND, *arguments], cwd=folder, env=given, stdout=out, stderr=err)


@contextmanager
def serving(folder: Path, *arguments: str, **more: str) -> Iterator[str]:
    """`watchword serve` on a free port; its base URL."""
    port = free_port()
    with (folder / "serve.log").open("w") as log:
        child = start(folder, ["serve", "--port", str(port), *arguments], environment(folder, **more), log, log)
    try:
        asyncio.run(ready(f"http://127.0.0.1:{port}"))
        yield f"http://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait(15)


@contextmanager
def serving_tls(folder: Path, log: str, *arguments: str, port: int = 0) -> Iterator[str]:
    """https by the development CA; the base URL."""
    port, said = port or free_port(), folder / f"{log}.log"
    with said.open("w") as file:
        command = ["serve", "--port", str(port), "--dev-tls", *arguments]
        child = start(folder, command, environment(folder), file, file)
    try:
        wait_for(port, child, said)
        yield f"https://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait(15)


async def ready(base: str) -> None:
    """Wait until the server answers; at most a minute, for the machine may be busy."""
    async with asyncio.timeout(60), httpx.AsyncClient() as client:
        while True:
            try:
                if (await client.get(f"{base}/health/ready")).status_code == 200:
                    return
            except httpx.HTTPError:
                await asyncio.sleep(0.05)


@dataclass(frozen=True)
class Registered:
    """A server that knows one API and the callers that were asked for, each by its authentication method."""

    base: str
    folder: Path
    audience: str
    credentials: dict[str, tuple[str, str]]

    @property
    def issuer(self) -> str:
        """The default tenant."""
        return f"{self.base}/t/default"

    def environment(self, method: str = "client_secret_basic") -> dict[str, str]:
        """What a caller is told in production: an issuer and credentials of its own."""
        client_id, secret = self.credentials[method]
        named = {"WATCHWORD_ISSUER": self.issuer, "WATCHWORD_CLIENT_ID": client_id, "WATCHWORD_CLIENT_SECRET": secret}
        return environment(self.folder, **named)


def register(base: str, folder: Path, audience: str, scopes: tuple[str, ...], *methods: str) -> Registered:
    """One application a method, all of them granted `scopes` at the API and allowed to introspect for it.

    The API is on offer with one scope more, `ungranted`, which nobody may ask for.
    """
    made = {m: _json(folder, "app", "create", f"caller-{m}", "--auth-method", m) for m in methods}
    offered = [part for scope in (*scopes, "ungranted") for part in ("--scope", scope)]
    allowed = [part for app in made.values() for part in ("--introspector", app["client_id"])]
    _json(folder, "api", "create", audience, *offered, *allowed)
    for app in made.values():
        _json(folder, "app", "grant", app["client_id"], f"{audience}={','.join(scopes)}")
    known = {m: (app["client_id"], app["client_secret"]) for m, app in made.items()}
    return Registered(base, folder, audience, known)


def _json(folder: Path, *arguments: str) -> dict[str, Any]:
    ran = watchword(folder, *arguments, "--json")
    assert ran.returncode == 0, ran.stderr
    return dict(json.loads(ran.stdout))


def descendants(pid: int) -> set[int]:
    """The processes that this one has started, and those that they have started."""
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        try:
            one = waiting.pop()
            children = Path(f"/proc/{one}/task/{one}/children").read_text().split()
        except OSError:
            continue  # it has ended meanwhile
        found |= {int(child) for child in children}
        waiting += [int(child) for child in children]
    return found


def command_of(pid: int) -> bytes:
    """Its command line, empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
