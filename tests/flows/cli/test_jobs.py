"""Jobs as cron runs them: real processes, a real issuer, exit codes that a script can trust."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.flows.cli.test_command_line import COMMAND, environment, serving, watchword
from tests.support.counting_issuer import CountingIssuer, Reply, counting_issuer, token

ROOT = Path(__file__).resolve().parents[3]


def caller(folder: Path, issuer: CountingIssuer, **more: str) -> dict[str, str]:
    """What a job has in its environment."""
    return {
        "WATCHWORD_ISSUER": issuer.url,
        "WATCHWORD_CLIENT_ID": "an-id",
        "WATCHWORD_CLIENT_SECRET": "a-secret",
        "WATCHWORD_CACHE": str(folder / "cache"),
        **more,
    }


def test_a_hundred_runs_at_once_make_one_request(tmp_path: Path) -> None:
    """The full hour, when every cron job of a fleet's machine starts, would be a flood of token requests."""
    with serving(tmp_path):
        assert watchword(tmp_path, "api", "create", "https://rs1.example/", "--scope", "a:read").returncode == 0
        made = watchword(tmp_path, "app", "create", "nightly", "--grant", "https://rs1.example/=a:read", "--json")
        shown = json.loads(made.stdout)
        job = environment(
            tmp_path,
            WATCHWORD_CLIENT_ID=shown["client_id"],
            WATCHWORD_CLIENT_SECRET=shown["client_secret"],
            WATCHWORD_CACHE=str(tmp_path / "cache"),
        )
        command = [*COMMAND, "token", "--resource", "https://rs1.example/"]
        runs = [
            subprocess.Popen(command, cwd=tmp_path, env=job, stdout=subprocess.PIPE, text=True) for _n in range(100)
        ]
        printed = [run.communicate()[0] for run in runs]
        assert [run.returncode for run in runs] == [0] * 100
        assert len(set(printed)) == 1
        assert watchword(tmp_path, "inspect", printed[0].strip()).returncode == 0
        events = [json.loads(line) for line in watchword(tmp_path, "audit", "tail", "-n", "500").stdout.splitlines()]
        issued = [one for one in events if shown["client_id"] in json.dumps(one) and "TokenIssued" in json.dumps(one)]
        assert len(issued) == 1


@pytest.mark.parametrize(
    ("answer", "code", "word"),
    [
        pytest.param(token(1), 0, "", id="done"),
        pytest.param(Reply(401, b'{"error":"invalid_client"}'), 1, "invalid_client", id="refused"),
        pytest.param(Reply(503, headers={"retry-after": "3600"}), 75, "503", id="nobody there, try later"),
        pytest.param(Reply(200, b"<html>", {"content-type": "text/html"}), 1, "application/json", id="not an issuer"),
    ],
)
def test_exit_codes_of_token(tmp_path: Path, answer: Reply, code: int, word: str) -> None:
    """A script could not tell a wrong secret from an outage, and would retry the one and give up on the other."""
    with counting_issuer(lambda _n: answer) as issuer:
        ran = watchword(tmp_path, "token", **caller(tmp_path, issuer))
        assert (code, word in ran.stderr) == (ran.returncode, True)
        assert (ran.stdout == "token-1\n") == (code == 0)
        assert "a-secret" not in ran.stderr + ran.stdout


def test_no_cache_asks_each_time(tmp_path: Path) -> None:
    """After a change of grants an operator would see the old token and doubt the change."""
    with counting_issuer() as issuer:
        for n in (1, 2):
            ran = watchword(tmp_path, "token", "--no-cache", "--header", **caller(tmp_path, issuer))
            assert ran.stdout == f"Authorization: Bearer token-{n}\n"
        assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("command", "code"),
    [
        pytest.param([sys.executable, "-c", "raise SystemExit(7)"], 7, id="the program's own"),
        pytest.param([sys.executable, "-c", "import os; os.kill(os.getpid(), 15)"], 143, id="ended by a signal"),
        pytest.param(["./no-such-program"], 127, id="not found"),
        pytest.param(["/"], 126, id="cannot be started"),
    ],
)
@pytest.mark.parametrize("mode", [pytest.param([], id="environment"), pytest.param(["--file"], id="file")])
def test_exit_codes_of_run(tmp_path: Path, mode: list[str], command: list[str], code: int) -> None:
    """A failed job would look like a done one to cron, systemd and Kubernetes."""
    with counting_issuer() as issuer:
        ran = watchword(tmp_path, "run", *mode, "--", *command, **caller(tmp_path, issuer))
        # Without --file the program takes our place, and what a shell calls 143 is Python's -15.
        assert ran.returncode in ({code} if code < 128 or mode else {code, 128 - code})


@pytest.mark.parametrize("verb", [["run", "--", "true"], ["curl", "--", "http://127.0.0.1:9/"]], ids=["run", "curl"])
def test_without_a_token_nothing_starts(tmp_path: Path, verb: list[str]) -> None:
    """The job would run without its token, or its failure be mistaken for the program's."""
    with counting_issuer(lambda _n: Reply(401, b'{"error":"invalid_client"}')) as issuer:
        assert watchword(tmp_path, *verb, **caller(tmp_path, issuer)).returncode == 125
    assert watchword(tmp_path, *verb, WATCHWORD_CACHE=str(tmp_path / "cache")).returncode == 125


def test_run_gives_a_token_and_nothing_more(tmp_path: Path) -> None:
    """A child that inherits the secret can get tokens for ever, for every API; one that has a token, for minutes."""
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    with counting_issuer() as issuer:
        ran = watchword(
            tmp_path, "run", "--env", "TOKEN", "--", sys.executable, "-c", program, **caller(tmp_path, issuer)
        )
        seen = json.loads(ran.stdout)
        assert (seen["TOKEN"], seen["WATCHWORD_ISSUER"]) == ("token-1", issuer.url)
        assert "a-secret" not in ran.stdout


RENEWED = """
import os, pathlib, stat, threading
place = pathlib.Path(os.environ["WATCHWORD_TOKEN_FILE"])
first, mode = place.read_text(), stat.S_IMODE(place.stat().st_mode)
while place.read_text() == first:
    threading.Event().wait(0.05)
print(place, oct(mode), first, place.read_text())
"""


def test_run_renews_the_file_while_the_program_runs(tmp_path: Path) -> None:
    """A job of hours would fail when its first token expires."""
    with counting_issuer(lambda n: token(n, expires_in=2 if n == 1 else 300)) as issuer:
        ran = watchword(
            tmp_path,
            "run",
            "--file",
            "--",
            sys.executable,
            "-c",
            RENEWED,
            **caller(tmp_path, issuer),
            TMPDIR=str(tmp_path),
        )
        place, *told = ran.stdout.split()
        assert told == ["0o600", "token-1", "token-2"]
        assert not Path(place).exists(), "the token stays on disk after the job"


def test_run_forwards_signals(tmp_path: Path) -> None:
    """`systemctl stop` would end us and leave the job running."""
    program = (
        "import signal, sys, threading; got = threading.Event(); signal.signal(signal.SIGTERM, lambda *_: got.set());"
        "print('ready', flush=True); got.wait(60); sys.exit(9 if got.is_set() else 1)"
    )
    with counting_issuer() as issuer:
        child = subprocess.Popen(
            [*COMMAND, "run", "--file", "--", sys.executable, "-c", program],
            env=environment(tmp_path, **caller(tmp_path, issuer)),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 9
        child.stdout.close()


def test_curl_adds_the_header_and_hides_it(tmp_path: Path) -> None:
    """A token on the command line is in every `ps` of the machine."""
    lists = tmp_path / "bin"
    lists.mkdir()
    real = shutil.which("curl")
    assert real is not None, "curl is missing: .ci/prepare servers"
    (lists / "curl").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\nexec {real} "$@"\n')
    (lists / "curl").chmod(0o755)
    path = f"{lists}:{os.environ['PATH']}"
    with counting_issuer() as issuer:
        issuer.good = "token-1"
        url = f"{issuer.url}/api"
        ran = watchword(tmp_path, "curl", "--", "-sf", url, **caller(tmp_path, issuer), PATH=path)
        assert (ran.returncode, ran.stdout, issuer.called) == (0, "{}", ["Bearer token-1"])
        assert "token-1" not in (tmp_path / "arguments").read_text()
        issuer.good = None
        assert watchword(tmp_path, "curl", "--", "-sf", url, **caller(tmp_path, issuer)).returncode == 22
        clear = watchword(tmp_path, "curl", "--", "http://api.example/", **caller(tmp_path, issuer))
        assert (clear.returncode, "https" in clear.stderr) == (2, True)


def test_profiles(tmp_path: Path) -> None:
    """Who works with two issuers would send the secret of one to the other."""
    with counting_issuer() as one, counting_issuer(lambda n: token(n + 10)) as two:

        def ran(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
            settings = environment(tmp_path, WATCHWORD_CACHE=str(tmp_path / "cache"), **more)
            command = [*COMMAND, *arguments]
            return subprocess.run(
                command, cwd=tmp_path, env=settings, input="a-secret\n", capture_output=True, text=True, check=False
            )

        assert ran("profile", "set", "one", "--issuer", one.url, "--client-id", "an-id").returncode == 0
        (tmp_path / "two.secret").write_text("other")
        secret_file = ["--secret-file", str(tmp_path / "two.secret")]
        assert ran("profile", "set", 'tw"o', "--issuer", two.url, "--client-id", "an-id", *secret_file).returncode == 0
        assert stat.S_IMODE((tmp_path / "profile.toml").stat().st_mode) == 0o600
        assert ran("token").returncode == 1
        assert ran("profile", "use", "one").returncode == 0
        assert ran("token").stdout == "token-1\n"
        assert ran("token", "--profile", 'tw"o').stdout == "token-11\n"
        assert ran("token", WATCHWORD_PROFILE_NAME='tw"o').stdout == "token-11\n"
        assert ran("token", "--profile", "one", WATCHWORD_ISSUER=two.url).stdout == "token-1\n"
        listed = json.loads(ran("profile", "list", "--json").stdout)
        assert [(p["name"], p["current"]) for p in listed] == [("one", True), ('tw"o', False)]
        shown = ran("profile", "show", "one").stdout + ran("profile", "show", "--json").stdout
        assert one.url in shown
        assert "a-secret" not in shown + ran("profile", "list").stdout
        for unknown in (["profile", "use", "x"], ["profile", "show", "x"], ["profile", "remove", "x"]):
            assert ran(*unknown).returncode == 2
        assert ran("token", "--profile", "x").returncode == 2
        assert ran("profile", "set", "bad", "--issuer", "https://good@evil/", "--client-id", "i").returncode == 2
        assert ran("profile", "remove", "one").returncode == 0
        assert [p["name"] for p in json.loads(ran("profile", "list", "--json").stdout)] == ['tw"o']


def test_init_keeps_the_other_profiles(tmp_path: Path) -> None:
    """Trying the server out would delete the credentials of production."""
    (tmp_path / "profile.toml").write_text(
        'current = "prod"\n[profiles.prod]\nissuer = "https://id.example"\nclient_id = "i"\nclient_secret = "s"\n'
    )
    (tmp_path / "profile.toml").chmod(0o600)
    assert watchword(tmp_path, "init").returncode == 0
    names = [one["name"] for one in json.loads(watchword(tmp_path, "profile", "list", "--json").stdout)]
    assert names == ["default", "prod"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(tmp_path: Path, shell: str) -> None:
    """Verbs and profiles would have to be known by heart."""
    program = str(Path(sys.executable).parent / "watchword")
    (tmp_path / "profile.toml").write_text('[profiles.staging]\nissuer = "https://id.example"\n')

    def ran(**more: str) -> str:
        command = subprocess.run(
            [program], env=environment(tmp_path, **more), capture_output=True, text=True, check=False
        )
        return command.stdout

    assert "watchword" in ran(_WATCHWORD_COMPLETE=f"source_{shell}")
    asked = "watchword token --profile st"
    words = {"COMP_WORDS": asked, "COMP_CWORD": "3", "_TYPER_COMPLETE_ARGS": asked}
    shown = ran(_WATCHWORD_COMPLETE=f"complete_{shell}", _TYPER_COMPLETE_FISH_ACTION="get-args", **words)
    assert "staging" in shown


def test_the_systemd_example_is_valid() -> None:
    """An example that systemd refuses is found out at two in the night."""
    program = shutil.which("systemd-analyze")
    if program is None and not os.environ.get("CI"):
        pytest.skip("systemd is not here")
    assert program is not None, "systemd-analyze is missing: .ci/prepare servers"
    units = [str(unit) for unit in sorted((ROOT / "examples" / "systemd").iterdir())]
    assert len(units) == 2
    ran = subprocess.run([program, "verify", "--man=no", *units], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_kubernetes_example_gets_its_token(tmp_path: Path) -> None:
    """An example whose command or variables are not ours any more would fail in the cluster only."""
    job = yaml.safe_load((ROOT / "examples" / "kubernetes" / "cronjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    given = {one["name"]: one["value"] for one in container["env"]}
    (tmp_path / "client-secret").write_text("a-secret")
    assert given["WATCHWORD_CLIENT_SECRET_FILE"].endswith("/client-secret")
    program = [sys.executable, "-c", "import os; print(open(os.environ['WATCHWORD_TOKEN_FILE']).read())"]
    with counting_issuer() as issuer:
        here = {
            **given,
            "WATCHWORD_ISSUER": issuer.url,
            "WATCHWORD_CLIENT_SECRET_FILE": str(tmp_path / "client-secret"),
            "WATCHWORD_CACHE": str(tmp_path / "cache"),
        }
        command = container["command"]
        assert (command[0], command[-2:]) == ("watchword", ["--", "/app/report"])
        ran = watchword(tmp_path, *command[1:-1], *program, **here)
        assert (ran.returncode, ran.stdout) == (0, "token-1\n"), ran.stderr
