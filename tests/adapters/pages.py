"""The programs of `docs/protect`, run as a reader would run them: one file, one process."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PAGES = Path(__file__).resolve().parents[2] / "docs" / "protect"
STARTS_WITHIN = 600
"""Tries of 50 ms each; a machine that many share starts slowly."""


def names() -> list[str]:
    """One page a framework."""
    return sorted(page.stem for page in PAGES.glob("*.md") if page.stem != "README")


def program(name: str) -> str:
    """The one program of a page."""
    blocks: list[str] = re.findall(r"```python\n(.*?)```", (PAGES / f"{name}.md").read_text(), re.S)
    assert len(blocks) == 1, f"{name}.md has {len(blocks)} programs; it should have one, whole and runnable"
    return blocks[0]


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def running(name: str, issuer_url: str, folder: Path, python: str = sys.executable) -> Iterator[int]:
    """The page's program against this issuer; its port."""
    port = free_port()
    script = folder / f"{name}_page.py"
    script.write_text(program(name))
    given = {**os.environ, "WATCHWORD_ISSUER": issuer_url, "PORT": str(port)}
    with (folder / f"{name}.log").open("w") as log:
        child = subprocess.Popen([python, str(script)], cwd=folder, env=given, stdout=log, stderr=log)
    try:
        wait_for(port, child, folder / f"{name}.log")
        yield port
    finally:
        child.kill()
        child.wait(15)


def wait_for(port: int, child: subprocess.Popen[bytes], log: Path) -> None:
    """Until somebody listens; fails with the log when the process ended instead."""
    for _ in range(STARTS_WITHIN):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            pass
        try:
            child.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        break
    raise AssertionError(f"it does not listen:\n{log.read_text()}")
