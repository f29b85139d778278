"""Services that call on for their callers, and the exchanges that they make."""

from __future__ import annotations

from typing import Any

import httpx
from tests.support.instance import ISSUER, Instance, credentials_of

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS = "urn:ietf:params:oauth:token-type:access_token"
JWT = "urn:ietf:params:oauth:token-type:jwt"
BOTH = ["client_credentials", GRANT]
FRONT, BACK, THIRD = "https://front.example/", "https://back.example/", "https://third.example/"


class World:
    """A caller of the front; the front's service, which calls the back; the back's, which calls a third."""

    def __init__(self, ww: Instance, apis: dict[str, dict[str, Any]]) -> None:
        self.ww, self.apis = ww, apis
        self.caller = self.front = self.back = ("", "")

    async def app(self, name: str, scopes: dict[str, list[str]], **more: Any) -> tuple[str, str]:
        """An application with these scopes."""
        grants = [{"api_id": self.apis[api]["api_id"], "scopes": names} for api, names in scopes.items()]
        answer = await self.ww.call("POST", "/applications", {"name": name, "grants": grants, **more})
        assert answer.status_code == 201, answer.text
        return credentials_of(answer.json())

    async def called(self, pair: tuple[str, str] | None = None, **form: str) -> str:
        """A token with which the front was called."""
        answer = await self.ww.token(pair or self.caller, **{"resource": FRONT, **form})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    async def exchange(
        self, token: str, pair: tuple[str, str] | None = None, headers: dict[str, str] | None = None,
        ww: Instance | None = None, **form: Any,
    ) -> httpx.Response:  # fmt: skip
        """POST /token as the front's service; None takes a parameter away."""
        right: dict[str, Any] = {
            "grant_type": GRANT, "subject_token": token, "subject_token_type": ACCESS, "audience": BACK, **form
        }  # fmt: skip
        data = {name: value for name, value in right.items() if value is not None}
        return await (ww or self.ww).http.post(f"{ISSUER}/token", data=data, auth=pair or self.front, headers=headers)

    async def change(self, pair: tuple[str, str], **fields: Any) -> None:
        """An application, as its administrator."""
        answer = await self.ww.call("PATCH", f"/applications/{pair[0]}", fields)
        assert answer.status_code == 200, answer.text


async def made(ww: Instance) -> World:
    """All of it."""
    apis = {name: await ww.api(name, "a:read", "a:write", "b:read") for name in (FRONT, BACK, THIRD)}
    w = World(ww, apis)
    w.caller = await w.app("caller", {FRONT: ["a:read", "a:write"]})
    more = {"grant_types": BOTH, "exchange_from": [apis[FRONT]["api_id"]]}
    w.front = await w.app("front", {BACK: ["a:read", "b:read"], THIRD: ["a:read"]}, **more)
    w.back = await w.app("back", {THIRD: ["a:read"]}, grant_types=BOTH, exchange_from=[apis[BACK]["api_id"]])
    for api, pair in ((BACK, w.back), (THIRD, w.back)):
        await ww.call("PATCH", f"/apis/{apis[api]['api_id']}", {"introspectors": [pair[0]]})
    return w


def refused(answer: httpx.Response, error: str = "invalid_request", status: int = 400) -> str:
    """What it says."""
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    assert "access_token" not in answer.json()
    return str(answer.json()["error_description"])
