"""`python -m tests.attack`: what outsiders tried on this server, tried again; 1 when any of it works.

Each part is a test of pytest as well (tests/attack/test_*.py), and part of `make test`.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from tests.attack import memory, proxies, splits, worst
from tests.support.instance import instance
from tests.support.served import serving

HERE = Path(__file__).parent
Part = Callable[[Path], list[str]]
"""From an empty folder to what went wrong; empty: nothing."""


def _through_proxies(folder: Path) -> list[str]:
    with serving(folder, WATCHWORD_WRONG_PROOFS="1000000") as base:
        port = int(base.rpartition(":")[2])
        return [line for name in proxies.THROUGH for line in proxies.through(name, port, folder / name)]


def _memory(folder: Path) -> list[str]:
    async def all_kinds() -> list[str]:
        async with instance(folder) as ww:
            return await memory.left_behind(ww)

    with redirect_stdout(StringIO()):  # the log of all that is refused
        return asyncio.run(all_kinds())


def _tests(name: str) -> Part:
    def run(_: Path) -> list[str]:
        command = [sys.executable, "-m", "pytest", "-q", str(HERE / name)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        return ended.stdout.splitlines()[-20:] if ended.returncode else []

    return run


PARTS: dict[str, Part] = {
    "the same bytes in other pieces": lambda _: splits.main(),
    "callers behind one proxy": _through_proxies,
    "what refusals leave in memory": _memory,
    "the worst bytes for each reader": lambda _: worst.main(),
    "who may do what": _tests("test_rights.py"),
    "the audit log, altered": _tests("test_audit.py"),
}


def main() -> int:
    """1 when anything went wrong."""
    failed = 0
    for name, part in PARTS.items():
        with tempfile.TemporaryDirectory() as folder:
            wrong = part(Path(folder))
        failed += bool(wrong)
        sys.stdout.write(f"{'FAILED' if wrong else 'held  '}  {name}\n")
        sys.stdout.writelines(f"    {line}\n" for line in wrong[:20])
        sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
