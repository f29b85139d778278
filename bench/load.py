"""A server pinned to one core, wrk pinned to the other, and what came of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx

CONNECTIONS = 32
SERVER_CORE, LOAD_CORE = "0", "1"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_ONCE = """
wrk.method = "POST"
local parts, at = {}, 0
for line in io.lines("%s") do parts[#parts + 1] = line end
request = function()
  at = at + 1
  if at > #parts then os.exit(3) end
  %s
end
"""
_AS_BODY = "return wrk.format(nil, nil, nil, parts[at])"
_AS_HEADER = 'wrk.headers["%s"] = parts[at]; return wrk.format()'
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
    """A file of bodies, one a line, each sent once; with `header`, of that header's values."""
    header: str = ""

    def script(self) -> str:
        """For wrk."""
        lines = [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in self.headers.items()]
        if self.body is not None:
            lines += ['wrk.method = "POST"', f"wrk.body = {json.dumps(self.body)}"]
        if self.bodies is not None:
            lines.append(_ONCE % (self.bodies, _AS_HEADER % self.header if self.header else _AS_BODY))
        return "\n".join(lines)


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def pinned(
    command: list[str], folder: Path, url: str, said: str = "", *, patience: float = 60.0, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A server on its core, once it answers at all, `patience` in seconds; `said` is its standard input."""
    (folder / "said").write_text(said)
    with (folder / "server.log").open("ab") as log, (folder / "said").open() as given:
        child = subprocess.Popen(
            ["taskset", "-c", SERVER_CORE, *command], cwd=folder, env={**os.environ, **environment},
            stdin=given, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        answers(child, url, patience)
        yield child
    finally:
        child.terminate()
        child.wait(15)


def answers(child: subprocess.Popen[bytes], url: str, patience: float = 60.0) -> None:
    """Wait until it does; at most `patience` seconds."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
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


def signatures(algorithm: str, seconds: int) -> float:
    """A second, on the server's core, with nothing else to do."""
    command = ["taskset", "-c", SERVER_CORE, sys.executable, "-m", "bench.signing", algorithm, str(seconds)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def interleaved(runs: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Each once a round, so that what the machine does meanwhile meets them all."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            found[name].append(run())
    return found


def rates(targets: list[Target], folder: Path, rounds: int, seconds: int) -> dict[str, list[float]]:
    """`interleaved`, by the targets' names."""
    return interleaved({each.name: partial(rate, each, folder, seconds) for each in targets}, rounds)
