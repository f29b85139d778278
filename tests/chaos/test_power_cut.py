"""A power cut, as far as one can be had without a device that records writes: the files as they are at a moment.

The server is stopped where it stands, its database and write-ahead log are copied without the shared memory, and what
was not synchronised yet, the log behind its last commit, is spoilt in the copy. SQLite's own recovery does the rest.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
from pathlib import Path

import httpx
from tests.chaos.test_kill import API, Acknowledged, _registered, changes, tokens, until_gone
from tests.support.served import COMMAND, environment, free_port, ready, serving, watchword

CUTS = 6
_FILE_HEADER, _FRAME_HEADER = 32, 24


def after_last_commit(log: bytes) -> int:
    """The offset behind the last frame that ends a transaction (sqlite.org/fileformat2.html, section 4)."""
    if len(log) < _FILE_HEADER:
        return len(log)
    page = struct.unpack(">I", log[8:12])[0]
    salts, place, committed = log[16:24], _FILE_HEADER, _FILE_HEADER
    while len(log) >= place + _FRAME_HEADER + page and log[place + 8 : place + 16] == salts:
        ends = struct.unpack(">I", log[place + 4 : place + 8])[0]
        place += _FRAME_HEADER + page
        committed = place if ends else committed
    return committed


def cut(folder: Path, copy: Path, chance: random.Random) -> None:
    """What a disk would hold if the next commit was being written."""
    copy.mkdir()
    for name in ("watchword.db", "watchword.key", "profile.toml"):
        shutil.copy2(folder / name, copy / name)
    log = (folder / "watchword.db-wal").read_bytes()
    kept = log[: after_last_commit(log)]
    (copy / "watchword.db-wal").write_bytes(kept + chance.randbytes(chance.randrange(6_000)))


def check(copy: Path, done: Acknowledged) -> None:
    """All that was acknowledged until then is there, and whole."""
    with sqlite3.connect(copy / "watchword.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert done.revoked <= {row[0] for row in database.execute("SELECT token_id FROM revoked")}
        assert done.created <= {row[0] for row in database.execute("SELECT id FROM application")}
    database.close()
    recorded = watchword(copy, "audit", "export").stdout
    missing = [each for each in done.tokens if each not in recorded]
    assert not missing, f"{len(missing)} of {len(done.tokens)} acknowledged tokens are not on record"
    assert watchword(copy, "audit", "verify").returncode == 0


async def under_load(folder: Path, port: int, admin: tuple[str, str], app: tuple[str, str], rotated: str) -> list[Path]:
    """The copies, each checked against what was acknowledged before it was made."""
    base, done, chance, copies = f"http://127.0.0.1:{port}", Acknowledged(), random.Random(11), []
    with (folder / "serve.log").open("a") as log:
        child = subprocess.Popen(
            [*COMMAND, "serve", "--port", str(port)], cwd=folder, env=environment(folder), stdout=log, stderr=log
        )
    try:
        await ready(base)
        async with httpx.AsyncClient(timeout=30) as http:
            work = [tokens(http, base, app, done) for _ in range(8)] + [changes(http, base, admin, rotated, done)]
            running = [asyncio.ensure_future(until_gone(each)) for each in work]
            for n in range(CUTS):
                await asyncio.sleep(chance.uniform(0.1, 0.8))
                os.kill(child.pid, signal.SIGSTOP)
                cut(folder, folder / f"cut-{n}", chance)
                check(folder / f"cut-{n}", done)
                os.kill(child.pid, signal.SIGCONT)
                copies.append(folder / f"cut-{n}")
            os.kill(child.pid, signal.SIGKILL)
            await asyncio.gather(*running)
        assert len(done.tokens) > 100
        assert done.revoked
        assert done.created
    finally:
        child.kill()
        child.wait()
    return copies


def test_a_power_cut_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """CRS-011: answers would have left before their commit was on disk, or a torn one would damage the database."""
    port = free_port()
    first = json.loads(watchword(tmp_path, "init", "--json", WATCHWORD_PORT=str(port)).stdout)
    app, rotated = _registered(tmp_path, port)
    copies = asyncio.run(under_load(tmp_path, port, (first["client_id"], first["client_secret"]), app, rotated[0]))
    with serving(copies[-1]) as base, httpx.Client() as http:
        form = {"grant_type": "client_credentials", "resource": API}
        assert http.post(f"{base}/t/default/token", data=form, auth=app).status_code == 200


def test_the_log_is_read_as_sqlite_reads_it(tmp_path: Path) -> None:
    """Otherwise the cut would spoil what was synchronised, or nothing, and prove something else."""
    with sqlite3.connect(tmp_path / "w.db", isolation_level=None) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE t (n)")
        for n in range(20):
            database.execute("INSERT INTO t VALUES (?)", (n,))
        log = (tmp_path / "w.db-wal").read_bytes()
        assert after_last_commit(log) == len(log)
        page = struct.unpack(">I", log[8:12])[0]
        for lost in (1, page, page + _FRAME_HEADER):
            assert after_last_commit(log[:-lost]) == len(log) - page - _FRAME_HEADER
        shorter = tmp_path / "copy"
        shorter.mkdir()
        shutil.copy2(tmp_path / "w.db", shorter / "w.db")
        (shorter / "w.db-wal").write_bytes(log[:-1])
        copied = sqlite3.connect(shorter / "w.db")
        assert copied.execute("SELECT count(*) FROM t").fetchone() == (19,)
        copied.close()
    database.close()
