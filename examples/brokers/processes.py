"""A broker as a process of its own, until its ports answer and until the test is over."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


class Missing(Exception):
    """What this machine does not have, and how to get it."""


def check(*needs: str) -> None:
    """Programs by name, files by path. Raises `Missing` with all that are."""
    if absent := [one for one in needs if not (Path(one).exists() if "/" in one else _found(one))]:
        raise Missing(f"not on this machine: {', '.join(absent)}. On Debian, .ci/prepare brokers installs them.")


def program(name: str) -> str:
    """Its path. Raises `Missing`."""
    check(name)
    return str(_found(name))


def _found(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def free_ports(count: int) -> list[int]:
    """As many as are asked for, each another one: held together until all are known."""
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports


def broker_config(*arguments: str | Path) -> None:
    """`watchword broker-config`, which needs no server and no profile when it is told the issuer."""
    command = [sys.executable, "-m", "watchword.cli", "broker-config", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@contextmanager
def listening(
    command: list[str],
    port: int,
    folder: Path,
    environment: dict[str, str],
    *,
    user: str = "",
    others: Sequence[int] = (),
) -> Iterator[None]:
    """Run it as that user when we are root. Its log is the failure's text; its whole group ends with it."""
    log = folder / f"{Path(command[0]).name}.log"
    other = user if user and os.getuid() == 0 else None
    group = pwd.getpwnam(other).pw_gid if other else None
    with log.open("w") as file:
        child = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=file, stderr=file, stdin=subprocess.DEVNULL,
            user=other, group=group, extra_groups=[] if other else None, start_new_session=True,
        )  # fmt: skip
    try:
        for wanted in (port, *others):
            _wait_for(wanted, child, log)
        yield
    finally:
        _end(child)


@contextmanager
def saying(words: str, command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """A service without a port of its own, from when its log holds those words."""
    log = folder / "service.log"
    child = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    assert child.stderr is not None
    said = log.open("w", buffering=1)
    ready = threading.Event()

    def read(lines: IO[str]) -> None:
        for line in lines:
            said.write(line)
            if words in line:
                ready.set()
        ready.set()

    reader = threading.Thread(target=read, args=[child.stderr])
    reader.start()
    try:
        assert ready.wait(60) and child.poll() is None, log.read_text()
        yield
    finally:
        _end(child)
        reader.join(20)
        child.stderr.close()
        said.close()


def _wait_for(port: int, child: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            pass
        try:
            child.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        break
    raise AssertionError(log.read_text()[-8000:])


def _end(child: subprocess.Popen[Any]) -> None:
    """Everything that it started has its session; what does not go is killed."""
    if child.poll() is not None:
        return
    os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait(20)
