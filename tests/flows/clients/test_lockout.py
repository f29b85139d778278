"""Lockout that an outsider cannot use against the owner."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.support.assertions import Caller
from tests.support.instance import ISSUER, Instance, credentials_of, instance

FREE = 20


@pytest.fixture
async def ww(tmp_path: Path) -> AsyncIterator[Instance]:
    """A running instance."""
    async with instance(tmp_path, wrong_proofs=FREE) as running:
        yield running


def at(ww: Instance, address: str) -> httpx.AsyncClient:
    """The same instance, asked from another address of loopback."""
    return httpx.AsyncClient(transport=ww.door.from_address(address))


async def ask(http: httpx.AsyncClient, client_id: str, secret: str, endpoint: str = "token") -> httpx.Response:
    """POST with Basic."""
    form = {"grant_type": "client_credentials"} if endpoint == "token" else {"token": "x"}
    return await http.post(f"{ISSUER}/{endpoint}", data=form, auth=(client_id, secret))


async def test_rlm_001_brute_force_does_not_lock_the_owner_out(ww: Instance) -> None:
    """RLM-001: whoever knows a client id could stop its owner, from anywhere, with wrong secrets."""
    caller = credentials_of(await ww.application("caller", await ww.api("urn:ledger", "read"), "read"))
    async with at(ww, "127.0.0.3") as attacker, at(ww, "127.0.0.2") as owner:
        told = []
        for _ in range(FREE + 20):
            told.append(await ask(attacker, caller[0], "wrong"))
            assert (await ask(owner, *caller)).status_code == 200
        assert [each.status_code for each in told] == [401] * FREE + [429] * 20
        assert (told[-1].json()["error"], told[-1].headers["retry-after"]) == ("slow_down", "5")
        assert "www-authenticate" not in told[-1].headers


async def test_rlm_001_a_right_secret_is_served_from_the_same_address(ww: Instance) -> None:
    """RLM-001: behind one address stand the broken device and the whole fleet."""
    caller = credentials_of(await ww.application("caller", await ww.api("urn:ledger", "read"), "read"))
    async with at(ww, "127.0.0.3") as shared:
        told = [(await ask(shared, caller[0], "wrong")).status_code for _ in range(FREE + 1)]
        assert told[-1] == 429
        assert (await ask(shared, *caller)).status_code == 200
        assert (await ask(shared, "another", "wrong")).status_code == 401
        ww.clock.now += 1_000
        assert (await ask(shared, caller[0], "wrong")).status_code == 401


async def test_rlm_003_wrong_assertions_lock_nobody_out(ww: Instance) -> None:
    """RLM-003: a flood of wrong assertions from a device's own address would stop the device."""
    device = await Caller.register(ww, await ww.api("urn:ledger", "a:read"), "device")
    told = [(await device.token(aud="https://evil.example")).status_code for _ in range(FREE + 5)]
    assert told == [401] * FREE + [429] * 5
    assert (await device.token()).status_code == 200


@pytest.mark.parametrize("endpoint", ["introspect", "revoke"])
async def test_every_endpoint_counts(ww: Instance, endpoint: str) -> None:
    """Guessing would move to the endpoint that does not count."""
    async with at(ww, "127.0.0.3") as attacker:
        told = [(await ask(attacker, "a", "wrong", endpoint)).status_code for _ in range(FREE + 1)]
    assert told == [401] * FREE + [429]


async def test_refused_guesses_are_on_record(ww: Instance) -> None:
    """An attack that is slowed down would no longer be seen."""
    async with at(ww, "127.0.0.3") as attacker:
        for _ in range(FREE + 5):
            await ask(attacker, "a", "wrong")
    kinds = {(key[1], found.count) for key, found in ww.services.tokens.refusals.take()}
    assert ("slow_down (wrong credentials)", 5) in kinds
