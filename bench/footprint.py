"""How long it takes to start, and how much memory it takes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

from watchword.client.token import AccessToken, hold

from .load import answers, free_port

TOKENS = 100_000
_IMPORT = "import time; t = time.perf_counter(); import watchword.client; print((time.perf_counter() - t) * 1e3)"


def import_time(rounds: int) -> list[float]:
    """Milliseconds of `import watchword.client` in a fresh process."""
    runs = [
        subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=True)
        for _ in range(rounds)
    ]
    return [float(run.stdout) for run in runs]


def start_time(rounds: int) -> list[float]:
    """Seconds from `watchword serve` to the first answer, on a database that exists."""
    folder, port = Path(tempfile.mkdtemp()), free_port()
    environment = {"WATCHWORD_PROFILE": str(folder / "profile.toml"), "PATH": "/usr/bin:/bin"}
    subprocess.run([sys.executable, "-m", "watchword.cli", "init", "--json"], cwd=folder, env=environment,
                   capture_output=True, check=True)  # fmt: skip
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        with (folder / "log").open("w") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "watchword.cli", "serve", "--port", str(port)], cwd=folder, env=environment,
                stdout=log, stderr=log,
            )  # fmt: skip
        answers(child, f"http://127.0.0.1:{port}/health/ready")
        found.append(time.perf_counter() - began)
        child.terminate()
        child.wait(15)
    return found


def resident(pid: int) -> float:
    """Megabytes of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def cached_tokens() -> float:
    """Megabytes of as many tokens in the client's memory, each 700 characters."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    held = {n: hold(AccessToken(f"{n:0700}", 1e9 + n, "a:read"), asked_at=0.0, chance=0.5) for n in range(TOKENS)}
    size = (tracemalloc.get_traced_memory()[0] - before) / 1e6
    tracemalloc.stop()
    assert len(held) == TOKENS
    return size
