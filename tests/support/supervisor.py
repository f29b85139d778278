"""Whatever a run of tests starts ends with it, also when the run is ended by a signal, SIGKILL included.

PostgreSQL and some brokers are daemons: they leave the process that started them, its group and its session. Linux
hands such an orphan to the nearest ancestor that is a "child subreaper" (PR_SET_CHILD_SUBREAPER). So pytest becomes
three processes::

    front        has the process id of the command that was typed; passes signals on and waits
      supervisor   the subreaper, in a session of its own; ends all that is left when the run is over
        run          pytest, and below it everything that tests start

The supervisor is told by the kernel when the front is killed (PR_SET_PDEATHSIG). The front and the supervisor are this
file, run as a program: they keep none of pytest's memory and none of its open files.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import pytest

PASSED_ON = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}
LISTENED_TO = {*PASSED_ON, signal.SIGCHLD}
PATIENCE = 5.0
"""Seconds that servers have to end by themselves, before SIGKILL."""
_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>
_BY_THE_KERNEL = 0x80  # SI_KERNEL: Ctrl-C in a terminal, which reaches the run as well


def pytest_configure(config: pytest.Config) -> None:
    """A hook that `tests/conftest.py` takes over. Workers of pytest-xdist are below the supervisor of their run."""
    if sys.platform == "linux" and not hasattr(config, "workerinput"):
        begin()


def begin() -> None:
    """Return as the run, below a supervisor; the process that called waits for it and has its exit status."""
    sys.stdout.flush()
    sys.stderr.flush()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, LISTENED_TO)
    front = os.getpid()
    if supervisor := os.fork():
        _become("front", supervisor)
    _prctl(_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != front:  # it was killed before the kernel knew whom to tell
        os._exit(1)
    _prctl(_SET_CHILD_SUBREAPER, 1)
    if run := os.fork():
        os.setsid()  # no signal to the group of the run, and no terminal, ends the supervisor
        _become("supervisor", run)
    _prctl(_SET_PDEATHSIG, signal.SIGINT)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _become(part: str, child: int) -> NoReturn:
    os.execv(sys.executable, [sys.executable, "-I", "-S", __file__, part, str(child)])


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def _wait(child: int, passes_on: bool) -> int:
    """The exit status of `child` as a shell has it. Reaps every other child, too."""
    while (status := _reap().get(child)) is None:
        heard = signal.sigwaitinfo(LISTENED_TO)
        if heard.si_signo != signal.SIGCHLD and (passes_on or heard.si_code != _BY_THE_KERNEL):
            os.kill(child, heard.si_signo)
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _reap() -> dict[int, int]:
    """The children that have ended, with their wait statuses."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if not pid:
            return ended
        ended[pid] = status


def descendants(pid: int) -> list[int]:
    """The processes below one, whatever their group and session."""
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            direct = [int(child) for child in children.read_text().split()]
        except OSError:  # it has ended
            continue
        for child in direct:
            found += [child, *descendants(child)]
    return found


def name(pid: int) -> str:
    """Of its program; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _end_all() -> None:
    """End every descendant: servers first get to remove their shared memory and their sockets."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        until = time.monotonic() + PATIENCE
        _send(sign)
        while descendants(os.getpid()) and (left := until - time.monotonic()) > 0:
            if signal.sigtimedwait({signal.SIGCHLD}, left):
                _reap()
                if sign == signal.SIGKILL:  # those whose parent has just ended are children here only now
                    _send(sign)


def _send(sign: signal.Signals) -> None:
    for pid in descendants(os.getpid()):
        try:
            os.kill(pid, sign)
        except ProcessLookupError:
            continue


def main(part: str, child: int) -> int:
    """The front or the supervisor, to its end."""
    if part == "front":
        return _wait(child, passes_on=False)
    status = _wait(child, passes_on=True)
    if left := [name(pid) for pid in descendants(os.getpid())]:
        sys.stderr.write(f"The run has ended. Ending what it left behind: {', '.join(left)}\n")
        _end_all()
    return status


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, LISTENED_TO)
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
