"""A run of tests that is ended by a signal leaves no process behind: no PostgreSQL, no broker, no daemon.

`tests/support/supervisor.py` sees to it. Each test starts a run with real servers and ends it.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.supervisor import descendants, name

ROOT = Path(__file__).resolve().parents[2]
TESTS = """
import os
import signal
import socket
import subprocess
from pathlib import Path

from examples.brokers.processes import free_ports, listening, program
from tests.support.postgres import Postgres
from tests.support.served import COMMAND, environment

NGINX = "pid {0}/nginx.pid; error_log {0}/log; events {{}} http {{ access_log off; server {{ listen 127.0.0.1:{1}; }} }}"


def test_that_never_ends(tmp_path):
    database, (broker, web) = Postgres.start(own=True), free_ports(2)
    (tmp_path / "nginx.conf").write_text(NGINX.format(tmp_path, web))
    subprocess.run([program("nginx"), "-e", "stderr", "-c", str(tmp_path / "nginx.conf")], check=True)
    serve = [*COMMAND, "serve", "--port", "0"]
    with (
        listening([program("mosquitto"), "-p", str(broker)], broker, tmp_path, {}),
        subprocess.Popen(serve, cwd=tmp_path, env=environment(tmp_path)),
        socket.create_connection(("127.0.0.1", int(os.environ["READY"]))),
    ):
        signal.pause()
"""
STARTED = {"postgres", "mosquitto", "nginx"}


@contextmanager
def run(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A run whose servers are up; the process is the one that was typed."""
    (folder / "conftest.py").write_text("from tests.support.supervisor import pytest_configure\n")
    (folder / "test_forever.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "xdist", "-o", f"pythonpath={ROOT}", *options]
    with socket.create_server(("127.0.0.1", 0)) as told, (folder / "said").open("w") as said:
        told.settimeout(60)
        bare = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "READY": str(told.getsockname()[1])}
        child = subprocess.Popen(
            [*command, "--rootdir", str(folder), str(folder)],
            cwd=folder, env=bare, stdout=said, stderr=said, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            told.accept()[0].close()
            yield child
        except TimeoutError:
            raise AssertionError((folder / "said").read_text()) from None
        finally:
            child.terminate()
            child.wait(30)


def gone(processes: list[int], seconds: float = 30) -> bool:
    """Whether all of them end within that time."""
    return all(select.select([process], [], [], seconds)[0] for process in processes)


def below(child: subprocess.Popen[str], title: str) -> int:
    """The process id of the run itself, or of its first worker."""
    [supervisor] = descendants(child.pid)[:1]
    [started] = descendants(supervisor)[:1]
    return started if title == "run" else descendants(started)[0]


WAYS: dict[str, tuple[Callable[[subprocess.Popen[str]], None], list[str]]] = {
    **{
        sign.name: (lambda child, sign=sign: child.send_signal(sign), [])
        for sign in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL)
    },
    "SIGKILL to the group": (lambda child: os.killpg(child.pid, signal.SIGKILL), []),
    "SIGKILL to pytest itself": (lambda child: os.kill(below(child, "run"), signal.SIGKILL), []),
    "SIGTERM to a run with workers": (lambda child: child.terminate(), ["-n", "1"]),
    "SIGKILL to a worker": (
        lambda child: os.kill(below(child, "worker"), signal.SIGKILL), ["-n", "1", "--max-worker-restart", "0"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_run_that_is_ended_leaves_nothing(way: str, tmp_path: Path) -> None:
    """The servers of a run that was cut off would take the memory and the processor of all that come after."""
    end, options = WAYS[way]
    with run(tmp_path, *options) as child:
        left = {pid: name(pid) for pid in descendants(child.pid)}
        assert set(left.values()) >= STARTED
        processes = [os.pidfd_open(pid) for pid in left]
        end(child)
        try:
            assert gone(processes), {pid: title for pid, title in left.items() if name(pid) == title}
        finally:
            for process in processes:
                os.close(process)
