"""Devices that enrol, and the groups that they enrol in."""

from __future__ import annotations

import json
from typing import Any

import httpx
from tests.support.instance import ISSUER, Instance

from watchword.jose import PrivateKey, Signer
from watchword.server.protocol.enrolment import PROOF


async def group(ww: Instance, **more: Any) -> str:
    """A group's id; unless told otherwise, its devices have something to ask for."""
    if "grants" not in more:
        api = await ww.api("https://rs0.example/", "a:read")
        more["grants"] = [{"api_id": api["api_id"], "scopes": ["a:read"]}]
    answer = await ww.call("POST", "/enrolment-groups", {"name": "sensors", **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["group_id"])


async def codes(ww: Instance, group_id: str, **more: Any) -> list[str]:
    """Fresh codes."""
    answer = await ww.call("POST", f"/enrolment-groups/{group_id}/codes", more)
    assert answer.status_code == 201, answer.text
    return list(answer.json()["codes"])


async def enrol(ww: Instance, code: str, enrolment_id: str = "device-1", **more: Any) -> httpx.Response:
    """One request of a device that has a code."""
    return await ask(ww, code=code, enrolment_id=enrolment_id, **more)


async def ask(ww: Instance, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    """One request of a device."""
    return await ww.http.post(f"{ISSUER}/enrol", json=body, headers=headers)


def keyed(ww: Instance, key: PrivateKey, typ: str = PROOF, **claims: Any) -> dict[str, Any]:
    """What a device sends that brings a key."""
    said = {"iss": "device-1", "aud": ISSUER, "iat": int(ww.clock.now), "exp": int(ww.clock.now) + 60, **claims}
    return {"jwks": {"keys": [key.public.to_jwk()]}, "proof": Signer(key, typ).sign(json.dumps(said).encode())}


async def applications(ww: Instance) -> list[dict[str, Any]]:
    """Those that enrolled."""
    found = (await ww.call("GET", "/applications", params={"limit": "500"})).json()["items"]
    return [one for one in found if one["group_id"] is not None]
