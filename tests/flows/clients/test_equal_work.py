"""Wrong credentials cost the same work for clients that exist and for those that do not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.assertions import Caller, refused
from tests.support.instance import Instance, credentials_of, instance


class Counting:
    """The database, with its look-ups of applications counted."""

    def __init__(self, reader: Any) -> None:
        self._reader, self.looked = reader, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    async def application(self, tenant_id: str, client_id: str) -> Any:
        """As the real one."""
        self.looked += 1
        return await self._reader.application(tenant_id, client_id)


@pytest.fixture
async def ww(tmp_path: Path) -> AsyncIterator[Instance]:
    """A running instance."""
    async with instance(tmp_path) as running:
        yield running


async def test_an_unknown_client_costs_what_a_wrong_secret_costs(ww: Instance) -> None:
    """A look-up more for unknown ids was 40 to 75 us: enough to tell which client ids exist."""
    api = await ww.api("urn:ledger", "read")
    known = credentials_of(await ww.application("caller", api, "read"))
    assert (await ww.token(known)).status_code == 200  # now it is in memory
    caller = await Caller.register(ww, await ww.api("https://rs1.example/", "a:read"), "by key")
    assert (await caller.token()).status_code == 200
    view: Any = ww.services.view
    view._reader = counted = Counting(view._reader)
    for attempt in (
        lambda: ww.token((known[0], "wrong")),
        lambda: ww.token(("nobody", "wrong")),
        lambda: caller.token(sign=lambda _: b"\1" * 64),
        lambda: caller.token(aud="https://other.example"),
    ):
        for _ in range(3):
            before = counted.looked
            refused(await attempt())
            assert counted.looked == before + 1
    before = counted.looked
    assert (await ww.token(known)).status_code == 200
    assert counted.looked == before  # those who are right pay nothing
