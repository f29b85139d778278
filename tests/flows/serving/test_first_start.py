"""The first administrator: its secret has a place before it exists, and there is a way back in."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest
from tests.support.served import COMMAND, command_of, descendants, environment, serving, watchword

from watchword.jose import Algorithm, PrivateKey


def administrators(folder: Path) -> int:
    """How many applications the database has; 0 when it has no tables."""
    try:
        found = sqlite3.connect(folder / "watchword.db").execute("SELECT count(*) FROM application").fetchone()
    except sqlite3.OperationalError:
        return 0
    return int(found[0])


def ran(folder: Path, command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
    """One command, with exactly these variables."""
    return subprocess.run(command, cwd=folder, env=more, capture_output=True, text=True, check=False, timeout=120)


def numeric_user(*arguments: str) -> list[str]:
    """The command as a user without a name and without a home directory, as containers have it."""
    inside = ["env", "-u", "HOME", "-u", "XDG_CONFIG_HOME", *COMMAND, *arguments]
    return ["unshare", "--user", "--map-user=12345", "--map-group=12345", *inside]


def test_a_user_without_a_home_keeps_its_administrator(tmp_path: Path) -> None:
    """A container would make an administrator whose secret nobody has, and serve ever after."""
    ended = ran(tmp_path, numeric_user("init"), PATH=os.environ["PATH"])
    assert ended.returncode == 0, ended.stderr
    kept = tmp_path / "watchword-administrator.toml"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert str(kept) in ended.stderr
    secret = tomllib.loads(kept.read_text())["client_secret"]
    assert secret not in ended.stdout + ended.stderr, "what a service prints ends in a log"


def test_nothing_is_created_when_no_place_can_be_written(tmp_path: Path) -> None:
    """The administrator would exist, its secret would not, and the next start would serve."""
    (tmp_path / "watchword-administrator.toml").mkdir()
    refused = watchword(tmp_path, "init", WATCHWORD_PROFILE="/dev/full")
    assert refused.returncode == 1
    assert "WATCHWORD_ADMIN_SECRET_FILE" in refused.stderr
    assert administrators(tmp_path) == 0
    assert watchword(tmp_path, "init").returncode == 0
    assert administrators(tmp_path) == 1


def test_a_full_disk_for_profiles_is_no_lock_out(tmp_path: Path) -> None:
    """The secret would be cut off in the middle."""
    home = tmp_path / "profiles"
    home.mkdir()
    command = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs -o size=4k none "$0" && echo x > "$0/x"; exec "$@"',
    ]
    ended = ran(
        tmp_path, [*command, str(home), *COMMAND, "init"], PATH=os.environ["PATH"], XDG_CONFIG_HOME=str(home)
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    kept = tomllib.loads((tmp_path / "watchword-administrator.toml").read_text())
    assert kept["client_secret"].startswith("wwsec_")
    assert administrators(tmp_path) == 1


def test_a_secret_goes_to_the_file_that_was_named(tmp_path: Path) -> None:
    """A container would have to fish the secret out of its log."""
    named = tmp_path / "secret"
    ended = watchword(tmp_path, "init", WATCHWORD_ADMIN_SECRET_FILE=str(named))
    assert ended.returncode == 0, ended.stderr
    secret = named.read_text().strip()
    assert stat.S_IMODE(named.stat().st_mode) == 0o600
    assert secret.startswith("wwsec_")
    assert secret not in ended.stdout + ended.stderr
    assert not (tmp_path / "profile.toml").exists()


@pytest.mark.parametrize("there", ["file", "link"])
def test_a_file_that_exists_is_not_written(tmp_path: Path, there: str) -> None:
    """Somebody else's file would be overwritten, or a link would be followed to one."""
    named, other = tmp_path / "secret", tmp_path / "other"
    if there == "file":
        named.write_text("mine")
    else:
        named.symlink_to(other)
    refused = watchword(tmp_path, "init", WATCHWORD_ADMIN_SECRET_FILE=str(named))
    assert refused.returncode == 1
    assert administrators(tmp_path) == 0
    assert not other.exists()


def test_an_administrator_with_a_key_has_no_secret(tmp_path: Path) -> None:
    """Where secrets are forbidden, the first start would make one."""
    key = PrivateKey.generate(Algorithm.ES256)
    (tmp_path / "public.pem").write_text(key.public.to_pem())
    (tmp_path / "private.pem").write_bytes(key.to_pem())
    (tmp_path / "private.pem").chmod(0o600)
    with serving(tmp_path, WATCHWORD_ADMIN_KEY_FILE=str(tmp_path / "public.pem")) as base:
        log = (tmp_path / "serve.log").read_text()
        client_id = next(line.split()[1] for line in log.splitlines() if line.startswith("client_id"))
        known = {
            "WATCHWORD_ISSUER": f"{base}/t/default",
            "WATCHWORD_CLIENT_ID": client_id,
            "WATCHWORD_CLIENT_KEY_FILE": str(tmp_path / "private.pem"),
        }
        listed = watchword(tmp_path, "app", "list", "--json", **known)
    assert listed.returncode == 0, listed.stderr
    assert "wwsec_" not in log
    assert not (tmp_path / "profile.toml").exists()


@pytest.mark.parametrize(
    "content", ["", "not a key", "{}", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"]
)
def test_a_key_that_is_none_creates_nothing(tmp_path: Path, content: str) -> None:
    """The administrator would exist and never authenticate."""
    (tmp_path / "public.pem").write_text(content)
    refused = watchword(tmp_path, "init", WATCHWORD_ADMIN_KEY_FILE=str(tmp_path / "public.pem"))
    assert refused.returncode in (1, 2)
    assert "Traceback" not in refused.stderr
    assert administrators(tmp_path) == 0


def test_a_second_server_does_not_take_the_first_one_s_profile(tmp_path: Path) -> None:
    """`watchword serve` in another folder would delete the only credentials of another server's administrator."""
    two = tmp_path / "two"
    two.mkdir()
    assert watchword(tmp_path, "init").returncode == 0
    profile = tmp_path / "profile.toml"
    before = tomllib.loads(profile.read_text())
    second = watchword(two, "init", WATCHWORD_PROFILE=str(profile))
    assert second.returncode == 0
    after = tomllib.loads(profile.read_text())
    assert {name: after[name] for name in before} == before
    assert after["profiles"]["default-2"]["client_id"] != before["client_id"]
    assert "default-2" in second.stderr


def test_a_terminal_shows_the_secret(tmp_path: Path) -> None:
    """Somebody who tries it out would have to look for a file."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen([*COMMAND, "init"], cwd=tmp_path, env=environment(tmp_path), stdout=theirs, stderr=theirs)
    os.close(theirs)
    assert child.wait(120) == 0
    shown = os.read(ours, 65_536).decode()
    os.close(ours)
    assert tomllib.loads((tmp_path / "profile.toml").read_text())["client_secret"] in shown


def test_the_log_of_a_first_start_has_no_secret(tmp_path: Path) -> None:
    """The journal of a service keeps what it printed, for everybody who reads logs."""
    with serving(tmp_path):
        secret = tomllib.loads((tmp_path / "profile.toml").read_text())["client_secret"]
    assert secret not in (tmp_path / "serve.log").read_text()


def test_a_profile_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """The administrator's secret would be everybody's on that host."""
    assert watchword(tmp_path, "init").returncode == 0
    (tmp_path / "profile.toml").chmod(0o644)
    refused = watchword(tmp_path, "profile", "list")
    assert refused.returncode == 1
    assert "chmod 600" in refused.stderr


def test_a_lost_administrator_is_recovered(tmp_path: Path) -> None:
    """Without a way back in, a lost secret would mean a new installation."""
    with serving(tmp_path) as base:
        (tmp_path / "profile.toml").unlink()
        made = watchword(tmp_path, "admin", "recover", "--json", WATCHWORD_PUBLIC_URL=base)
        assert made.returncode == 0, made.stderr
        told = json.loads(made.stdout)
        known = {
            "WATCHWORD_ISSUER": told["issuer"],
            "WATCHWORD_CLIENT_ID": told["client_id"],
            "WATCHWORD_CLIENT_SECRET": told["client_secret"],
        }
        listed = watchword(tmp_path, "app", "list", "--json", **known)
        assert listed.returncode == 0, listed.stderr
        events = watchword(tmp_path, "audit", "tail").stdout
    assert '"AdministratorRecovered"' in events
    assert told["client_secret"] not in events
    assert watchword(tmp_path, "audit", "verify").returncode == 0


def test_recovery_needs_a_place_for_the_secret_too(tmp_path: Path) -> None:
    """Each failed try would leave an administrator that nobody can use or knows of."""
    assert watchword(tmp_path, "init").returncode == 0
    refused = watchword(tmp_path, "admin", "recover", "--secret-file", str(tmp_path / "nowhere" / "secret"))
    assert refused.returncode == 1
    assert administrators(tmp_path) == 1
    unknown = watchword(tmp_path, "admin", "recover", "--tenant", "nobody")
    assert unknown.returncode == 1
    assert "nobody" in unknown.stderr


def test_the_server_leaves_no_core(tmp_path: Path) -> None:
    """A crash would write signing keys and secrets to disk."""
    with serving(tmp_path, "--workers", "2"):
        serve = [pid for pid in descendants(os.getpid()) if b"spawn_main" in command_of(pid)]
        assert len(serve) >= 2
        limits = [Path(f"/proc/{pid}/limits").read_text() for pid in serve]
    assert all("Max core file size        0                    0" in text for text in limits)


def test_rotating_one_s_own_secret_keeps_the_way_in(tmp_path: Path) -> None:
    """The administrator's profile would hold a secret that ends in a day, and nobody would have the new one."""
    with serving(tmp_path):
        own = tomllib.loads((tmp_path / "profile.toml").read_text())
        turned = watchword(tmp_path, "app", "rotate", own["client_id"], "--overlap", "0", "--json")
        assert turned.returncode == 0, turned.stderr
        assert "no longer works" in turned.stderr
        assert watchword(tmp_path, "app", "list", "--json").returncode == 0
    after = tomllib.loads((tmp_path / "profile.toml").read_text())
    assert after["client_secret"] == json.loads(turned.stdout)["client_secret"] != own["client_secret"]
