"""Clients that are slow: they hold nothing that others need."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.support.instance import ISSUER, Instance, credentials_of, instance

SLOW = 500


async def slow(ww: Instance, arrived: asyncio.Queue[None]) -> None:
    """A token request whose body stops in the middle."""

    async def receive() -> dict[str, Any]:
        if arrived_once:
            await asyncio.Event().wait()
        arrived_once.append(True)
        arrived.put_nowait(None)
        return {"type": "http.request", "body": b"grant_type=client", "more_body": True}

    async def send(message: Any) -> None:
        raise AssertionError("nobody has asked for anything yet")

    arrived_once: list[bool] = []
    path = "/t/default/token"
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(b"content-type", b"application/x-www-form-urlencoded"), (b"content-length", b"1000")],
        "client": ("127.0.0.1", 1), "scheme": "http",
    }  # fmt: skip
    await ww.http._transport.app(scope, receive, send)  # type: ignore[attr-defined]


async def test_dbf_017_five_hundred_slow_clients(tmp_path: Path, postgres_dsn: str) -> None:
    """DBF-017: each slow body would hold a database connection, and five hundred of them all there are."""
    async with instance(tmp_path, postgres_dsn) as ww:
        arrived: asyncio.Queue[None] = asyncio.Queue()
        waiting = [asyncio.create_task(slow(ww, arrived)) for _ in range(SLOW)]
        for _ in range(SLOW):
            await arrived.get()
        body = {"identifier": "urn:rs1", "name": "rs1", "scopes": [{"name": "a"}], "introspectors": [ww.admin[0]]}
        api = (await ww.call("POST", "/apis", body)).json()
        caller = credentials_of(await ww.application("caller", api, "a"))
        for n in range(20):
            token = await ww.token(caller)
            assert token.status_code == 200, token.text
            told = await ww.introspect(ww.admin, token.json()["access_token"])
            assert told["active"] is True
            made = await ww.call("POST", "/apis", {"identifier": f"urn:api:{n}", "name": "an API", "scopes": []})
            assert made.status_code == 201, made.text
        assert (await ww.http.get(f"{ISSUER}/jwks")).status_code == 200
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
