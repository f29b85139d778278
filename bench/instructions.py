"""CPU instructions a token, counted by valgrind's callgrind: the same on a busy machine as on a quiet one.

Watchword and the floor each run under callgrind. 32 keep-alive connections send one request each, and the next one when
all 32 are answered, so every group commit has 32 requests in it. After a warm-up, each window of four such rounds is
counted on its own. Housekeeping runs by the clock, falls into some windows and only ever adds to them, so the figure is
the least of the windows. The start and the stop of the server are in no window.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from .load import CONNECTIONS, FORM, Target, free_port, pinned
from .servers import GRANT, HERE, watchword
from .table import Row, heading, ratio, show

BAR, PLANNED, OF_FLOOR = 730_000.0, 600_000.0, 0.52
"""Instructions a token: at most so many today, and so many when the planned work is done; the floor's by ours."""
WINDOWS, ROUNDS = 9, 4
WARM_UP, SLOW_WARM_UP = 30, 5
"""Rounds at full speed, and under callgrind before the first window."""
CALLGRIND = [
    "valgrind", "--tool=callgrind", "--instr-atstart=no", "--dump-line=no", "--callgrind-out-file=counts",
]  # fmt: skip
PATIENCE = 300.0
"""Seconds to start under valgrind, and for one answer: callgrind is fifty times slower than the processor."""
SLOWLY = {"WATCHWORD_ANSWER_WITHIN": "30", "WATCHWORD_BODY_TIMEOUT": "300"}
"""The server's limits in seconds, high enough that nothing is refused at that speed."""
SMALL = 0.005
"""Share of the instructions below which a library has no row."""


@dataclass(frozen=True)
class Found:
    """Instructions a request: all of them, and by the library they are in."""

    total: float
    libraries: Counter[str]


def main(arguments: list[str]) -> int:
    """0 when the count is within today's bar."""
    parser = argparse.ArgumentParser(
        prog="python -m bench instructions", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", choices=("tokens", "introspections"), default="tokens")
    parser.add_argument("--repeat", type=int, default=2, help="servers started and counted, one after another")
    parser.add_argument("--keep", type=Path, help="folder for the last counts, for callgrind_annotate")
    given = parser.parse_args(arguments)
    for command in ("valgrind", "vgdb"):
        if shutil.which(command) is None:
            raise SystemExit(f"{command} is missing: apt-get install valgrind (Fedora: dnf install valgrind)")
    ours, base = [], []
    for _ in range(given.repeat):
        ours.append(_counted_server(given.target, given.keep))
        base.append(_counted_floor(given.keep))
    return tell(given.target, ours, base)


def tell(target: str, ours: list[Found], base: list[Found]) -> int:
    """Print the tables. 1 when the bar is missed."""
    counts, floors = [each.total for each in ours], [each.total for each in base]
    heading(f"CPU instructions a request: {target}, ES256, SQLite, one worker, audit durable")
    if target == "tokens":
        show(
            Row("Watchword", counts, "", BAR, most=True),
            Row("Watchword, planned", counts, "", PLANNED, most=True),
            Row("floor", floors, ""),
            ratio("floor to Watchword", floors, counts, OF_FLOOR),
        )
    else:
        show(Row("Watchword", counts, ""), Row("floor, a token", floors, ""))
    _tell_libraries(ours[-1], base[-1])
    return int(target == "tokens" and statistics.median(counts) > BAR)


def _tell_libraries(ours: Found, base: Found) -> None:
    lines = ["", "| library | Watchword | share | floor |", "|---|---|---|---|"]
    for name, count in ours.libraries.most_common():
        if count >= SMALL * ours.total:
            lines.append(f"| {name} | {count:,} | {count / ours.total:.1%} | {base.libraries[name]:,} |")
    sys.stdout.write("\n".join(lines) + "\n")


def _counted_server(target: str, keep: Path | None) -> Found:
    """One server of its own, registered at full speed, then started again under callgrind."""
    with _folder() as folder:
        with watchword(folder / "server", "ES256", **SLOWLY) as ours:
            asked = ours.tokens("ES256") if target == "tokens" else ours.introspections()
        command = [sys.executable, "-m", "watchword.cli", "serve"]
        return _counted(command, ours.folder, f"{ours.base}/jwks", asked, ours.environment, keep)


def _counted_floor(keep: Path | None) -> Found:
    with _folder() as folder:
        port = free_port()
        asked = Target("floor", f"http://127.0.0.1:{port}/token", GRANT, FORM)
        command = [sys.executable, str(HERE / "floor.py"), str(port), "ES256"]
        return _counted(command, folder, asked.url, asked, {}, keep / "floor" if keep else None)


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp())
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _counted(
    command: list[str], folder: Path, ready: str, asked: Target, environment: dict[str, str], keep: Path | None
) -> Found:
    fixed = {**environment, "PYTHONHASHSEED": "0"}
    with pinned([*CALLGRIND, *command], folder, ready, patience=PATIENCE, **fixed) as child:
        try:
            with ExitStack() as stack:
                crowd = [stack.enter_context(_connection(asked.url)) for _ in range(CONNECTIONS)]
                files = _windows(child.pid, folder, crowd, _request(asked))
        finally:
            child.kill()  # its own way out would be counted, slowly
    least = min(files, key=_total)
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        shutil.copy(least, keep / "callgrind.out")
    requests = ROUNDS * CONNECTIONS
    counted = libraries(least.read_text())
    assert counted.total() == _total(least), "callgrind's format is another one: the libraries do not make up its total"
    return Found(_total(least) / requests, Counter({name: round(n / requests) for name, n in counted.items()}))


def _windows(pid: int, folder: Path, crowd: list[socket.socket], request: bytes) -> list[Path]:
    """A file of counts for each window."""
    _rounds(pid, crowd, request, WARM_UP)
    _tell_valgrind(pid, "instrumentation", "on")
    _rounds(pid, crowd, request, SLOW_WARM_UP)
    files = []
    for window in range(1, WINDOWS + 1):
        _tell_valgrind(pid, "zero")
        _rounds(pid, crowd, request, ROUNDS)
        _tell_valgrind(pid, "dump")
        files.append(folder / f"counts.{window}")
    return files


def _tell_valgrind(pid: int, *words: str) -> None:
    done = subprocess.run(["vgdb", f"--pid={pid}", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"vgdb {' '.join(words)}: {done.stderr}")


@contextmanager
def _connection(url: str) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", urlsplit(url).port or 80), PATIENCE) as made:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield made


def _request(asked: Target) -> bytes:
    parts, body = urlsplit(asked.url), asked.body or ""
    fields = {"Host": parts.netloc, "Content-Length": str(len(body)), **asked.headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {parts.path} HTTP/1.1\r\n{head}\r\n{body}".encode()


def _rounds(pid: int, crowd: list[socket.socket], request: bytes, count: int) -> None:
    """The server stands still while the requests are sent: it finds all of them, however busy the machine is."""
    for _ in range(count):
        os.kill(pid, signal.SIGSTOP)
        for each in crowd:
            each.sendall(request)
        os.kill(pid, signal.SIGCONT)
        for each in crowd:
            _answer(each)


def _answer(connection: socket.socket) -> None:
    """Raises `SystemExit` for any status but 200."""
    answer = b""
    while not answer.endswith(b"}"):  # JSON, and nothing behind it
        some = connection.recv(65_536)
        if not some:
            raise SystemExit("the server closed a connection: see server.log")
        answer += some
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise SystemExit(f"the server answered {answer[:200]!r}")


def _total(file: Path) -> int:
    return int(re.findall(r"^totals: (\d+)$", file.read_text(), re.MULTILINE)[0])


def libraries(counts: str) -> Counter[str]:
    """Instructions by the library that they are in, of a file in callgrind's format.

    A line after `calls=` has what was called in it, which is counted where it is.
    """
    names: dict[str, str] = {}
    found: Counter[str] = Counter()
    library, called = "", False
    for line in counts.splitlines():
        if line.startswith(("ob=", "cob=")):
            key, _, name = line.partition("=")[2].partition(" ")
            names.setdefault(key, _library(name))
            library = names[key] if line.startswith("ob=") else library
        elif line.startswith("calls="):
            called = True
        elif line[:1].isdigit() or line.startswith(("+", "-", "*")):
            found[library] += 0 if called else int(line.split()[1])
            called = False
    return found


def _library(path: str) -> str:
    """`msgspec/_core` for a package's, the name of its file for any other."""
    _, installed, inside = path.rpartition("/site-packages/")
    folder, slash, name = inside.rpartition("/")
    return f"{folder}{slash}{name.split('.', 1)[0]}" if installed else name.split(".", 1)[0]
