"""What watches every request of the flows sees what it is there for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import structlog
from tests.support.instance import ISSUER, Instance, instance

from watchword.server.service.tokens.refusals import printable
from watchword.server.storage import schema

JSON = {"content-type": "application/json", "cache-control": "no-store"}
RIGHT = {"error": "invalid_client", "error_description": "no"}


@pytest.fixture
async def ww(tmp_path: Path) -> AsyncIterator[Instance]:
    """A running instance."""
    async with instance(tmp_path) as running:
        yield running


async def answered(ww: Instance, answer: httpx.Response, lines: int = 1, then: Any = None) -> None:
    """As if the server had answered so, and logged so many lines."""

    async def ask(_: httpx.Request) -> httpx.Response:
        for _ in range(lines):
            structlog.get_logger().info("request refused")
        if then is not None:
            await then()
        return answer

    await ww.witness.watch(ww.services, httpx.Request("POST", f"{ISSUER}/token", content=b""), ask)


async def test_a_right_refusal(ww: Instance) -> None:
    """It would cry wolf."""
    await answered(ww, httpx.Response(401, json=RIGHT, headers=JSON))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(httpx.Response(401, json={**RIGHT, "access_token": "x"}, headers=JSON), id="N1"),
        pytest.param(httpx.Response(401, json={**RIGHT, "trace": "x"}, headers=JSON), id="N2 a member"),
        pytest.param(httpx.Response(401, json=[RIGHT], headers=JSON), id="N2 no object"),
        pytest.param(httpx.Response(401, json=RIGHT), id="N2 may be stored"),
        pytest.param(httpx.Response(401, json=RIGHT, headers={**JSON, "content-type": "text/html"}), id="N2 a page"),
        pytest.param(httpx.Response(401, json=RIGHT, headers={**JSON, "set-cookie": "a=b"}), id="N2 a cookie"),
        pytest.param(httpx.Response(500, json=RIGHT, headers=JSON), id="N5"),
        pytest.param(httpx.Response(503, json=RIGHT, headers=JSON), id="N5 nothing was broken"),
    ],
)
async def test_a_wrong_refusal(ww: Instance, answer: httpx.Response) -> None:
    """N1, N2 and N5 would be asserted by nobody."""
    with pytest.raises(AssertionError):
        await answered(ww, answer)


@pytest.mark.parametrize("lines", [0, 2])
async def test_a_refusal_that_is_not_logged_once(ww: Instance, lines: int) -> None:
    """N3 would be asserted by nobody."""
    with pytest.raises(AssertionError):
        await answered(ww, httpx.Response(401, json=RIGHT, headers=JSON), lines)


async def test_a_refusal_that_changes_something(ww: Instance) -> None:
    """N6 would be asserted by nobody."""

    async def change() -> None:
        async with ww.services.storage.engine.begin() as connection:
            await connection.execute(sa.insert(schema.replay_mark).values(tenant_id="t", key=b"k", expires_at=2**33))

    with pytest.raises(AssertionError, match="changed what is kept"):
        await answered(ww, httpx.Response(401, json=RIGHT, headers=JSON), then=change)


@pytest.mark.parametrize("shown", ["secret", "token", "connection", "unanswered"])
async def test_what_is_judged_at_the_end(tmp_path: Path, shown: str) -> None:
    """N3 and N4, and that what was issued is what was answered, would be asserted by nobody."""
    with pytest.raises(AssertionError):
        async with instance(tmp_path) as ww:
            header = await ww.bearer()
            if shown == "secret":
                structlog.get_logger().info("hello", client_id=printable(ww.admin[1]))
            elif shown == "token":
                structlog.get_logger().info(header["authorization"])
            elif shown == "connection":
                with pytest.raises(OSError, match="no such name"):
                    await ww.services.world.resolve("evil.example", 443)
            else:
                ww.witness.issued -= 1
