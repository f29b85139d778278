"""RAC-011: eight callers and two nodes that are killed; twenty applications are made, read, rotated, used and deleted.

    python -m tests.chaos.linearizable --seconds 300            SQLite
    python -m tests.chaos.linearizable --seconds 300 --postgres

prints how much was asked and every answer that no order of single steps can explain; exit 0 if there is none.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from tests.chaos.history import NEVER, Event, violations
from tests.support.postgres import Postgres
from tests.support.served import COMMAND, environment, free_ports, ready, watchword

API = "https://rs1.example/"
WORKERS, SLOTS = 8, 20
VISIBLE, NOTICED = 1.0, 10.0
"""See `history.violations`. The first is what every worker holds itself to (service/view.py); how soon a refusal for a
fresh secret ends hangs on how busy the machine is."""


@dataclass
class Node:
    """One process, and what starts it again."""

    folder: Path
    port: int
    settings: list[str]
    child: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Until it is ready."""
        with (self.folder / f"serve-{self.port}.log").open("a") as log:
            command = [*COMMAND, "serve", "--port", str(self.port), *self.settings]
            self.child = subprocess.Popen(
                command, cwd=self.folder, env=environment(self.folder), stdout=log, stderr=log
            )
        await ready(f"http://127.0.0.1:{self.port}")

    def kill(self) -> None:
        """kill -9, and nobody is left."""
        if self.child is not None:
            self.child.kill()
            self.child.wait()


@dataclass
class Application:
    """What the callers know of it."""

    client_id: str
    secrets: list[str]
    tokens: list[str] = field(default_factory=list)
    deleted: bool = False


class Gone(Exception):
    """No answer, or one that says nothing (too many guesses with old secrets): it may have happened or not."""


class Callers:
    """They share what they know, so that they meet at the same applications."""

    def __init__(
        self, nodes: list[Node], issuer: str, admin: tuple[str, str], api_id: str, chance: random.Random
    ) -> None:
        self.nodes, self.issuer_path, self.admin, self.api_id, self.chance = nodes, issuer, admin, api_id, chance
        self.slots: list[Application | None] = [None] * SLOTS
        self.history: list[Event] = []
        self.kills = 0
        self.http = httpx.AsyncClient(timeout=15, limits=httpx.Limits(max_connections=64))
        self.bearer = ""

    async def ask(self, method: str, path: str, **more: Any) -> tuple[httpx.Response, float, float]:
        """At either node. Raises `Gone`."""
        port = self.chance.choice(self.nodes).port
        begin = time.monotonic()
        try:
            answer = await self.http.request(method, f"http://127.0.0.1:{port}{path}", **more)
        except httpx.HTTPError:
            await asyncio.sleep(0.01)
            raise Gone(begin) from None
        if answer.status_code in (429, 503):
            raise Gone(begin)
        return answer, begin, time.monotonic()

    async def administrate(self, method: str, path: str, **more: Any) -> tuple[httpx.Response, float, float]:
        """With a token of the administrator's."""
        headers = {"authorization": f"Bearer {self.bearer}"}
        return await self.ask(method, f"/api/v1/applications{path}", headers=headers, **more)

    async def log_in(self) -> None:
        """Once: the token lives longer than the run."""
        form = {"grant_type": "client_credentials", "resource": "urn:watchword:admin"}
        answer, _, _ = await self.ask("POST", f"{self.issuer_path}/token", data=form, auth=self.admin)
        self.bearer = answer.json()["access_token"]

    def told(self, what: Any, client_id: str, begin: float, end: float, **more: Any) -> None:
        """One more of the history."""
        self.history.append(Event(what, client_id, begin, end, **more))

    async def work(self, enough: Callable[[int], bool]) -> None:
        """One caller."""
        while not enough(len(self.history)):
            slot = self.chance.randrange(SLOTS)
            app = self.slots[slot]
            if app is None or (app.deleted and self.chance.random() < 0.2):
                await self.create(slot)
                continue
            await self.chance.choices(
                [self.issue, self.introspect, self.read, self.rotate, self.revoke, self.delete], [8, 5, 4, 2, 2, 0.7]
            )[0](app)

    async def create(self, slot: int) -> None:
        """One that got lost with its answer has no name, and nothing can be said of it."""
        body = {"name": "racer", "grants": [{"api_id": self.api_id, "scopes": ["a:read"]}]}
        try:
            answer, begin, end = await self.administrate("POST", "", json=body)
        except Gone:
            return
        made = answer.json()
        self.told("create", made["client_id"], begin, end, secret=made["client_secret"])
        self.slots[slot] = Application(made["client_id"], [made["client_secret"]])

    async def read(self, app: Application) -> None:
        """As administrator."""
        try:
            answer, begin, end = await self.administrate("GET", f"/{app.client_id}")
        except Gone:
            return
        assert answer.status_code in (200, 404), answer.text
        self.told("read", app.client_id, begin, end, yes=answer.status_code == 200)

    async def rotate(self, app: Application) -> None:
        """The older secrets end at once."""
        try:
            answer, begin, end = await self.administrate("POST", f"/{app.client_id}/secrets", json={"overlap": 0})
        except Gone as gone:
            return self.told("rotate", app.client_id, gone.args[0], NEVER)
        assert answer.status_code in (201, 404), answer.text
        if answer.status_code == 404:
            return self.told("rotate", app.client_id, begin, end, yes=False)
        app.secrets.append(answer.json()["client_secret"])
        return self.told("rotate", app.client_id, begin, end, secret=app.secrets[-1])

    async def delete(self, app: Application) -> None:
        """For ever."""
        app.deleted = True
        try:
            answer, begin, end = await self.administrate("DELETE", f"/{app.client_id}")
        except Gone as gone:
            return self.told("delete", app.client_id, gone.args[0], NEVER)
        assert answer.status_code in (204, 404), answer.text
        return self.told("delete", app.client_id, begin, end, yes=answer.status_code == 204)

    async def issue(self, app: Application) -> None:
        """With its newest secret, or with one of before."""
        secret = app.secrets[-1] if self.chance.random() < 0.6 else self.chance.choice(app.secrets)
        form = {"grant_type": "client_credentials", "resource": API}
        try:
            answer, begin, end = await self.ask(
                "POST", f"{self.issuer_path}/token", data=form, auth=(app.client_id, secret)
            )
        except Gone:
            return
        assert answer.status_code in (200, 401), answer.text
        token = answer.json().get("access_token", "")
        if token:
            app.tokens.append(token)
        self.told("issue", app.client_id, begin, end, yes=bool(token), secret=secret, token=token)

    async def introspect(self, app: Application) -> None:
        """As administrator, who may."""
        if not app.tokens:
            return
        token = self.chance.choice(app.tokens[-8:])
        try:
            answer, begin, end = await self.ask(
                "POST", f"{self.issuer_path}/introspect", data={"token": token}, auth=self.admin
            )
        except Gone:
            return
        self.told("introspect", app.client_id, begin, end, yes=answer.json()["active"], token=token)

    async def revoke(self, app: Application) -> None:
        """By the one whom it was given to, if it still can."""
        if not app.tokens:
            return None
        token, who = self.chance.choice(app.tokens[-8:]), (app.client_id, app.secrets[-1])
        try:
            answer, begin, end = await self.ask("POST", f"{self.issuer_path}/revoke", data={"token": token}, auth=who)
        except Gone as gone:
            return self.told("revoke", app.client_id, gone.args[0], NEVER, token=token)
        assert answer.status_code in (200, 401), answer.text
        return self.told("revoke", app.client_id, begin, end, yes=answer.status_code == 200, token=token)

    async def killing(self, enough: Callable[[int], bool], every: int) -> None:
        """Each so many operations a node dies, and comes back."""
        due = every
        while not enough(len(self.history)):
            await asyncio.sleep(0.005)
            if len(self.history) >= due:
                node = self.chance.choice(self.nodes)
                node.kill()
                self.kills += 1
                await node.start()
                due = len(self.history) + every


async def run(folder: Path, database: str, enough: Callable[[int], bool], every: int, seed: int) -> Callers:
    """A history, until there is enough of it."""
    ports = free_ports(2)
    settings = ["--public-url", f"http://127.0.0.1:{ports[0]}", *(["--database", database] if database else [])]
    made = await asyncio.to_thread(watchword, folder, "init", "--json", *settings)
    assert made.returncode == 0, made.stderr
    first = json.loads(made.stdout)
    nodes = [Node(folder, port, settings) for port in ports]
    try:
        await asyncio.gather(*(node.start() for node in nodes))
        command = ["api", "create", API, "--scope", "a:read", "--introspector", first["client_id"], "--json"]
        api = await asyncio.to_thread(watchword, folder, *command)
        assert api.returncode == 0, api.stderr
        callers = Callers(
            nodes, "/t/default", (first["client_id"], first["client_secret"]), json.loads(api.stdout)["api_id"],
            random.Random(seed),
        )  # fmt: skip
        async with callers.http:
            await callers.log_in()
            working = [callers.work(enough) for _ in range(WORKERS)]
            await asyncio.gather(*working, callers.killing(enough, every))
        return callers
    finally:
        for node in nodes:
            node.kill()


def main() -> int:
    """The long version."""
    said = argparse.ArgumentParser(description="Eight callers, two nodes, kills; is the history linearizable?")
    said.add_argument("--seconds", type=int, default=300)
    said.add_argument("--postgres", action="store_true")
    said.add_argument("--every", type=int, default=500, help="operations between two kills")
    said.add_argument("--seed", type=int, default=random.randrange(2**32))
    given = said.parse_args()
    cluster = Postgres.start(own=True) if given.postgres else None
    try:
        end = time.monotonic() + given.seconds
        with tempfile.TemporaryDirectory() as folder:
            url = cluster.fresh_database() if cluster is not None else ""
            found = asyncio.run(run(Path(folder), url, lambda _: time.monotonic() > end, given.every, given.seed))
    finally:
        if cluster is not None:
            cluster.stop()
    counted = Counter(event.what for event in found.history)
    print(f"seed {given.seed}: {sum(counted.values())} operations {dict(counted)}, {found.kills} kills")  # noqa: T201
    broken = violations(found.history, VISIBLE, NOTICED)
    print("\n".join(broken) or "no violation")  # noqa: T201
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
