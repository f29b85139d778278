"""What one reader of the registry may cost the tenants beside it: no lock, no endless slice, no number as he likes."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.appid import AppId
from tests.support.instance import BASE, Instance, credentials_of, instance

from watchword.server.http.admin.pages import limit
from watchword.server.http.admin.routes import Request
from watchword.server.http.appid.handlers import AT_ONCE, AppIdHandlers
from watchword.server.http.wire import encode_json
from watchword.server.registry.errors import Invalid
from watchword.server.service.desk import Caller

_GIVEN = re.compile(r"\{(\w+)\}")


@asynccontextmanager
async def somebody_writes(ww: Instance) -> AsyncIterator[None]:
    """A change that holds the write lock for as long as the block runs."""
    async with ww.services.storage.store.transaction(60.0) as tx:
        await tx.tenants.page("", None, 1)
        yield


async def reads(ww: Instance, appid: AppId) -> list[str]:
    """The URL of every GET of both administrative surfaces, of things that exist where it is cheap to make one."""
    client_id, _ = await appid.application("reader", "read")
    role_id = await appid.role("r", {client_id: ["read"]})
    apis = (await ww.call("GET", "/apis")).json()["items"]
    known = {"client_id": client_id, "role_id": role_id, "api_id": apis[0]["api_id"], "clientId": client_id}

    def filled(path: str) -> str:
        return _GIVEN.sub(lambda found: str(known.get(found[1], "unknown")), path)

    described = (await ww.http.get(f"{BASE}/api/v1/openapi.json")).json()["paths"]
    ours = [f"{BASE}{filled(path)}" for path, methods in described.items() if "get" in methods]
    theirs = ["/applications", f"/applications/{client_id}", f"/applications/{client_id}/scopes",
              f"/applications/{client_id}/roles", "/roles", f"/roles/{role_id}", "/config/tokens"]  # fmt: skip
    return ours + [appid.management + path for path in theirs]


async def test_no_read_waits_for_a_change(tmp_path: Path) -> None:
    """A read that takes the write lock makes the tokens of all tenants wait for it, and waits for every change itself."""
    async with instance(tmp_path) as ww:
        urls, header = await reads(ww, AppId(ww)), await ww.bearer()
        assert len(urls) > 20
        async with somebody_writes(ww):
            answers = {url: (await ww.http.get(url, headers=header)).status_code for url in urls}
        assert {url: status for url, status in answers.items() if status not in (200, 400, 404)} == {}
        assert sum(status == 200 for status in answers.values()) > 15


class Shelf:
    """A store of applications in order of their names, that counts what each look at it brought."""

    def __init__(self, count: int) -> None:
        self.held = [SimpleNamespace(name=f"d{n:05}", client_id=f"c{n:05}") for n in range(count)]
        self.applications, self.slices = self, list[int]()

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Any]:
        self.slices.append(0)
        yield self

    async def page(self, tenant_id: str, after: tuple[str, str] | None, limit: int) -> list[Any]:
        found = [one for one in self.held if after is None or (one.name, one.client_id) > after][:limit]
        self.slices[-1] += len(found)
        return found


@pytest.mark.parametrize("count", [0, 1, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE])
async def test_a_long_list_is_read_in_slices(count: int) -> None:
    """30,000 devices in one go keep the event loop, and with it everybody's tokens, for a second."""
    shelf = Shelf(count)
    desk: Any = SimpleNamespace(store=shelf)
    handlers = AppIdHandlers(desk, None, lambda slug: f"https://i/{slug}", "https://i")  # type: ignore[arg-type]
    request = Request(Caller("t", "a"), {"tenant": "t"}, {}, None, None)
    told = json.loads(encode_json((await handlers.list_applications(request)).body))["applications"]
    assert [one["clientId"] for one in told] == [one.client_id for one in shelf.held]
    assert max(shelf.slices) <= AT_ONCE


@pytest.mark.parametrize(
    "text", ["000000500999999", "501", "0", "9" * 5_000, "0" * 5_000 + "1", "-1", "1e2", "\u00b2", ""]
)
def test_a_limit_is_judged_as_the_number_that_is_used(text: str) -> None:
    """`limit=000000500999999` returned 30,000 rows: its first nine digits were judged, and all of them were used."""
    with pytest.raises(Invalid):
        limit({"limit": text}, 50)


def test_limits_within_bounds() -> None:
    """A refusal of everything would pass the test above."""
    assert [limit({"limit": text}, 50) for text in ("1", "500", "0500")] == [1, 500, 500]
    assert limit({}, 50) == 50


NO_DATES = [-1, 253_402_300_800, 2**63, 2**64, -(2**70)]


async def test_a_number_in_a_body_is_within_bounds(tmp_path: Path) -> None:
    """A moment beyond the calendar was stored, and broke whoever had to show it as a date."""
    async with instance(tmp_path) as ww:
        device = credentials_of(await ww.application("d", await ww.api("urn:x", "a:b"), "a:b"))
        group = (await ww.call("POST", "/enrolment-groups", {"name": "g", "kind": "device"})).json()["group_id"]
        for at in NO_DATES:
            for method, path, body in (
                ("POST", "/applications", {"name": "n", "secret_expires_at": at}),
                ("POST", f"/applications/{device[0]}/secrets", {"expires_at": at}),
                ("POST", "/enrolment-groups", {"name": "h", "kind": "device", "expires_at": at}),
                ("PATCH", f"/enrolment-groups/{group}", {"expires_at": at}),
            ):
                answer = await ww.call(method, path, body)
                assert (answer.status_code, answer.json()["field"]) == (400, "expires_at"), (path, at)
        assert (
            await ww.call("PATCH", f"/enrolment-groups/{group}", {"expires_at": 253_402_300_799})
        ).status_code == 200


@pytest.mark.parametrize(
    ("told", "status"), [('"0000000000000000000001"', 412), ('"1"', 200), (f'"{"9" * 5_000}"', 412)]
)
async def test_an_etag_is_read_whole(tmp_path: Path, told: str, status: int) -> None:
    """If-Match named another version, and its first nine digits this one: the change was made."""
    async with instance(tmp_path) as ww:
        api = await ww.api("urn:x", "a:b")
        answer = await ww.call("PATCH", f"/apis/{api['api_id']}", {"name": "y"}, headers={"if-match": told})
        assert answer.status_code == status
