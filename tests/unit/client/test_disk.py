"""Tokens on disk: who can read them, what is believed, and that a cache never makes anything fail."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import BaseFileLock, FileLock
from tests.support.counting_issuer import counting_issuer

from watchword.client import ClientCredentials, Clock, DiskCache, Network, Secret

KEY = Secret("ab" * 32)


def files(folder: Path) -> list[Path]:
    """The tokens' files."""
    return [path for path in folder.iterdir() if not path.name.startswith("lock-")]


@pytest.mark.parametrize("key", [pytest.param(None, id="plain"), pytest.param(KEY, id="sealed")])
def test_only_the_user_can_read_it(tmp_path: Path, key: Secret | None) -> None:
    """Whoever shares the machine would have the token; with a keyring, whoever has a copy of the disk."""
    folder = tmp_path / "cache"
    with counting_issuer() as issuer:
        cache = DiskCache(folder, key)
        auth = ClientCredentials(issuer.url, "an-id", "a-secret", cache=cache)
        auth.token()
        (kept,) = files(folder)
        assert (stat.S_IMODE(kept.stat().st_mode), stat.S_IMODE(folder.stat().st_mode)) == (0o600, 0o700)
        content = kept.read_bytes()
        assert (b"token-1" in content) == (key is None)
        assert b"a-secret" not in content
        again = ClientCredentials(issuer.url, "an-id", "a-secret", cache=DiskCache(folder, key))
        assert (again.token().value, len(issuer.asked)) == ("token-1", 1)


def test_another_secret_finds_nothing(tmp_path: Path) -> None:
    """A job with a wrong secret would work by luck, and stop working in the night."""
    with counting_issuer() as issuer:
        for secret in ("right", "wrong"):
            ClientCredentials(issuer.url, "an-id", secret, cache=DiskCache(tmp_path / "cache")).token()
        assert len(issuer.asked) == 2


@pytest.mark.parametrize(
    ("change", "key"),
    [
        pytest.param(lambda p: p.write_bytes(p.read_bytes()[:-1] + b"x"), KEY, id="one byte of a sealed file"),
        pytest.param(
            lambda p: p.write_bytes(b'{"value":"evil","exp":9e9,"scope":null,"renew":9e9}'), KEY, id="planted"
        ),
        pytest.param(lambda p: p.write_bytes(b"{"), None, id="half a file"),
        pytest.param(lambda p: p.write_bytes(b"[]"), None, id="not an object"),
        pytest.param(lambda p: p.write_bytes(b""), None, id="empty"),
        pytest.param(lambda p: p.chmod(0o644), None, id="open to others"),
    ],
)
def test_what_cannot_be_trusted_is_not_there(tmp_path: Path, change: object, key: Secret | None) -> None:
    """A damaged or planted file would crash every job, or hand it the token of another."""
    with counting_issuer() as issuer:
        folder = tmp_path / "cache"
        ClientCredentials(issuer.url, "an-id", "a-secret", cache=DiskCache(folder, key)).token()
        change(files(folder)[0])  # type: ignore[operator]
        again = ClientCredentials(issuer.url, "an-id", "a-secret", cache=DiskCache(folder, key))
        assert again.token().value == "token-2"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A link in the folder would make us read what another wrote elsewhere."""
    with counting_issuer() as issuer:
        folder = tmp_path / "cache"
        ClientCredentials(issuer.url, "an-id", "a-secret", cache=DiskCache(folder)).token()
        (kept,) = files(folder)
        kept.rename(tmp_path / "elsewhere")
        kept.symlink_to(tmp_path / "elsewhere")
        assert ClientCredentials(issuer.url, "an-id", "a-secret", cache=DiskCache(folder)).token().value == "token-2"


@pytest.mark.parametrize("obstacle", ["a file in its place", "open to others"])
def test_without_a_usable_folder_it_goes_on(tmp_path: Path, obstacle: str) -> None:
    """A read-only container would have no tokens at all; a folder open to others would share them."""
    folder = tmp_path / "cache"
    if obstacle == "open to others":
        folder.mkdir(mode=0o777)
        folder.chmod(0o777)
    else:
        folder.write_text("")
    with counting_issuer() as issuer:
        assert ClientCredentials(issuer.url, "an-id", "a-secret", cache=DiskCache(folder)).token().value == "token-1"
    assert not folder.is_dir() or not list(folder.iterdir())


def test_a_stopped_holder_of_the_lock_stops_nobody(tmp_path: Path) -> None:
    """One process in state T would keep every other job of the machine from its token."""
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    held = [FileLock(folder / f"lock-{n:02x}", thread_local=False) for n in range(256)]
    for lock in held:
        lock.acquire()
    waited: list[float] = []
    with counting_issuer() as issuer:
        auth = ClientCredentials(
            issuer.url, "an-id", "a-secret", cache=DiskCache(folder), network=Network(clock=Clock(sleep=waited.append))
        )
        assert auth.token().value == "token-1"
    assert sum(waited) == pytest.approx(30, abs=0.1)
    for lock in held:
        lock.release()


def test_a_token_that_arrives_just_before_the_lock(tmp_path: Path) -> None:
    """Who gets the lock right after another has written the token would ask once more."""
    folder = tmp_path / "cache"
    with counting_issuer() as issuer:
        other = ClientCredentials(issuer.url, "an-id", "a-secret", cache=DiskCache(folder))

        class Late(DiskCache):
            def lock(self, name: str) -> BaseFileLock | None:
                other.token()  # between our look at the file and our lock
                return super().lock(name)

        auth = ClientCredentials(issuer.url, "an-id", "a-secret", cache=Late(folder))
        assert (auth.token().value, len(issuer.asked)) == ("token-1", 1)


def test_a_refused_token_is_forgotten_on_disk_too(tmp_path: Path) -> None:
    """The next job would begin with the token that the API has just refused."""
    with counting_issuer() as issuer:
        folder = tmp_path / "cache"
        auth = ClientCredentials(issuer.url, "an-id", "a-secret", cache=DiskCache(folder))
        auth.drop(auth.token())
        assert ClientCredentials(issuer.url, "an-id", "a-secret", cache=DiskCache(folder)).token().value == "token-2"


def test_the_old_token_of_the_disk_survives_an_outage(tmp_path: Path) -> None:
    """Jobs would fail in an outage although the token of an hour ago is still good, or ask again one by one."""
    from tests.support.counting_issuer import Reply, token

    clock = [1_000_000.0]
    with counting_issuer(lambda n: token(n) if n == 1 else Reply(503)) as issuer:

        def job() -> str:
            cache = DiskCache(tmp_path / "cache")
            auth = ClientCredentials(
                issuer.url,
                "an-id",
                "a-secret",
                cache=cache,
                network=Network(clock=Clock(now=lambda: clock[0], rng=lambda: 0.0)),
            )
            return auth.token().value

        assert job() == "token-1"
        clock[0] += 250
        assert [job(), job(), job()] == ["token-1"] * 3
        assert len(issuer.asked) == 2


def test_old_files_are_removed(tmp_path: Path) -> None:
    """Every rotated secret would leave a file behind, for ever."""
    folder = tmp_path / "cache"
    with counting_issuer() as issuer:
        ClientCredentials(issuer.url, "an-id", "old", cache=DiskCache(folder)).token()
        (old,) = files(folder)
        os.utime(old, (1, 1))
        ClientCredentials(issuer.url, "an-id", "new", cache=DiskCache(folder)).token()
        assert old not in files(folder)
        assert len(files(folder)) == 1


JOB = """
import sys
from watchword.client import ClientCredentials, DiskCache, from_keyring
auth = ClientCredentials(sys.argv[1], "an-id", from_keyring("nightly", "an-id"), cache=DiskCache(sys.argv[2]))
print(auth.token().value)
"""


def test_with_a_keyring_the_token_is_sealed(tmp_path: Path) -> None:
    """A copied disk or a backup would hold tokens that work; and the key would be made anew by each process."""
    folder, ring = tmp_path / "cache", tmp_path / "ring"
    ring.write_text(json.dumps({"nightly/an-id": "a-secret"}))
    with counting_issuer() as issuer:
        command = [sys.executable, "-c", JOB, issuer.url, str(folder)]
        backend = {"PYTHON_KEYRING_BACKEND": "tests.support.file_keyring.FileKeyring", "TEST_KEYRING": str(ring)}
        here = {**os.environ, **backend, "PYTHONPATH": str(Path(__file__).parents[3])}
        runs = [subprocess.run(command, env=here, capture_output=True, text=True, check=False) for _n in range(2)]
        assert [(run.returncode, run.stdout) for run in runs] == [(0, "token-1\n")] * 2, runs[0].stderr
        assert len(issuer.asked) == 1
        assert len(json.loads(ring.read_text())["watchword/token-cache"]) == 64
        assert b"token-1" not in files(folder)[0].read_bytes()
        without = {**here, "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}
        failed = subprocess.run(command, env=without, capture_output=True, text=True, check=False)
        assert "SecretMissing" in failed.stderr
