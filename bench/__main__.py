"""`make bench`: the server on one core, the load (wrk) on the other; the floor in the same run; medians of three."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

RUNS, SECONDS, CONNECTIONS = 3, 4, 32
API = "https://rs1.example/"


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def pinned(command: list[str], folder: Path, url: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server on core 0, until it answers at all."""
    child = subprocess.Popen(
        ["taskset", "-c", "0", *command], cwd=folder, env={**os.environ, **environment}, stdout=subprocess.DEVNULL
    )
    try:
        for _ in range(400):
            try:
                httpx.post(url, timeout=1)
                break
            except httpx.HTTPError:
                time.sleep(0.05)
        yield child
    finally:
        child.terminate()
        child.wait(15)


def load(folder: Path, url: str, body: str, headers: dict[str, str]) -> list[float]:
    """Requests a second, one figure a run; a refusal makes the figure worthless and raises."""
    lines = ['wrk.method = "POST"', f"wrk.body = {json.dumps(body)}"]
    lines += [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items()]
    (folder / "load.lua").write_text("\n".join(lines))
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}", "-s", "load.lua", url]
    figures = []
    for _ in range(RUNS):
        told = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
        if "Non-2xx" in told:
            raise SystemExit(f"{url} refused requests:\n{told}")
        figures.append(float(re.findall(r"Requests/sec:\s+([\d.]+)", told)[0]))
    return figures


def row(name: str, figures: list[float], unit: str = "/s") -> float:
    """Print one line of the table; the median."""
    median = statistics.median(figures)
    sys.stdout.write(f"| {name} | {median:,.0f}{unit} | {min(figures):,.0f} to {max(figures):,.0f} |\n")
    sys.stdout.flush()
    return median


def watchword(folder: Path, *arguments: str, **environment: str) -> dict[str, str]:
    """One command's JSON."""
    command = [sys.executable, "-m", "watchword.cli", *arguments, "--json"]
    told = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return dict(json.loads(told.stdout))


def main() -> None:
    """All of it."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: apt-get install wrk")
    folder, port, floor = Path(tempfile.mkdtemp()), free_port(), free_port()
    own = {"WATCHWORD_PROFILE": str(folder / "profile.toml"), "WATCHWORD_PORT": str(port)}
    base = f"http://127.0.0.1:{port}/t/default"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    sys.stdout.write("| what | median | spread |\n|---|---|---|\n")
    floors = {}
    for algorithm in ("ES256", "RS256"):
        command = [sys.executable, str(Path(__file__).parent / "floor.py"), str(floor), algorithm]
        with pinned(command, folder, f"http://127.0.0.1:{floor}/"):
            figures = load(folder, f"http://127.0.0.1:{floor}/token", "grant_type=client_credentials", form)
            floors[algorithm] = row(f"floor, {algorithm}", figures)
    with pinned([sys.executable, "-m", "watchword.cli", "serve"], folder, f"{base}/token", **own):
        first = dict(line.split(" = ") for line in (folder / "profile.toml").read_text().splitlines())
        admin = first["client_id"].strip('"')
        for algorithm in ("ES256", "RS256"):
            identifier = f"{API}{algorithm}"
            watchword(
                folder,
                "api",
                "create",
                identifier,
                "--scope",
                "a:read",
                "--algorithm",
                algorithm,
                "--introspector",
                admin,
                **own,
            )
            app = watchword(folder, "app", "create", algorithm, "--grant", f"{identifier}=a:read", **own)
            basic = base64.b64encode(f"{app['client_id']}:{app['client_secret']}".encode()).decode()
            headers = {**form, "Authorization": f"Basic {basic}"}
            median = row(
                f"tokens, {algorithm}, SQLite, audit durable",
                load(folder, f"{base}/token", "grant_type=client_credentials", headers),
            )
            sys.stdout.write(f"| of the floor | {median / floors[algorithm]:.2f} | |\n")
            token = httpx.post(f"{base}/token", content="grant_type=client_credentials", headers=headers).json()[
                "access_token"
            ]
            secret = first["client_secret"].strip('"')
            asks = {**form, "Authorization": "Basic " + base64.b64encode(f"{admin}:{secret}".encode()).decode()}
            row(f"introspections, {algorithm}, seen before", load(folder, f"{base}/introspect", f"token={token}", asks))
    shutil.rmtree(folder)


main()
