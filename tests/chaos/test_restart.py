"""A thousand callers, their tokens due for renewal, and a server that restarts at that moment."""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path

from tests.support.served import COMMAND, Registered, environment, free_port, ready, register

from watchword.client import ClientCredentials, Clock, Network
from watchword.resource import Fetch, Verifier

CLIENTS, CALLERS_EACH = 20, 50
API, SCOPE = "https://rs1.example/", "a:read"
LIFE, MARGIN, PATIENCE = 3_600, 45, 6
"""Seconds: of a token; before its end, when it is due; after which a failed renewal is tried again."""


class Shifted:
    """The callers' clock, which the test puts forward."""

    ahead = 0.0

    def __call__(self) -> float:
        """Unix seconds."""
        return time.time() + self.ahead


class Crowd:
    """Callers in groups that share their credentials; each gets a token, shows it to the API, and starts again."""

    def __init__(self, server: Registered) -> None:
        self.clock, self.calls, self.stopped = Shifted(), 0, False
        client_id, secret = server.credentials["client_secret_basic"]
        self.clients = [
            ClientCredentials(
                server.issuer,
                client_id,
                secret,
                resource=API,
                network=Network(insecure_http=True, clock=Clock(now=self.clock)),
            )
            for _ in range(CLIENTS)
        ]
        self._api = Verifier(server.issuer, audience=API, fetch=Fetch(insecure_http=True))

    async def call(self, client: ClientCredentials) -> None:
        """One caller."""
        while not self.stopped:
            await self._api.averify((await client.atoken()).value, SCOPE)
            self.calls += 1
            await asyncio.sleep(0)

    async def more(self, calls: int) -> None:
        """Wait for so many more; at most thirty seconds."""
        wanted = self.calls + calls
        async with asyncio.timeout(30):
            while self.calls < wanted:
                await asyncio.sleep(0.01)

    async def renewed(self, before: list[str]) -> None:
        """Wait until no client holds the token of before; at most thirty seconds."""
        async with asyncio.timeout(30):
            while set(before) & {(await client.atoken()).value for client in self.clients}:
                await asyncio.sleep(0.05)


def serve(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """The server on that port."""
    with (folder / "serve.log").open("a") as log:
        return subprocess.Popen(
            [*COMMAND, "serve", "--port", str(port)], cwd=folder, env=environment(folder), stdout=log, stderr=log
        )


async def restarted_under(crowd: Crowd, folder: Path, port: int, child: subprocess.Popen[bytes]) -> None:
    """Tokens are due at the moment at which the server goes; it comes back; each client renews."""
    calling = [asyncio.create_task(crowd.call(each)) for each in crowd.clients for _ in range(CALLERS_EACH)]
    await crowd.more(10 * len(calling))
    before = [(await client.atoken()).value for client in crowd.clients]
    crowd.clock.ahead += LIFE - MARGIN
    child.terminate()
    await asyncio.to_thread(child.wait, 20)
    await crowd.more(10 * len(calling))
    again = serve(folder, port)
    try:
        await ready(f"http://127.0.0.1:{port}")
        crowd.clock.ahead += PATIENCE
        await crowd.renewed(before)
        await crowd.more(10 * len(calling))
        crowd.stopped = True
        failed = [each for each in await asyncio.gather(*calling, return_exceptions=True) if each is not None]
        assert failed == []
    finally:
        again.terminate()
        again.wait(20)


def test_a_thousand_callers_over_a_renewal_and_a_restart(tmp_path: Path) -> None:
    """An upgrade of the server would fail the calls of everybody whose token was due just then."""
    port = free_port()
    child = serve(tmp_path, port)
    try:
        asyncio.run(ready(f"http://127.0.0.1:{port}"))
        server = register(f"http://127.0.0.1:{port}", tmp_path, API, (SCOPE,), "client_secret_basic")
        asyncio.run(restarted_under(Crowd(server), tmp_path, port, child))
    finally:
        child.terminate()
        child.wait(20)
