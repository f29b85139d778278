"""`watchword broker-auth mosquitto` as an operator starts it; that a broker lives by it is shown in tests/brokers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

from tests.support.served import COMMAND, environment, watchword

ASKED = ("broker-auth", "mosquitto", "--api", "urn:mqtt", "--issuer", "https://id.example/t/acme", "--socket")


def test_who_may_ask_is_its_owner_and_the_folders_group(tmp_path: Path) -> None:
    """Everybody on the machine could try tokens; or a service that was killed could not be started again."""
    judge = tmp_path / "judge"
    with socket.socket(socket.AF_UNIX) as before:
        before.bind(str(judge))  # left behind by one that was killed
    command = [*COMMAND, *ASKED, str(judge)]
    with subprocess.Popen(command, env=environment(tmp_path), stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        try:
            assert any("answering Mosquitto" in line for line in child.stderr)
            assert judge.stat().st_mode & 0o777 == 0o660
            with socket.socket(socket.AF_UNIX) as asking:
                asking.settimeout(20)
                asking.connect(str(judge))
                asking.sendall(b"p\x00\x05an-id\x00\x05a.b.c")
                assert asking.recv(100) == b"no\n"
        finally:
            child.send_signal(signal.SIGTERM)
    assert child.returncode == 0


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """A trace would hide what to do."""
    done = watchword(tmp_path, *ASKED, str(tmp_path / "none" / "judge"))
    assert done.returncode == 1
    assert "cannot be made" in done.stderr
    assert "name a folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_revocations_without_an_application(tmp_path: Path) -> None:
    """Without the feed the service would let in what was revoked, though it was told not to."""
    done = watchword(tmp_path, *ASKED, str(tmp_path / "judge"), "--revocations")
    assert done.returncode != 0
    assert not (tmp_path / "judge").exists()
    assert os.listdir(tmp_path) == []
