"""The forward-auth endpoint: what it lets through, what it says, and what it does not listen to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from tests.support.instance import BASE, ISSUER, Instance, credentials_of, instance

from watchword.server.protocol.errors import InvalidToken, Unavailable
from watchword.server.service.ports import StorageUnavailable
from watchword.server.service.tokens.forward_auth import Admitted, ForwardAuth

API = "https://rs1.example/"
OTHER = "https://rs2.example/"


@pytest.fixture
async def ww(tmp_path: Path) -> AsyncIterator[Instance]:
    async with instance(tmp_path) as running:
        yield running


@pytest.fixture
async def app(ww: Instance) -> dict[str, Any]:
    api = await ww.api(API, "a:read", "a:write")
    await ww.api(OTHER, "a:read")
    return await ww.application("caller", api, "a:read")


async def token_of(ww: Instance, app: dict[str, Any], **form: str) -> str:
    answer = await ww.token(credentials_of(app), resource=API, **form)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


async def ask(
    ww: Instance, token: str | None, query: str | None = None, headers: tuple[tuple[str, str], ...] = (), **more: str
) -> httpx.Response:
    """The gateway's question."""
    asked = query if query is not None else urlencode({"audience": API, **more})
    own = () if token is None else (("authorization", f"Bearer {token}"),)
    return await ww.http.get(f"{ISSUER}/forward-auth?{asked}", headers=[*own, *headers])


async def test_a_good_token_passes(ww: Instance, app: dict[str, Any]) -> None:
    """The API behind the gateway would not know whose request it serves; or a cache would let the next one in."""
    got = await ask(ww, await token_of(ww, app), scope="a:read")
    assert got.status_code == 200
    assert got.headers["x-watchword-client"] == app["client_id"]
    assert got.headers["x-watchword-scope"] == "a:read"
    assert got.headers["cache-control"] == "no-store"
    assert (await ask(ww, await token_of(ww, app))).status_code == 200


async def test_an_opaque_token_passes(ww: Instance) -> None:
    """A gateway is where opaque tokens are worth most: the API needs no introspection of its own."""
    api = await ww.api(API, "a:read", format="opaque")
    app = await ww.application("caller", api, "a:read")
    assert (await ask(ww, await token_of(ww, app), scope="a:read")).status_code == 200


@pytest.mark.parametrize("token", [None, "", "a.b.c", "wwtok_x", "\xff" * 20, "x" * 17_000])
async def test_no_or_a_bad_token(token: str | None, ww: Instance, app: dict[str, Any]) -> None:
    """Anything but 401 is an error page at nginx, or an open door."""
    headers = [] if token is None else [(b"authorization", (b"Bearer " + token.encode("latin-1")).rstrip())]
    got = await ww.http.get(f"{ISSUER}/forward-auth?audience={API}", headers=headers)
    assert got.status_code == 401
    assert got.headers["www-authenticate"].startswith("Bearer")
    assert ("error=" in got.headers["www-authenticate"]) is (token is not None)
    assert not token or token not in got.text


async def test_a_token_of_another_api(ww: Instance, app: dict[str, Any]) -> None:
    """A token for one API would open all behind the gateway; and strangers could list which audiences exist."""
    token = await token_of(ww, app)
    known, unknown = await ask(ww, token, audience=OTHER), await ask(ww, token, audience="https://nobody.example/")
    assert known.status_code == unknown.status_code == 401
    assert known.content == unknown.content


async def test_scope(ww: Instance, app: dict[str, Any]) -> None:
    """A token that may read would write; and the caller must learn which scope to ask for."""
    got = await ask(ww, await token_of(ww, app), scope="a:read a:write")
    assert got.status_code == 403
    assert 'error="insufficient_scope"' in got.headers["www-authenticate"]
    assert 'scope="a:read a:write"' in got.headers["www-authenticate"]


async def test_a_disabled_application(ww: Instance, app: dict[str, Any]) -> None:
    """Unlike offline verification, the gateway would not see a revocation before the token expires."""
    token = await token_of(ww, app)
    await ww.call("PATCH", f"/applications/{app['client_id']}", {"enabled": False})
    await ww.services.view.refresh()
    assert (await ask(ww, token)).status_code == 401


async def test_a_revoked_and_an_expired_token(ww: Instance, app: dict[str, Any]) -> None:
    """A token that its owner gave back, or that time took, would still open the door."""
    first, second = await token_of(ww, app), await token_of(ww, app)
    revoked = await ww.http.post(f"{ISSUER}/revoke", data={"token": first}, auth=credentials_of(app))
    assert revoked.status_code == 200
    await ww.services.view.refresh()
    assert (await ask(ww, first)).status_code == 401
    assert (await ask(ww, second)).status_code == 200
    ww.clock.now += 3_600
    assert (await ask(ww, second)).status_code == 401


async def test_another_tenants_token(ww: Instance, app: dict[str, Any]) -> None:
    """Two tenants may both have this API: the token of one must not open the other's."""
    made = (await ww.call("POST", "/tenants", {"slug": "other", "name": "Other"})).json()
    theirs = await ww.http.get(
        f"{made['issuer']}/forward-auth",
        params={"audience": API},
        headers={"authorization": f"Bearer {await token_of(ww, app)}"},
    )
    assert theirs.status_code == 401


async def test_headers_cannot_change_the_question(ww: Instance, app: dict[str, Any]) -> None:
    """Gateways pass the caller's headers on: one that were heard would choose its own scope or identity."""
    spoof = {
        "x-forwarded-uri": f"/?audience={OTHER}&scope=", "x-original-uri": "/", "x-original-url": "/",
        "x-forwarded-method": "OPTIONS", "x-original-method": "OPTIONS", "x-forwarded-host": "evil.example",
        "x-watchword-client": "admin", "x-watchword-scope": "a:write", "x-http-method-override": "OPTIONS",
        "x-forwarded-access-token": await token_of(ww, app), "x-access-token": await token_of(ww, app),
    }  # fmt: skip
    got = await ask(ww, await token_of(ww, app), headers=tuple(spoof.items()), scope="a:write")
    assert got.status_code == 403
    assert "x-watchword-client" not in got.headers
    assert (await ask(ww, None, headers=tuple(spoof.items()))).status_code == 401
    passed = await ask(ww, await token_of(ww, app), headers=tuple(spoof.items()))
    assert (passed.headers["x-watchword-client"], passed.headers["x-watchword-scope"]) == (app["client_id"], "a:read")


async def test_two_authorization_headers(ww: Instance, app: dict[str, Any]) -> None:
    """The gateway might judge one of them and the API believe the other."""
    token = await token_of(ww, app)
    assert (await ask(ww, token, headers=(("authorization", f"Bearer {token}"),))).status_code == 401


@pytest.mark.parametrize(
    "query",
    [
        "", "audience=", f"audience={API}&audience={API}", f"audience={API}&scopes=a:write", f"audience={API}&scope=",
        f"audience={API}&scope=a%0d%0aX-Evil:1", f"audience={API}&scope=a%22", f"audience={API}&scope=a++b",
        f"audience={API}&access_token=x", f"audience=%zz&scope=a{'&x=1' * 200}",
    ],
)  # fmt: skip
async def test_a_question_that_is_wrong(query: str, ww: Instance, app: dict[str, Any]) -> None:
    """A misspelt scope would open the API to every token; a line end in it would write the answer's headers."""
    got = await ask(ww, await token_of(ww, app), query)
    assert got.status_code == 400
    assert got.json()["error"] == "invalid_request"
    assert "x-evil" not in got.headers


async def test_methods(ww: Instance, app: dict[str, Any]) -> None:
    """A body that somebody has to read, or a preflight that passes as a yes."""
    for method in ("POST", "OPTIONS", "PUT"):
        assert (await ww.http.request(method, f"{ISSUER}/forward-auth?audience={API}")).status_code == 405
    assert (await ww.http.get(f"{BASE}/t/nobody/forward-auth?audience={API}")).status_code == 404


async def test_a_foreign_client_id_fits_into_a_header(ww: Instance) -> None:
    """An imported id may hold any printable character; a header may not, and two ids must stay two."""
    api = await ww.api(API, "a:read")
    app = await ww.application("caller", api, "a:read", client_id="café 100%", secret="wert" * 10)
    credentials = ("caf%C3%A9+100%25", "wert" * 10)
    token = (await ww.token(credentials, resource=API)).json()["access_token"]
    got = await ask(ww, token)
    assert got.headers["x-watchword-client"] == "caf%C3%A9%20100%25", app


class Known:
    """A view that is fresh, or whose database is away; and a reader that finds these claims for any token."""

    def __init__(self, away: bool = False, **claims: Any) -> None:
        self.away = away
        self.found = {"aud": API, "client_id": "app", "scope": "a:read", **claims}

    async def must_be_fresh(self) -> None:
        if self.away:
            raise StorageUnavailable("gone")

    async def claims(self, *_: object) -> dict[str, Any]:
        return self.found


async def judged(known: Known) -> Admitted:
    tenant: Any = None
    view: Any = known
    return await ForwardAuth(view, view, lambda: 0.0)(tenant, "token", API, frozenset({"a:read"}))


async def test_a_bound_token_is_refused() -> None:
    """A stolen bound token is worthless but for a gateway that takes it as a bearer token."""
    assert (await judged(Known())).client_id == "app"
    assert (await judged(Known(aud=[OTHER, API]))).client_id == "app"
    for confirmation in ({"jkt": "x"}, None):
        with pytest.raises(InvalidToken):
            await judged(Known(cnf=confirmation))


async def test_the_database_is_away() -> None:
    """A yes from an old memory would pass a token that was revoked meanwhile."""
    with pytest.raises(Unavailable):
        await judged(Known(away=True))


def test_an_audience_is_no_substring() -> None:
    """`https://rs1.example/` would open `https://rs1.example/admin`, whose name holds it."""
    with pytest.raises(InvalidToken):
        asyncio.run(judged(Known(aud=f"{API}admin")))
