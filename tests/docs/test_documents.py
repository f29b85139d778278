"""The documents do what they say: their code runs, block after block, against `watchword serve`.

Each document gets a server and a folder of its own, and its blocks share them. `python` blocks are complete
programs in a caller's environment (WATCHWORD_ISSUER, WATCHWORD_CLIENT_ID, WATCHWORD_CLIENT_SECRET, and API_URL of
a running API that takes `payments:charge`). `sh` and `console` blocks are typed by the operator, with `watchword`
on the PATH; `as-caller` in the info string gives them the caller's environment. `title=FILE` is a file that a later
block runs. A block that cannot run says why: `no-run: reason`.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.docs.api import AUDIENCE, SCOPE
from tests.docs.blocks import ROOT, Block, blocks, documents, missing, turns
from tests.support.served import environment, free_port, serving, watchword

# Folders whose programs another suite runs: here they would serve until they are stopped.
ELSEWHERE = ("docs/protect",)
FOUND = [block for path in documents() for block in blocks(path) if str(path.parent.relative_to(ROOT)) not in ELSEWHERE]
RUNNING = sorted({block.path for block in FOUND if block.reason is None})


@dataclass
class Desk:
    """One document's server, folder and API; the caller is registered when the first block needs it."""

    folder: Path
    issuer: str
    api_url: str
    caller: dict[str, str] | None = None

    def environment(self, block: Block) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        given = {"PATH": path, "API_URL": self.api_url, "WATCHWORD_ISSUER": self.issuer}
        if block.as_caller:
            given |= self._caller()
        return environment(self.folder, **given)

    def _caller(self) -> dict[str, str]:
        if self.caller is None:
            known = json.loads(self._operator("api", "list", "--json"))
            if AUDIENCE not in {one["identifier"] for one in known}:
                self._operator("api", "create", AUDIENCE, "--scope", SCOPE)
            made = json.loads(self._operator("app", "create", "caller", "--grant", f"{AUDIENCE}={SCOPE}", "--json"))
            self.caller = {f"WATCHWORD_{name.upper()}": made[name] for name in ("client_id", "client_secret")}
        return self.caller

    def _operator(self, *arguments: str) -> str:
        ran = watchword(self.folder, *arguments)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def run(self, block: Block, *command: str) -> str:
        """Its output; fails with the place of the block in the document."""
        given = self.environment(block)
        ran = subprocess.run(
            command, cwd=self.folder, env=given, capture_output=True, text=True, timeout=60, check=False
        )
        assert ran.returncode == 0, f"{block.place} exits {ran.returncode}:\n{block.text}\n{ran.stdout}{ran.stderr}"
        return ran.stdout + ran.stderr


@contextmanager
def payments(folder: Path, issuer: str) -> Iterator[str]:
    """The API that the documents call."""
    port = free_port()
    command = [sys.executable, "-m", "tests.docs.api", str(port)]
    with (folder / "payments.log").open("w") as log:
        given = environment(folder, WATCHWORD_ISSUER=issuer)
        child = subprocess.Popen(command, cwd=ROOT, env=given, stdout=log, stderr=log)
    try:
        asyncio.run(listening(f"http://127.0.0.1:{port}/"))
        yield f"http://127.0.0.1:{port}/charge"
    finally:
        child.terminate()
        child.wait(15)


async def listening(url: str) -> None:
    """Wait until something answers, whatever it says; at most twenty seconds."""
    async with asyncio.timeout(20), httpx.AsyncClient() as client:
        while True:
            try:
                await client.get(url)
            except httpx.HTTPError:
                await asyncio.sleep(0.05)
            else:
                return


@pytest.mark.parametrize("path", RUNNING, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_runs(path: Path, tmp_path: Path) -> None:
    """The first thing that a newcomer copies would fail, and nobody here would know."""
    with ExitStack() as stack:
        base = stack.enter_context(serving(tmp_path))
        issuer = f"{base}/t/default"
        desk = Desk(tmp_path, issuer, stack.enter_context(payments(tmp_path, issuer)))
        for block in blocks(path):
            if block.reason is not None:
                continue
            if block.title is not None:
                (tmp_path / block.title).write_text(block.text)
            elif block.language == "python":
                desk.run(block, sys.executable, "-W", "error", "-c", block.text)
            elif block.language == "sh":
                desk.run(block, "bash", "-euo", "pipefail", "-c", block.text)
            else:
                for command, said in turns(block.text):
                    output = desk.run(block, "bash", "-euo", "pipefail", "-c", command)
                    assert not (lacks := missing(said, output)), f"{block.place}: {command} lacks {lacks} in:\n{output}"


STILL = [pytest.param(block, id=f"{block.place} {block.reason}") for block in FOUND if block.reason is not None]


@pytest.mark.parametrize("block", STILL)
def test_a_block_that_does_not_run_says_why(block: Block) -> None:
    """`no-run` alone would be the easy way out of every failure; the ids of this test are the list of reasons."""
    assert block.reason, block.place


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    """A page that was moved would leave its readers with a dead link."""
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text())
    assert not [link for link in links if "://" not in link and not (path.parent / link).exists()]
