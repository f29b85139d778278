"""Rows that somebody wrote into `signing_key` without the master key."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from tests.support.instance import BASE, ISSUER, Instance, instance

from watchword.jose import Algorithm, PrivateKey, Signer
from watchword.jose.compact import decode_unverified
from watchword.server.keys.model import SigningKey
from watchword.server.storage import schema

THIEF = PrivateKey.generate(Algorithm.ES256)
EDDSA = PrivateKey.generate(Algorithm.EdDSA)


@pytest.fixture
async def ww(tmp_path: Path) -> AsyncIterator[Instance]:
    """An instance whose database the thief can write to."""
    async with instance(tmp_path) as running:
        yield running


async def rows(ww: Instance) -> list[SigningKey]:
    """What stands in the table."""
    async with ww.services.storage.engine.connect() as connection:
        found = await connection.execute(sa.select(schema.signing_key.c.body))
        return [msgspec.json.decode(body, type=SigningKey) for (body,) in found.fetchall()]


async def write(ww: Instance, key: SigningKey) -> None:
    """Insert or replace a row behind the server's back, and let each worker read it again."""
    table = schema.signing_key
    columns: dict[str, Any] = {
        "tenant_id": key.tenant_id, "id": key.kid, "sort": f"zz{key.kid}", "deleted": False, "version": key.version,
        "body": msgspec.json.encode(key), "algorithm": key.algorithm, "state": key.state,
    }  # fmt: skip
    async with ww.services.storage.engine.begin() as connection:
        await connection.execute(sa.delete(table).where(table.c.id == key.kid))
        await connection.execute(sa.insert(table).values(**columns))
    await ww.services.view._begin_anew()


async def planted(ww: Instance, key: PrivateKey, state: Any, sealed: bytes) -> SigningKey:
    """The thief's own key, as if it were the tenant's."""
    first = (await rows(ww))[0]
    row = SigningKey(
        tenant_id=first.tenant_id, kid=key.kid, algorithm=key.algorithm.value, state=state,  # type: ignore[arg-type]
        public_jwk=key.public.to_jwk(), sealed=sealed, published_at=int(ww.clock.now) - 90_000,
        activated_at=int(ww.clock.now), gone_at=int(ww.clock.now) + 90_000 if state == "retiring" else None,
    )  # fmt: skip
    await write(ww, row)
    return row


async def published(ww: Instance) -> dict[str, dict[str, Any]]:
    """The JWK set by kid."""
    answer = await ww.http.get(f"{ISSUER}/jwks")
    assert answer.status_code == 200, answer.text
    return {key["kid"]: key for key in answer.json()["keys"]}


async def forged(ww: Instance, key: PrivateKey) -> str:
    """The administrator's own token, signed by the thief."""
    token = (await ww.bearer())["authorization"][7:]
    claims = json.loads(decode_unverified(token).unverified_payload)
    return Signer(key, typ="at+jwt").sign(json.dumps({**claims, "jti": "forged"}).encode())


async def believed(ww: Instance, token: str) -> bool:
    """Whether the admin API, the forward-auth answers and introspection accept a token."""
    answer = await ww.call("GET", "/applications", headers={"authorization": f"Bearer {token}"})
    return answer.status_code == 200 or (await ww.introspect(ww.admin, token))["active"]


SEALED: dict[str, Callable[[list[SigningKey]], bytes]] = {
    "none": lambda found: b"",
    "noise": lambda found: b"\1" * 200,
    "another key's": lambda found: next(key.sealed for key in found if key.state == "active"),
}


@pytest.mark.parametrize("sealed", SEALED.values(), ids=SEALED.keys())
@pytest.mark.parametrize(
    ("key", "state"), [(THIEF, "retiring"), (THIEF, "next"), (EDDSA, "active")], ids=["retiring", "next", "active"]
)
async def test_a_planted_key(
    ww: Instance, key: PrivateKey, state: str, sealed: Callable[[list[SigningKey]], bytes]
) -> None:
    """Whoever can write to the database would sign tokens for everybody."""
    before = await published(ww)
    token = await forged(ww, key)
    await planted(ww, key, state, sealed(await rows(ww)))
    assert await published(ww) == before
    assert not await believed(ww, token)
    assert (await ww.token(ww.admin)).status_code == 200


async def test_a_public_half_that_was_exchanged(ww: Instance) -> None:
    """The row's own kid and private half, with the thief's public half beside them."""
    before = await published(ww)
    token = await forged(ww, THIEF)
    for row in await rows(ww):
        await write(ww, msgspec.structs.replace(row, public_jwk={**THIEF.public.to_jwk(), "kid": row.kid}))
    assert await published(ww) == before
    assert not await believed(ww, token)
    appid = await ww.http.get(f"{BASE}/oauth/v4/default/publickeys")
    assert THIEF.public.to_jwk()["x"] not in appid.text
    assert [key["kid"] for key in appid.json()["keys"]]


async def test_another_tenant_s_row(ww: Instance) -> None:
    """A tenant would believe what another tenant's key signed."""
    assert (await ww.call("POST", "/tenants", {"slug": "acme", "name": "Acme"})).status_code == 201
    found = await rows(ww)
    default = await ww.services.view.tenant("default")
    assert default is not None
    before = await published(ww)
    foreign = next(row for row in found if row.tenant_id != default.tenant.tenant_id)
    table = schema.signing_key
    async with ww.services.storage.engine.begin() as connection:
        row = (await connection.execute(sa.select(table).where(table.c.id == foreign.kid))).mappings().one()
        moved = {**row, "tenant_id": default.tenant.tenant_id, "state": "retiring"}
        moved["body"] = msgspec.json.encode(msgspec.structs.replace(foreign, state="retiring"))
        await connection.execute(sa.insert(table).values(**moved))
    await ww.services.view._begin_anew()
    assert await published(ww) == before


async def test_rotation_leaves_planted_rows_alone(ww: Instance) -> None:
    """The schedule would make the thief's `next` key the one that signs, or stumble over it for ever."""
    row = await planted(ww, THIEF, "next", b"")
    for _ in range(4):
        ww.clock.now += 31 * 86_400
        await ww.services.keys.rotate.on_schedule(row.tenant_id)
    assert next(key for key in await rows(ww) if key.kid == THIEF.kid) == row
    await ww.services.view._begin_anew()
    assert (await ww.token(ww.admin)).status_code == 200
    assert THIEF.kid not in await published(ww)


async def test_an_administrator_removes_a_planted_row(ww: Instance) -> None:
    """Who reads the log line needs a way to end it."""
    row = await planted(ww, THIEF, "retiring", b"")
    assert (await ww.call("DELETE", f"/keys/{row.kid}")).status_code == 204
    assert next(key.state for key in await rows(ww) if key.kid == THIEF.kid) == "gone"
    assert (await ww.token(ww.admin)).status_code == 200
