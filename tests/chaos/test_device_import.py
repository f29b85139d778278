"""An import whose server and whose command are killed in the middle: the same command again, and nothing is lost."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import httpx
import pyrage
from tests.support.served import COMMAND, environment, free_port, serving, watchword

DEVICES = 4_000


def registered(folder: Path) -> int:
    """How many devices are in the database."""
    with sqlite3.connect(folder / "watchword.db") as database:
        return int(database.execute("SELECT count(*) FROM claim WHERE kind = 'serial'").fetchone()[0])


def until(folder: Path, least: int, child: subprocess.Popen[bytes]) -> None:
    """Until so many are registered, or the child ended."""
    ends = time.monotonic() + 60
    while registered(folder) < least and child.poll() is None and time.monotonic() < ends:
        pass


def test_killed_in_the_middle_and_run_again(tmp_path: Path) -> None:
    """Devices would be registered whose secrets nobody has, or be there twice, or some not at all."""
    identity, port = pyrage.x25519.Identity.generate(), free_port()
    (tmp_path / "identity.txt").write_text(f"{identity}\n")
    (tmp_path / "list.csv").write_text("serial\n" + "".join(f"SN-{n:05}\n" for n in range(DEVICES)))
    into = "--bundle", "bundle", "--recipient", str(identity.to_public()), "--json"
    command = "device", "import", "list.csv", "--patience", "0", *into
    assert watchword(tmp_path, "init", WATCHWORD_PORT=str(port)).returncode == 0

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        quiet = subprocess.DEVNULL
        return subprocess.Popen(
            [*COMMAND, *arguments], cwd=tmp_path, env=environment(tmp_path), stdout=quiet, stderr=quiet
        )

    server = start("serve", "--port", str(port))
    try:
        _answering(port)
        client = start(*command)
        until(tmp_path, 1, client)
        os.kill(server.pid, signal.SIGKILL)
        assert client.wait(60) == 1, "the command goes on without a server"
    finally:
        server.kill()
        server.wait()
    assert 0 < registered(tmp_path) < DEVICES
    with serving(tmp_path) as base:
        issuer = {"WATCHWORD_ISSUER": f"{base}/t/default"}
        before = registered(tmp_path)
        client = subprocess.Popen(
            [*COMMAND, *command], cwd=tmp_path, env=environment(tmp_path, **issuer), stdout=subprocess.DEVNULL
        )
        until(tmp_path, before + 1, client)
        client.kill()
        client.wait()
        assert (tmp_path / "bundle" / "import.json").exists()
        last = watchword(tmp_path, *command, **issuer)
        assert last.returncode == 0, last.stderr
        counted = json.loads(last.stdout)
        assert counted["created"] + counted["exists"] == DEVICES
        assert counted["exists"] > 0
        shown = watchword(tmp_path, "device", "bundle", "open", "bundle", "--identity", "identity.txt").stdout
        known = {row["serial"]: row for row in csv.DictReader(io.StringIO(shown))}
        assert len(known) == DEVICES == registered(tmp_path)
        for serial in ("SN-00000", "SN-00499", f"SN-{DEVICES - 1:05}"):
            pair = known[serial]["client_id"], known[serial]["client_secret"]
            form = {"grant_type": "client_credentials"}
            assert httpx.post(f"{base}/t/default/token", data=form, auth=pair).json()["error"] == "invalid_target"
    assert not (tmp_path / "bundle" / "import.json").exists()
    assert watchword(tmp_path, "audit", "verify").returncode == 0


def test_a_server_that_comes_back_is_asked_again(tmp_path: Path) -> None:
    """A restart of the server would end an import of hours; or each batch on its way tell the same outage."""
    identity, port = pyrage.x25519.Identity.generate(), free_port()
    (tmp_path / "list.csv").write_text("serial\n" + "".join(f"SN-{n:05}\n" for n in range(DEVICES)))
    into = "--bundle", "bundle", "--recipient", str(identity.to_public()), "--json"
    assert watchword(tmp_path, "init", WATCHWORD_PORT=str(port)).returncode == 0

    def server() -> subprocess.Popen[bytes]:
        quiet = subprocess.DEVNULL
        return subprocess.Popen(
            [*COMMAND, "serve", "--port", str(port)],
            cwd=tmp_path,
            env=environment(tmp_path),
            stdout=quiet,
            stderr=quiet,
        )

    first = server()
    second = None
    try:
        _answering(port)
        with (tmp_path / "told").open("w") as told:
            client = subprocess.Popen(
                [*COMMAND, "device", "import", "list.csv", *into], cwd=tmp_path, env=environment(tmp_path),
                stdout=subprocess.PIPE, stderr=told,
            )  # fmt: skip
        until(tmp_path, 1, client)
        first.kill()
        first.wait()
        assert 0 < registered(tmp_path) < DEVICES
        second = server()
        said, _ = client.communicate(timeout=90)
        assert client.returncode == 0, (tmp_path / "told").read_text()
    finally:
        for child in (first, second):
            if child is not None:
                child.kill()
                child.wait()
    counted = json.loads(said)
    assert counted["created"] + counted["exists"] == DEVICES == registered(tmp_path)
    assert (tmp_path / "told").read_text().count("asking again") == 1


def _answering(port: int) -> None:
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200:
                return
        except httpx.HTTPError:
            continue
    raise AssertionError("the server does not answer")
