"""An API whose tokens are CWTs (RFC 8392): issued, introspected, revoked, cut off and verified as JWTs are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cbor2
import httpx
import pytest
from tests.support.instance import ISSUER, Instance, credentials_of, instance

from watchword.jose.cwt import cwt_bytes, read_unverified_cwt
from watchword.resource import Fetch, Introspection, Issuer, TokenInvalid, Verifier

AUDIENCE = "urn:meters"


async def device(running: Instance, **tokens: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """An API with CWTs and a device that may ask for it."""
    api = await running.api(AUDIENCE, "m:w", "m:r", format="cwt", **tokens)
    return api, await running.application("meter", api, "m:w", kind="device")


async def issued(running: Instance, app: dict[str, Any]) -> str:
    answer = await running.token(credentials_of(app))
    assert answer.status_code == 200, answer.text
    assert answer.json()["token_type"] == "Bearer"
    return str(answer.json()["access_token"])


async def keys(running: Instance, name: str = "jwks") -> httpx.Response:
    return await running.http.get(f"{ISSUER}/{name}")


async def verifier(running: Instance, *, cwt: bool = True) -> Verifier:
    """An API's, that fetches from the instance in this process."""
    jwks = (await keys(running)).content
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=json.loads(jwks)))
    return Verifier(
        Issuer(ISSUER, jwks_uri=f"{ISSUER}/jwks", cwt=cwt),
        audience=AUDIENCE,
        now=running.clock,
        fetch=Fetch(transport=transport, insecure_http=True),
    )


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
async def test_issued_and_verified(tmp_path: Path, algorithm: str) -> None:
    """A device's token must be good at its API, and small: at most a quarter of a CoAP datagram."""
    async with instance(tmp_path) as running:
        _, app = await device(running, algorithm=algorithm)
        token = await issued(running, app)
        assert len(cwt_bytes(token)) <= 256
        claims = (await verifier(running)).verify(token, "m:w")
        assert (claims.client_id, claims.subject, claims.scopes) == (app["client_id"], app["client_id"], {"m:w"})
        assert claims.expires_at == running.clock.now + 3600
        assert claims.raw["iss"] == ISSUER


async def test_only_where_it_is_said_so(tmp_path: Path) -> None:
    """An API that never heard of CWTs must not begin to take them, and one that has keeps to audience and time."""
    async with instance(tmp_path) as running:
        _, app = await device(running)
        token = await issued(running, app)
        with pytest.raises(TokenInvalid):
            (await verifier(running, cwt=False)).verify(token)
        verify = (await verifier(running)).verify
        with pytest.raises(TokenInvalid):
            verify(token[:-3] + "AAA")
        running.clock.now += 3600
        with pytest.raises(TokenInvalid, match="expired"):
            verify(token)


async def test_introspection_and_revocation(tmp_path: Path) -> None:
    """REV-001 for a CWT: whoever asks about it is told the same as about a JWT, and nothing once it is revoked."""
    async with instance(tmp_path) as running:
        api, app = await device(running)
        asker = await running.application("gateway", api, "m:r")
        await running.call("PATCH", f"/apis/{api['api_id']}", {"introspectors": [asker["client_id"]]})
        token = await issued(running, app)
        told = await running.introspect(credentials_of(asker), token)
        assert told["active"] is True
        assert (told["client_id"], told["scope"], told["aud"]) == (app["client_id"], "m:w", AUDIENCE)
        assert (told["iat"], told["exp"]) == (int(running.clock.now), int(running.clock.now) + 3600)
        outsider = await running.application("outsider", await running.api("urn:other", "x"), "x")
        assert await running.introspect(credentials_of(outsider), token) == {"active": False}
        gone = await running.http.post(f"{ISSUER}/revoke", data={"token": token}, auth=credentials_of(app))
        assert gone.status_code == 200
        assert await running.introspect(credentials_of(asker), token) == {"active": False}


async def test_disabling_ends_it(tmp_path: Path) -> None:
    """DIS-001 for a CWT: the application is disabled, and its tokens are not active any more."""
    async with instance(tmp_path) as running:
        api, app = await device(running)
        asker = await running.application("gateway", api, "m:r")
        await running.call("PATCH", f"/apis/{api['api_id']}", {"introspectors": [asker["client_id"]]})
        token = await issued(running, app)
        changed = await running.call("PATCH", f"/applications/{app['client_id']}", {"enabled": False})
        assert changed.status_code == 200, changed.text
        assert await running.introspect(credentials_of(asker), token) == {"active": False}


async def test_settings_that_make_no_cwt(tmp_path: Path) -> None:
    """An API is told at once that RSA and post-quantum signatures make no small token, and keeps what it had."""
    async with instance(tmp_path) as running:
        for algorithm in ("RS256", "PS256", "ML-DSA-44"):
            body = {"identifier": AUDIENCE, "name": "m", "tokens": {"format": "cwt", "algorithm": algorithm}}
            answer = await running.call("POST", "/apis", body)
            assert answer.status_code in (400, 422), answer.text
            assert "ES256 or EdDSA" in answer.text


async def test_the_cose_key_set(tmp_path: Path) -> None:
    """An API without JSON gets its keys as CBOR, named as the tokens name them."""
    async with instance(tmp_path) as running:
        _, app = await device(running)
        answer = await keys(running, "cose-keys")
        assert answer.headers["content-type"] == "application/cose-key-set"
        header, _ = read_unverified_cwt(await issued(running, app))
        assert header[4] in [key[2] for key in cbor2.loads(answer.content)]


async def test_a_status_list_stands_in_a_cwt(tmp_path: Path) -> None:
    """Its place is registered (65535), so that an offline API can look up whether the token was revoked."""
    async with instance(tmp_path) as running:
        _, app = await device(running, status_list=True)
        raw = cwt_bytes(await issued(running, app))
        assert set(cbor2.loads(cbor2.loads(raw).value[2])[65535]["status_list"]) == {"idx", "uri"}


def test_cwt_and_introspection_are_not_mixed() -> None:
    """A token without dots would be shown to an issuer that it is not of."""
    with pytest.raises(ValueError, match="not both"):
        Verifier(
            [Issuer("https://a.example", cwt=True), Issuer("https://b.example", introspection=Introspection("c", "s"))],
            audience="x",
        )


def test_the_light_packages_need_no_cbor2() -> None:
    """A caller or an API that has installed `watchword` alone must not fail at its import."""
    told = "import sys, watchword.client, watchword.resource, watchword.jose.cwt; sys.exit('cbor2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], check=False).returncode == 0
