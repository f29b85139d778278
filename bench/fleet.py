"""A fleet: a list of devices through the command line, HTTP and storage, into a bundle of secrets.

Wall seconds, and beside them the CPU seconds of both sides, which a busy machine does not change as much.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import pyrage

from .servers import Ours, watchword
from .table import Row, heading, show

BARS = {"SQLite": 60.0, "PostgreSQL": 30.0}
"""Seconds for 100,000 devices on a quiet machine."""


def main(arguments: list[str]) -> int:
    """0 when every device was registered."""
    parser = argparse.ArgumentParser(prog="python -m bench fleet", description=__doc__)
    parser.add_argument("--devices", type=int, default=100_000)
    parser.add_argument("--database", choices=BARS, action="append")
    given = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp())
    try:
        for database in given.database or BARS:
            _measured(folder / database, database, given.devices)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _measured(folder: Path, database: str, count: int) -> None:
    from tests.support.postgres import Postgres

    with ExitStack() as stack:
        url = ""
        if database == "PostgreSQL":
            cluster = Postgres.start(own=True)
            stack.callback(cluster.stop)
            url = cluster.fresh_database()
        ours = stack.enter_context(watchword(folder, "ES256", database=url))
        heading(f"{count} devices with a secret each, {database}; load of the machine {os.getloadavg()[0]:.1f}")
        bar = BARS[database] * count / 100_000
        _shown("import", _imported(ours, count), bar)
        _shown("disable by label", _timed(ours, ["disable", "--label", "region=eu", "--yes", "--json"]))


def _shown(what: str, seconds: tuple[float, float, float], bar: float | None = None) -> None:
    wall, client, server = seconds
    show(
        Row(f"{what}, seconds", [wall], " s", bar, most=True),
        Row(f"{what}, CPU of the command", [client], " s"),
        Row(f"{what}, CPU of the server", [server], " s"),
    )


def _imported(ours: Ours, count: int) -> tuple[float, float, float]:
    """Wall seconds, and CPU seconds of the command and of the server."""
    lines = "".join(f"SN-{number:08},,https://es256.example/=a:read,eu\n" for number in range(count))
    (ours.folder / "list.csv").write_text("serial,name,grants,label:region\n" + lines)
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    return _timed(ours, ["import", "list.csv", "--bundle", "bundle", "--recipient", recipient, "--json"])


def _timed(ours: Ours, arguments: list[str]) -> tuple[float, float, float]:
    """`watchword device` with these: wall seconds, and CPU seconds of the command and of the server."""
    command = [sys.executable, "-m", "watchword.cli", "device", *arguments]
    before, busy, began = _children(), cpu_of(ours.pid), time.monotonic()
    subprocess.run(
        command, cwd=ours.folder, env={**os.environ, **ours.environment}, check=True, stdout=subprocess.DEVNULL
    )
    return time.monotonic() - began, _children() - before, cpu_of(ours.pid) - busy


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cpu_of(pid: int) -> float:
    """Seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
