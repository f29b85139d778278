"""The command as its users meet it: a real process, a real folder, exit codes."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import stat
import subprocess
from pathlib import Path

import httpx
import pytest
from tests.support.served import COMMAND, environment, free_port, serving, watchword


def test_the_demo_holds(tmp_path: Path) -> None:
    """The main job, from end to end, would not work for whoever tries it first."""
    ran = watchword(tmp_path, "demo")
    assert ran.returncode == 0, ran.stderr
    assert "Every step held" in ran.stderr


def test_a_newcomer_gets_a_token(tmp_path: Path) -> None:
    """ADM-020: serve, register, ask, inspect: the first five minutes would not hold, or leave open files."""
    with serving(tmp_path):
        assert stat.S_IMODE((tmp_path / "profile.toml").stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "watchword.key").stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "watchword.db").stat().st_mode) == 0o600
        made = watchword(tmp_path, "api", "create", "https://rs1.example/", "--scope", "a:read", "--json")
        assert made.returncode == 0, made.stderr
        app = watchword(tmp_path, "app", "create", "nightly", "--grant", "https://rs1.example/=a:read", "--json")
        shown = json.loads(app.stdout)
        credentials = {"WATCHWORD_CLIENT_ID": shown["client_id"], "WATCHWORD_CLIENT_SECRET": shown["client_secret"]}
        got = watchword(tmp_path, "token", **credentials)
        assert got.returncode == 0, got.stderr
        told = watchword(tmp_path, "inspect", got.stdout.strip(), "--json")
        assert told.returncode == 0
        assert json.loads(told.stdout)["claims"]["scope"] == "a:read"
        wrong = watchword(tmp_path, "inspect", got.stdout.strip(), "--audience", "https://rs2.example/")
        assert wrong.returncode == 1
        assert "rs2" in wrong.stderr
        assert watchword(tmp_path, "token", WATCHWORD_CLIENT_SECRET="wrong").returncode == 1
        assert watchword(tmp_path, "audit", "verify").returncode == 0
        assert watchword(tmp_path, "doctor").returncode == 0
        for group in ("app", "api", "role", "key", "tenant"):
            assert isinstance(json.loads(watchword(tmp_path, group, "list", "--json").stdout), list)


def test_a_name_is_shown_as_it_is(tmp_path: Path) -> None:
    """A name with square brackets would be read as markup: one application could break the whole list."""
    with serving(tmp_path):
        assert watchword(tmp_path, "app", "create", "[/bold]").returncode == 0
        listed = watchword(tmp_path, "app", "list")
    assert listed.returncode == 0, listed.stderr
    assert "[/bold]" in listed.stdout


def test_init_happens_once(tmp_path: Path) -> None:
    """ADM-022: a second start would hand out a second administrator."""
    first = watchword(tmp_path, "init", "--json")
    assert json.loads(first.stdout)["client_secret"].startswith("wwsec_")
    again = watchword(tmp_path, "init", "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout) == {"created": False}


def test_two_first_starts_make_one_administrator(tmp_path: Path) -> None:
    """ADM-022: two nodes at once would make two administrators, one of them unknown to the operator."""
    command = [*COMMAND, "init", "--json"]
    both = [
        subprocess.Popen(command, cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.PIPE, text=True)
        for _ in "ab"
    ]
    answers = [process.communicate()[0] for process in both]
    assert sum("client_secret" in answer for answer in answers) == 1


def test_another_master_key_is_refused(tmp_path: Path) -> None:
    """ROT-011: new keys would be made over the old, and every token would break."""
    assert watchword(tmp_path, "init").returncode == 0
    before = sqlite3.connect(tmp_path / "watchword.db").execute("SELECT count(*) FROM signing_key").fetchone()
    (tmp_path / "watchword.key").write_text("ab" * 32)
    refused = watchword(tmp_path, "serve", "--port", str(free_port()))
    assert refused.returncode == 1
    assert "master key" in refused.stderr
    assert sqlite3.connect(tmp_path / "watchword.db").execute("SELECT count(*) FROM signing_key").fetchone() == before


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        pytest.param(("--host", "0.0.0.0", "--debug"), "debug", id="LOG-008 debug off loopback"),
        pytest.param(("--host", "0.0.0.0"), "plain HTTP", id="plain HTTP off loopback"),
        pytest.param(("--host", "0.0.0.0", "--behind-proxy"), "plain HTTP", id="a proxy without a name"),
        pytest.param(("--database", "mysql://x"), "sqlite", id="an unknown database"),
        pytest.param(("--tls-cert", "x"), "both", id="half of TLS"),
    ],
)
def test_unsafe_settings_do_not_start(tmp_path: Path, arguments: tuple[str, ...], word: str) -> None:
    """A server that is open by mistake."""
    refused = watchword(tmp_path, "serve", *arguments)
    assert refused.returncode == 2
    assert word in refused.stderr


def test_two_workers_serve_one_database(tmp_path: Path) -> None:
    """CRS-013: with several workers a change would be seen by some of them only, or the file would be corrupted."""
    with serving(tmp_path, "--workers", "2") as base:
        profile = dict(line.split(" = ") for line in (tmp_path / "profile.toml").read_text().splitlines())
        credentials = (profile["client_id"].strip('"'), profile["client_secret"].strip('"'))
        form = {"grant_type": "client_credentials"}
        for _ in range(40):
            assert httpx.post(f"{base}/t/default/token", data=form, auth=credentials).status_code == 200
    assert watchword(tmp_path, "audit", "verify").returncode == 0


async def raw(base: str, *pieces: bytes) -> bytes:
    """What the server answers to these bytes."""
    port = int(base.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
    await writer.drain()
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return head


def test_floods_get_an_answer(tmp_path: Path) -> None:
    """TEP-034 TEP-038 TEP-040 CAU-033 LOG-007: a flood would cost memory, time, or a trace on the wire."""
    post = b"POST /t/default/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    flood = b"".join(b"X-%d: y\r\n" % n for n in range(200))
    with serving(tmp_path) as base:
        cases = [
            (b" 400 ", post + flood + b"Content-Length: 0\r\n\r\n"),
            (b" 400 ", post + b"Authorization: " + b"A" * 65_536 + b"\r\nContent-Length: 0\r\n\r\n"),
            (b" 413 ", post + b"Content-Length: 65537\r\n\r\n" + b"a" * 65_537),
            (b" 400 ", post + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08"),
            (b" 404 ", b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"),
            (b" 405 ", b"TRACE /t/default/token HTTP/1.1\r\nHost: x\r\n\r\n"),
        ]
        for wanted, request in cases:
            head = asyncio.run(raw(base, request))
            assert wanted in head.split(b"\r\n")[0] + b" ", head
            assert b"server:" not in head.lower()
            assert b"x-content-type-options: nosniff" in head.lower()
        answer = httpx.post(
            f"{base}/t/default/token", data={"grant_type": "client_credentials"}, auth=("nobody", "x" * 1_048_576)
        )
        assert answer.status_code == 401


def test_a_slow_body_is_dropped(tmp_path: Path) -> None:
    """TEP-039: two hundred idle connections would hold the server for nothing."""
    post = b"POST /t/default/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    with serving(tmp_path, WATCHWORD_BODY_TIMEOUT="0.3") as base:
        for begun in (b"", b"g"):
            head = asyncio.run(raw(base, post + b"Content-Length: 10\r\n\r\n" + begun))
            assert b" 408 " in head.split(b"\r\n")[0] + b" ", head
            assert b"connection: close" in head.lower()
