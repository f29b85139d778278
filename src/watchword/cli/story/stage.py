"""What the demo's chapters share: narrated steps, processes that end with the story, and answers that must be right."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
from msgspec import Struct

from .. import say

PATIENCE = 60
"""Seconds for a step that waits for another process, on a machine that is busy with other things."""


class Broken(Exception):
    """A step of the story did not hold."""


class Story:
    """Narrates steps and times them."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.steps = 0

    def chapter(self, title: str) -> None:
        """A heading."""
        say.err.print(f"\n[bold cyan]{title}[/bold cyan]")

    def step(self, told: str, work: Callable[[], Any]) -> Any:
        """Run one step; what it returns, and how long it took."""
        began = time.perf_counter()
        try:
            result = work()
        except Exception as error:
            say.err.print(f"  [red]✗[/red] {told}")
            raise Broken(f"{told}: {error}") from error
        self.steps += 1
        say.err.print(f"  [green]✓[/green] {told} [dim]{(time.perf_counter() - began) * 1000:.0f} ms[/dim]")
        return result


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def process(
    command: list[str], environment: dict[str, str], folder: Path, ready: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A child that answers at `ready`; killed at the end. Its output is kept for when something fails."""
    with (folder / f"{Path(command[0]).name}-{os.urandom(3).hex()}.log").open("wb") as log:
        child = subprocess.Popen(command, env={**os.environ, **environment}, cwd=folder, stdout=log, stderr=log)

    def answers() -> bool:
        if child.poll() is not None:
            raise Broken(f"{Path(command[0]).name} ended with {child.returncode}: {Path(log.name).read_text()[-500:]}")
        return httpx.get(ready, timeout=1, trust_env=False).status_code < 500

    try:
        until(answers)
        yield child
    finally:
        child.terminate()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()


def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds. Raises `Broken` after `PATIENCE` seconds."""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        try:
            if condition():
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.02)
    raise Broken(f"nothing happened within {PATIENCE} s")


def expect(answer: httpx.Response, status: int, *words: str) -> httpx.Response:
    """The answer, if its status and its words are as expected. Raises `Broken`."""
    if answer.status_code != status:
        raise Broken(f"expected {status}, got {answer.status_code}: {answer.text[:200]}")
    for word in words:
        if word not in answer.text + str(answer.headers):
            raise Broken(f"{word!r} is not in the answer: {answer.text[:200]}")
    return answer


class Scene(Struct, frozen=True, kw_only=True):
    """Where the story plays: the folder and ports of this run."""

    story: Story
    folder: Path
    stack: ExitStack
    port: int
    pay_port: int
    book_port: int

    @property
    def base(self) -> str:
        """Watchword's base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def issuer(self) -> str:
        """The issuer of the default tenant."""
        return f"{self.base}/t/default"

    @property
    def pay_url(self) -> str:
        """Where the payments service charges."""
        return f"http://127.0.0.1:{self.pay_port}/charge"

    @property
    def book_url(self) -> str:
        """Where the reservation service books."""
        return f"http://127.0.0.1:{self.book_port}/book"

    @property
    def secret_file(self) -> Path:
        """The file from which the reservation service reads its secret."""
        return self.folder / "reservations.secret"

    @property
    def own(self) -> dict[str, str]:
        """The environment of our own commands."""
        return {"WATCHWORD_PROFILE": str(self.folder / "profile.toml"), "WATCHWORD_PORT": str(self.port)}

    def start(self, command: list[str], environment: dict[str, str], ready: str) -> object:
        """Start a process that ends with the story, and wait until it answers."""
        return self.stack.enter_context(process(command, environment, self.folder, ready))


class Cast(Struct, frozen=True, kw_only=True):
    """Who takes part: the administrator, the payments API, the reservation service, and the dashboard."""

    admin: httpx.Client
    api: dict[str, Any]
    app: dict[str, Any]
    dashboard: httpx.Client

    @property
    def client_id(self) -> str:
        """Of the reservation service."""
        return str(self.app["client_id"])

    def change(self, method: str, path: str = "", **options: Any) -> httpx.Response:
        """Change the reservation service over the admin API."""
        return self.admin.request(method, f"/api/v1/applications/{self.client_id}{path}", **options)
