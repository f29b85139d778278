"""A server pinned to one core, wrk pinned to the other, and what came of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

CONNECTIONS = 32
SERVER_CORE, LOAD_CORE = "0", "1"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_ONCE = """
local bodies = {}
for line in io.lines("%s") do bodies[#bodies + 1] = line end
local at = 0
request = function()
  at = at + 1
  if at > #bodies then os.exit(3) end
  return wrk.format("POST", nil, nil, bodies[at])
end
"""
"""wrk's script for requests that are sent once each; it ends the run rather than repeat one."""


class Worthless(Exception):
    """A run in which something was refused measures refusals."""


@dataclass(frozen=True)
class Target:
    """One kind of request to one server."""

    name: str
    url: str
    body: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    bodies: Path | None = None
    """A file of bodies, one a line, each sent once."""

    def script(self) -> str:
        """For wrk."""
        lines = [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in self.headers.items()]
        if self.bodies is not None:
            lines.append(_ONCE % self.bodies)
        elif self.body is not None:
            lines += ['wrk.method = "POST"', f"wrk.body = {json.dumps(self.body)}"]
        return "\n".join(lines)


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def pinned(command: list[str], folder: Path, url: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server on its core, until it answers at all."""
    with (folder / "server.log").open("ab") as log:
        child = subprocess.Popen(
            ["taskset", "-c", SERVER_CORE, *command], cwd=folder, env={**os.environ, **environment},
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        answers(child, url)
        yield child
    finally:
        child.terminate()
        child.wait(15)


def answers(child: subprocess.Popen[bytes], url: str) -> None:
    """Wait until it does; at most twenty seconds."""
    for _ in range(2000):
        if child.poll() is not None:
            raise SystemExit(f"{child.args} ended with {child.returncode}: see server.log")
        try:
            httpx.get(url, timeout=1)
            return
        except httpx.HTTPError:
            time.sleep(0.01)
    raise SystemExit(f"{url} never answered")


def rate(target: Target, folder: Path, seconds: int) -> float:
    """Requests a second of one run. Raises `Worthless`."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: apt-get install wrk")
    (folder / "load.lua").write_text(target.script())
    command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", "-s", "load.lua"]
    told = subprocess.run([*command, target.url], cwd=folder, capture_output=True, text=True, check=False)
    if told.returncode or "Non-2xx" in told.stdout or "Socket errors" in told.stdout:
        raise Worthless(f"{target.name}: {told.stdout}{told.stderr}")
    return float(re.findall(r"Requests/sec:\s+([\d.]+)", told.stdout)[0])


def interleaved(targets: list[Target], folder: Path, rounds: int, seconds: int) -> dict[str, list[float]]:
    """Each target once a round, so that what the machine does meanwhile meets them all."""
    found: dict[str, list[float]] = {target.name: [] for target in targets}
    for _ in range(rounds):
        for target in targets:
            found[target.name].append(rate(target, folder, seconds))
    return found
