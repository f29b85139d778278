"""Secrets that were imported as slow hashes: what strangers can do with them, and what their time tells."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import bcrypt
import httpx
import pytest
from tests.support.instance import ISSUER, Instance, credentials_of, instance

from watchword.server.service.clients.imported_secrets import FREE, MAX_OF_SOURCE, MAX_WAITING, matches

SECRET = "the secret of long ago"


@pytest.fixture
async def ww(tmp_path: Path) -> AsyncIterator[Instance]:
    """An instance with the imported application `moved`."""
    async with instance(tmp_path) as running:
        yield running


class Counted:
    """The slow hash, counted."""

    def __init__(self) -> None:
        self.calls, self.at_once, self.most = 0, 0, 0

    def __call__(self, imported: str, given: bytes) -> bool:
        """As the real one."""
        self.calls += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            return matches(imported, given)
        finally:
            self.at_once -= 1


def checker(ww: Instance) -> Any:
    """What checks imported secrets in this worker."""
    return ww.services.clients.prove._imported


@pytest.fixture
def counted(ww: Instance) -> Counted:
    """Counts hashes."""
    found = checker(ww).matches = Counted()
    return found


async def imported(ww: Instance, client_id: str = "moved") -> None:
    """An application whose secret is known by its hash only."""
    kept = "bcrypt:" + bcrypt.hashpw(SECRET.encode(), bcrypt.gensalt(4)).decode()
    api = await ww.api(f"urn:{client_id}", "read")
    grants = [{"api_id": api["api_id"], "scopes": ["read"]}]
    body = {"name": client_id, "client_id": client_id, "secret_hash": kept, "grants": grants}
    assert (await ww.call("POST", "/applications", body)).status_code == 201


def at(ww: Instance, address: str) -> httpx.AsyncClient:
    """The instance, asked from another address."""
    return httpx.AsyncClient(transport=ww.door.from_address(address))


async def ask(http: httpx.AsyncClient, client_id: str, secret: str, endpoint: str = "token") -> httpx.Response:
    """POST with Basic."""
    form = {"grant_type": "client_credentials"} if endpoint == "token" else {"token": "x"}
    return await http.post(f"{ISSUER}/{endpoint}", data=form, auth=(client_id, secret))


@pytest.mark.parametrize("endpoint", ["token", "introspect", "revoke"])
async def test_wrong_guesses_cost_few_hashes(ww: Instance, counted: Counted, endpoint: str) -> None:
    """1,100 wrong guesses kept a tenant busy for 74 s; and the owner must not pay for a stranger's guesses."""
    await imported(ww)
    async with at(ww, "127.0.0.3") as stranger, at(ww, "127.0.0.2") as owner:
        told = [(await ask(stranger, "moved", f"a wrong secret, {n:04}", endpoint)).status_code for n in range(60)]
        assert told == [401] * FREE + [429] * (60 - FREE)
        assert counted.calls == FREE
        assert (await ask(owner, "moved", SECRET, endpoint)).status_code == 200
        assert counted.calls == FREE + 1
        assert (await ask(stranger, "moved", SECRET)).status_code == 200  # upgraded: no hash any more
        assert counted.calls == FREE + 1


async def test_few_wait_for_a_hash(ww: Instance, counted: Counted) -> None:
    """A flood from many addresses would hold every place in the server; now the rest is told to come again."""
    await imported(ww)
    turn: asyncio.Lock = checker(ww)._turn
    await turn.acquire()  # as if a slow hash were running
    clients = [at(ww, f"127.0.1.{n}") for n in range(1, 9)]
    waiting = {
        asyncio.ensure_future(ask(client, "moved", "a wrong secret, anyway")) for client in clients for _ in range(6)
    }
    refused: set[asyncio.Future[httpx.Response]] = set()
    while len(refused) < 48 - MAX_WAITING:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        refused |= done
    assert {each.result().status_code for each in refused} == {429}
    assert all(each.result().headers["retry-after"] for each in refused)
    assert max(checker(ww)._waiting.values()) <= MAX_OF_SOURCE
    turn.release()
    assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [401] * MAX_WAITING
    assert (counted.calls, counted.most, checker(ww)._waiting) == (MAX_WAITING, 1, {})
    for client in clients:
        await client.aclose()


async def test_unknown_and_wrong_cost_the_same(ww: Instance, counted: Counted) -> None:
    """The time of an answer would tell which client ids exist, and which were imported."""
    modern = credentials_of(await ww.application("modern", await ww.api("urn:ledger", "read"), "read"))
    assert (await ww.token(("nobody", "a wrong secret, anyway"))).status_code == 401
    assert counted.calls == 0  # nothing was imported into this tenant: no hash for strangers
    await imported(ww)
    await ww.token(("moved", "a wrong secret, anyway"))
    assert counted.calls == 1
    for n, client_id in enumerate(("moved", "nobody", modern[0], "nobody else"), 2):
        assert (await ww.token((client_id, "a wrong secret, anyway"))).status_code == 401
        assert counted.calls == n
    assert (await ww.token(modern)).status_code == 200
    assert counted.calls == 5


async def test_short_secrets_are_no_imports(ww: Instance, counted: Counted) -> None:
    """A secret of a few characters is found within the guess limit."""
    for secret in ("", "x", "x" * 15):
        body = {"name": "short", "client_id": "short", "secret": secret}
        answer = await ww.call("POST", "/applications", body)
        assert (answer.status_code, answer.json()["field"]) == (400, "secret")
    kept = "pbkdf2_sha256$1000$s$" + hashlib.pbkdf2_hmac("sha256", b"x" * 15, b"s", 1000).hex()
    body = {"name": "short", "client_id": "short", "secret_hash": kept}
    assert (await ww.call("POST", "/applications", body)).status_code == 201
    assert (await ww.token(("short", "x" * 15))).status_code == 401
    assert counted.calls == 0


async def test_a_hash_that_is_none(ww: Instance) -> None:
    """A salt with characters that bcrypt does not have was a 500."""
    body = {"name": "odd", "client_id": "odd", "secret_hash": "bcrypt:$2b$04$" + "!" * 53}
    assert (await ww.call("POST", "/applications", body)).status_code == 201
    assert (await ww.token(("odd", SECRET))).status_code == 401
