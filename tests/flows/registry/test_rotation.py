"""Secrets and signing keys rotate; nobody is locked out and nothing compromised goes on working."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from tests.support.instance import ISSUER, Instance, credentials_of, instance

AHEAD = 600


@pytest.fixture
async def ww(tmp_path: Path) -> AsyncIterator[Instance]:
    """A running instance whose keys are published ten minutes ahead."""
    async with instance(tmp_path, key_publish_ahead=AHEAD) as running:
        yield running


@pytest.fixture
async def app(ww: Instance) -> dict[str, Any]:
    """An application with one grant at an API that may introspect through the administrator."""
    api = await ww.api("https://rs1.example/", "a:read")
    changed = await ww.call("PATCH", f"/apis/{api['api_id']}", {"introspectors": [ww.admin[0]]})
    assert changed.status_code == 200
    return await ww.application("caller", api, "a:read")


def kid_of(token: str) -> str:
    """The key that signed it."""
    head = token.split(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"])


async def kids(ww: Instance) -> set[str]:
    """What the JWK set names now."""
    return {key["kid"] for key in (await ww.http.get(f"{ISSUER}/jwks")).json()["keys"]}


async def rotate(ww: Instance, app: dict[str, Any], overlap: int) -> tuple[str, str]:
    """A new secret."""
    answer = await ww.call("POST", f"/applications/{app['client_id']}/secrets", {"overlap": overlap})
    assert answer.status_code == 201
    return app["client_id"], answer.json()["client_secret"]


async def status(ww: Instance, credentials: tuple[str, str]) -> int:
    """What /token says to them."""
    return (await ww.token(credentials)).status_code


async def test_both_secrets_work_until_the_overlap_ends(ww: Instance, app: dict[str, Any]) -> None:
    """SEC-001 SEC-002 CAU-032: a rotation would be an outage, or the old secret would live for ever."""
    old, new = credentials_of(app), await rotate(ww, app, 3_600)
    assert (await status(ww, old), await status(ww, new)) == (200, 200)
    ww.clock.now += 3_599
    assert await status(ww, old) == 200
    ww.clock.now += 1
    assert (await status(ww, old), await status(ww, new)) == (401, 200)


async def test_a_cut_is_at_once(ww: Instance, app: dict[str, Any]) -> None:
    """SEC-003: a leaked secret would go on working."""
    old, new = credentials_of(app), await rotate(ww, app, 0)
    assert (await status(ww, old), await status(ww, new)) == (401, 200)


async def test_at_most_one_older_secret_lives(ww: Instance, app: dict[str, Any]) -> None:
    """SEC-004: forgotten secrets would pile up; the oldest dies first."""
    known = [credentials_of(app)] + [await rotate(ww, app, 3_600) for _ in range(5)]
    assert [await status(ww, each) for each in known] == [401, 401, 401, 401, 200, 200]


async def test_racing_rotations_leave_a_secret_that_works(ww: Instance, app: dict[str, Any]) -> None:
    """SEC-005: two operators at once would lock the application out."""
    made = await asyncio.gather(*(rotate(ww, app, 3_600) for _ in range(20)))
    working = [each for each in made if await status(ww, each) == 200]
    assert len(working) == 2


@pytest.mark.parametrize("form", ["bcrypt", "pbkdf2"], ids=lambda f: f"SEC-010 {f}")
async def test_an_imported_hash_is_replaced_at_first_use(ww: Instance, app: dict[str, Any], form: str) -> None:
    """Moving from another server would need new secrets everywhere, or keep slow hashes for ever."""
    if form == "bcrypt":
        kept = "bcrypt:" + bcrypt.hashpw(b"the old secret of the application", bcrypt.gensalt(4)).decode()
    else:
        kept = (
            "pbkdf2_sha256$1000$salt$"
            + hashlib.pbkdf2_hmac("sha256", b"the old secret of the application", b"salt", 1000).hex()
        )
    body = {"name": "moved", "client_id": "moved id", "secret_hash": kept, "grants": app["grants"]}
    assert (await ww.call("POST", "/applications", body)).status_code == 201
    assert await status(ww, ("moved id", "wrong")) == 401
    assert await status(ww, ("moved id", "the old secret of the application")) == 200
    tenant = await ww.services.view.tenant("default")
    assert tenant is not None
    stored = await ww.services.storage.reader.application(tenant.tenant.tenant_id, "moved id")
    assert stored is not None
    assert stored.secrets[0].digest.startswith("hmac:")
    assert await status(ww, ("moved id", "the old secret of the application")) == 200


async def test_the_next_key_is_published_before_it_signs(ww: Instance, app: dict[str, Any]) -> None:
    """ROT-001 ROT-002 ROT-012: verifiers would meet a key that they cannot know, or lose one that they need."""
    before = (await ww.token(credentials_of(app))).json()["access_token"]
    listed = await kids(ww)
    early = await ww.call("POST", "/keys/rotate", {"algorithm": "ES256"})
    assert early.status_code == 409
    ww.clock.now += AHEAD
    turned = await ww.call("POST", "/keys/rotate", {"algorithm": "ES256"})
    assert turned.status_code == 200
    after = (await ww.token(credentials_of(app))).json()["access_token"]
    assert kid_of(after) != kid_of(before)
    assert kid_of(after) in listed
    assert {kid_of(before), kid_of(after)} <= await kids(ww)
    assert (await ww.introspect(ww.admin, before))["active"] is True
    ww.clock.now += 86_400 + 601
    await ww.services.upkeep.housekeeping.rotate_keys()
    assert kid_of(before) not in await kids(ww)


async def test_rotation_happens_by_itself(ww: Instance, app: dict[str, Any]) -> None:
    """ROT-001: a key that nobody turns would sign for ever."""
    before = (await ww.token(credentials_of(app))).json()["access_token"]
    ww.clock.now += 30 * 86_400 + 1
    await ww.services.view.refresh()
    await ww.services.upkeep.housekeeping.rotate_keys()
    after = (await ww.token(credentials_of(app))).json()["access_token"]
    assert kid_of(after) != kid_of(before)
    await ww.services.upkeep.housekeeping.rotate_keys()
    assert kid_of((await ww.token(credentials_of(app))).json()["access_token"]) == kid_of(after)


async def test_a_compromised_key_leaves_at_once(ww: Instance, app: dict[str, Any]) -> None:
    """ROT-005: whoever stole it could go on forging tokens."""
    stolen = (await ww.token(credentials_of(app))).json()["access_token"]
    assert (await ww.introspect(ww.admin, stolen))["active"] is True
    # The administrator's own token is signed by the same key, so it ends with it; a new one is asked for.
    assert (await ww.call("DELETE", f"/keys/{kid_of(stolen)}")).status_code == 204
    assert kid_of(stolen) not in await kids(ww)
    assert await ww.introspect(ww.admin, stolen) == {"active": False}
    assert await status(ww, credentials_of(app)) == 200


async def test_the_jwk_set_is_public_and_cacheable(ww: Instance) -> None:
    """ROT-009: a private member would end everything; an unbounded cache would break rotation."""
    answer = await ww.http.get(f"{ISSUER}/jwks")
    for key in answer.json()["keys"]:
        assert not key.keys() & {"d", "p", "q", "dp", "dq", "qi", "k"}
        assert key["use"] == "sig"
        assert key["kid"]
        assert key["alg"] in ("ES256", "RS256")
    assert answer.headers["cache-control"] == f"public, max-age={AHEAD}"
    again = await ww.http.get(f"{ISSUER}/jwks", headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304


async def test_a_cut_off_ends_earlier_tokens_only(ww: Instance, app: dict[str, Any]) -> None:
    """INT-010 REV-010: revoke-all would miss tokens, or hit those that came after it."""
    before = (await ww.token(credentials_of(app))).json()["access_token"]
    ww.clock.now += 0.002
    assert (await ww.call("POST", f"/applications/{app['client_id']}/cut-off")).status_code == 200
    ww.clock.now += 0.002
    after = (await ww.token(credentials_of(app))).json()["access_token"]
    assert await ww.introspect(ww.admin, before) == {"active": False}
    assert (await ww.introspect(ww.admin, after))["active"] is True


async def test_disabling_is_at_once(ww: Instance, app: dict[str, Any]) -> None:
    """INT-009: a disabled application would get tokens, or its tokens would stay active."""
    token = (await ww.token(credentials_of(app))).json()["access_token"]
    assert (await ww.call("PATCH", f"/applications/{app['client_id']}", {"enabled": False})).status_code == 200
    assert await status(ww, credentials_of(app)) == 401
    assert await ww.introspect(ww.admin, token) == {"active": False}
