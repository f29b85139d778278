"""What stands in the database, on both of them: nothing that opens a door, and nothing that can be changed unseen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.support.instance import ISSUER, Instance, credentials_of, instance

from watchword.server.registry.secret_text import generate, well_formed
from watchword.server.serving.worker import LossyWriter
from watchword.server.storage import schema


@pytest.fixture(params=["sqlite", "postgres"])
async def ww(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Instance]:
    """The same instance on each database."""
    url = request.getfixturevalue("postgres_dsn") if request.param == "postgres" else ""
    async with instance(tmp_path, url) as running:
        yield running


async def dump(ww: Instance) -> bytes:
    """Every value of every table."""
    parts: list[bytes] = []
    async with ww.services.storage.engine.connect() as connection:
        for table in schema.metadata.sorted_tables:
            for row in (await connection.execute(sa.select(table))).fetchall():
                parts += [bytes(v) if isinstance(v, bytes | memoryview) else str(v).encode() for v in row]
    return b"\n".join(parts)


async def tenant_id(ww: Instance) -> str:
    """The default tenant's id."""
    found = await ww.services.view.tenant("default")
    assert found is not None
    return found.tenant.tenant_id


async def test_a_dump_opens_no_door(ww: Instance, tmp_path: Path) -> None:
    """CAU-039 ROT-010: whoever steals a backup would have every secret, token and signing key."""
    api = await ww.api("https://rs1.example/", "a:read", format="opaque")
    app = await ww.application("caller", api, "a:read")
    token = (await ww.token(credentials_of(app))).json()["access_token"]
    found = await dump(ww)
    files = b"".join(path.read_bytes() for path in tmp_path.glob("watchword.db*"))
    view = await ww.services.view.tenant("default")
    assert view is not None
    for needle in (app["client_secret"], ww.admin[1], token, "BEGIN PRIVATE", "BEGIN RSA"):
        assert needle.encode() not in found + files
    for key in view.signing.values():
        assert key.to_pkcs8() not in found + files
        assert key.to_pkcs8()[-32:] not in found + files


async def test_the_flow_on_this_database(ww: Instance) -> None:
    """REV-011 TEP-001: tokens, introspection, revocation and rotation would hold on one database only."""
    api = await ww.api("https://rs1.example/", "a:read", format="opaque")
    assert (await ww.call("PATCH", f"/apis/{api['api_id']}", {"introspectors": [ww.admin[0]]})).status_code == 200
    app = await ww.application("caller", api, "a:read")
    answers = await asyncio.gather(*(ww.token(credentials_of(app)) for _ in range(40)))
    tokens = [answer.json()["access_token"] for answer in answers]
    assert len(set(tokens)) == 40
    assert (await ww.introspect(ww.admin, tokens[0]))["active"] is True
    revoked = await ww.http.post(f"{ISSUER}/revoke", data={"token": tokens[0]}, auth=credentials_of(app))
    assert revoked.status_code == 200
    assert await ww.introspect(ww.admin, tokens[0]) == {"active": False}
    assert (await ww.call("POST", f"/applications/{app['client_id']}/secrets", {"overlap": 0})).status_code == 201
    assert (await ww.token(credentials_of(app))).status_code == 401
    await ww.services.upkeep.housekeeping.purge()
    assert (await ww.services.upkeep.audit.verify(await tenant_id(ww))).breaks == []


async def test_a_change_that_comes_between_is_seen(ww: Instance) -> None:
    """RAC-001 SEC-003: another node's disabling would be overlooked by whoever judged just before it."""
    from watchword.server.audit.events import TokenIssued

    api = await ww.api("https://rs1.example/", "a:read")
    app = await ww.application("caller", api, "a:read")
    as_of = ww.services.view.seq
    ww.services.storage.store.heed = lambda changes: None  # as if another node had made the change
    assert (await ww.call("PATCH", f"/applications/{app['client_id']}", {"enabled": False})).status_code == 200
    ww.services.storage.store.heed = ww.services.view.forget
    event = TokenIssued(at=1.0, token_id="t" * 32, audience=(), scope="", expires_at=1)
    assert await ww.services.commits.submit(await tenant_id(ww), app["client_id"], event, None, as_of) is False
    assert (await ww.token(credentials_of(app))).status_code == 401
    assert b"tttttttt" not in await dump(ww)


async def test_one_active_key_for_each_algorithm(ww: Instance) -> None:
    """ROT-007: two rotations at once, or one cut in half, would leave two keys signing, or none."""
    ww.clock.now += 4_000
    await asyncio.gather(*(ww.call("POST", "/keys/rotate", {"algorithm": "ES256"}) for _ in range(5)))
    keys = (await ww.call("GET", "/keys")).json()["items"]
    states = [(key["algorithm"], key["state"]) for key in keys]
    assert states.count(("ES256", "active")) == states.count(("RS256", "active")) == 1
    assert states.count(("ES256", "next")) == 1


async def test_a_lost_database_is_never_a_yes(tmp_path: Path) -> None:
    """INT-017 DBF-008: introspection would go on saying active while a revocation cannot reach it."""
    async with instance(tmp_path) as ww:
        token = (await ww.bearer())["authorization"][7:]
        ww.witness.faults = True
        (tmp_path / "watchword.db").rename(tmp_path / "elsewhere.db")
        ww.clock.now += 2
        answer = await ww.http.post(f"{ISSUER}/introspect", data={"token": token}, auth=ww.admin)
        assert answer.status_code == 503
        assert answer.json()["error"] == "temporarily_unavailable"
        assert int(answer.headers["retry-after"]) >= 1
        refused = await ww.token(ww.admin)
        assert refused.status_code == 503
        assert not (tmp_path / "watchword.db").exists()
        (tmp_path / "elsewhere.db").rename(tmp_path / "watchword.db")
        assert (await ww.token(ww.admin)).status_code == 200


def test_a_full_log_disk_stops_no_token() -> None:
    """LOG-012: the token service would fail because a log line cannot be written."""

    class Full:
        def write(self, text: str) -> None:
            raise OSError(28, "No space left on device")

    writer = LossyWriter(Full())
    writer.write("line\n")
    assert writer.lost == 1


@pytest.mark.parametrize(
    "damage", [lambda s: s[:-1], lambda s: s + "x", lambda s: s.replace(s[10], "-", 1), lambda s: "x" + s]
)
def test_a_mistyped_secret_is_recognised_offline(damage: Any) -> None:
    """A typo would cost a support case, and a scanner would miss a leak."""
    text = generate(bytes(range(32)))
    assert well_formed(text)
    assert not well_formed(damage(text))
