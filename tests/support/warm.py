"""`watchword` as a process of its own that begins with its imports done: they are most of what a short command takes.

A server (this file, run as a program) imports the command line once for each process of pytest, and forks for each
command. The command then runs as `python -m watchword.cli` would: with its own arguments, environment, folder and
files, to the natural end of the interpreter. What is decided before a program's first line cannot be given to it; see
`fits`.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]
MODULE = "watchword.cli"
LARGEST = 1 << 20


def fits(environment: Mapping[str, str]) -> bool:
    """Whether it differs from ours only in what `watchword` itself reads, when it runs."""
    differs = {name for name in {*environment, *os.environ} if environment.get(name) != os.environ.get(name)}
    return all(name.startswith(("WATCHWORD_", "SSL_CERT_")) for name in differs)


class Process:
    """What `subprocess.Popen` offers, as far as tests ask for it."""

    def __init__(
        self, arguments: list[str], cwd: Path, environment: Mapping[str, str], out: IO[Any], err: IO[Any]
    ) -> None:
        self.returncode: int | None = None
        asked = {"arguments": arguments, "cwd": str(cwd), "environment": dict(environment)}
        self._told, theirs = socket.socketpair()
        with theirs:
            files = [out.fileno(), err.fileno(), theirs.fileno()]
            socket.send_fds(_server(), [json.dumps(asked).encode()], files)
        self._lines = self._told.makefile("r")
        self.pid = int(self._lines.readline())

    def poll(self) -> int | None:
        """The exit status, once there is one."""
        if self.returncode is None and select.select([self._told], [], [], 0)[0]:
            self._finish()
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Raises `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(MODULE, timeout)
            self._finish()
        assert self.returncode is not None
        return self.returncode

    def _finish(self) -> None:
        self.returncode = int(self._lines.readline())
        self._lines.close()
        self._told.close()

    def terminate(self) -> None:
        """SIGTERM."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self._send(signal.SIGKILL)

    def _send(self, sign: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, sign)


_servers: dict[int, socket.socket] = {}


def _server() -> socket.socket:
    """The one of this process; it ends with it."""
    if os.getpid() not in _servers:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "tests.support.warm", str(theirs.fileno())]
            null = subprocess.DEVNULL
            child = subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()], stdin=null, stdout=null)
        _servers[os.getpid()] = ours
        atexit.register(_end, ours, child)
    return _servers[os.getpid()]


def _end(asking: socket.socket, child: subprocess.Popen[bytes]) -> None:
    asking.close()
    child.wait(20)


def until_a_command(asked: socket.socket) -> list[str]:
    """Returns in the process of each command, with its arguments; ends the server when nobody can ask any more."""
    while True:
        message, files, _, _ = socket.recv_fds(asked, LARGEST, 3)
        if not message:
            sys.exit(0)
        if os.fork() == 0 and _forked(files[2]):
            asked.close()
            return _prepared(json.loads(message), *files)
        for file in files:
            os.close(file)
        while _reaped():
            pass


def _reaped() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def _forked(told: int) -> bool:
    """The process that waits for the command and says how it ended, and the command's own, which returns."""
    command = os.fork()
    if command == 0:
        return True
    os.write(told, b"%d\n" % command)
    os.write(told, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(command, 0)[1]))
    os._exit(0)


def _prepared(asked: dict[str, Any], out: int, err: int, told: int) -> list[str]:
    os.dup2(out, 1)
    os.dup2(err, 2)
    for file in (out, err, told):
        os.close(file)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    return list(asked["arguments"])


def _rehearse(every_verb: Callable[[list[str]], object]) -> None:
    """What a command imports while it runs; and none of it is looked through for garbage at the end of each."""
    import httpx  # noqa: F401
    import rich.table  # noqa: F401

    for words in (["--help"], ["app", "list", "--help"]):
        with suppress(SystemExit):
            every_verb(words)
    gc.freeze()


def main() -> None:
    """Import what commands import, then wait for them."""
    import watchword.server.app  # noqa: F401 (for `serve`)
    from watchword.cli.main import command

    _rehearse(command())
    interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for pytest, which then closes the socket
    sys.path[0] = ""  # as `python -m` has it
    sys.argv[1:] = until_a_command(socket.socket(fileno=int(sys.argv[1])))
    signal.signal(signal.SIGINT, interrupted)
    runpy.run_module(MODULE, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
