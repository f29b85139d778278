"""nginx, Caddy and HAProxy let in what Watchword would, and nothing else; the API behind them is told who it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from tests.adapters import contract
from tests.adapters.contract import REFUSED, Case, Headers, Issuer, Outcome
from tests.flows.cli.test_command_line import serving, watchword
from tests.interop import gateways

API = "https://payments.example"
SCOPE = "payments:charge"
ASKING = ["nginx", "caddy"]
ALL = [*ASKING, "haproxy"]


@dataclass
class World:
    """A Watchword, one application, its tokens, and the gateways' addresses."""

    folder: Path
    issuer: str
    application: dict[str, str]
    urls: dict[str, str]

    def token(self, scope: str, resource: str = API) -> str:
        """A token of the one application."""
        answer = httpx.post(
            f"{self.issuer}/token",
            data={"grant_type": "client_credentials", "scope": scope, "resource": resource},
            auth=(self.application["client_id"], self.application["client_secret"]),
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def call(self, gateway: str, *headers: tuple[str, str], method: str = "GET", path: str = "/") -> httpx.Response:
        """One request through a gateway."""
        return httpx.request(method, f"{self.urls[gateway]}{path}", headers=list(headers), timeout=30)


def bearer(token: str) -> tuple[str, str]:
    return "authorization", f"Bearer {token}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("watchword")
    with ExitStack() as stack:
        issuer = f"{stack.enter_context(serving(folder))}/t/default"
        for identifier, scopes in ((API, (SCOPE, "payments:read")), ("https://seats.example", (SCOPE,))):
            options = [part for scope in scopes for part in ("--scope", scope)]
            made = watchword(folder, "api", "create", identifier, *options)
            assert made.returncode == 0, made.stderr
        grants = ("--grant", f"{API}={SCOPE},payments:read", "--grant", f"https://seats.example={SCOPE}")
        application = json.loads(watchword(folder, "app", "create", "caller", *grants, "--json").stdout)
        api_port = stack.enter_context(gateways.api())
        exported = watchword(folder, "key", "export", "--format", "haproxy", "--out", str(folder / "keys"))
        assert exported.returncode == 0, exported.stderr
        urls = {
            "nginx": stack.enter_context(gateways.nginx(issuer, api_port, tmp_path_factory.mktemp("nginx"))),
            "caddy": stack.enter_context(gateways.caddy(issuer, api_port, tmp_path_factory.mktemp("caddy"))),
            "haproxy": stack.enter_context(
                gateways.haproxy(issuer, api_port, tmp_path_factory.mktemp("haproxy"), exported.stdout)
            ),
        }
        yield World(folder, issuer, application, urls)


@pytest.mark.parametrize("gateway", ALL)
def test_a_good_token_reaches_the_api(gateway: str, world: World) -> None:
    """The API behind the gateway is told who calls, in headers that the caller cannot write."""
    spoof = [("X-Watchword-Client", "admin"), ("x-watchword-scope", "everything")]
    for method in ("GET", "POST"):
        got = world.call(gateway, bearer(world.token(SCOPE)), *spoof, method=method)
        assert got.status_code == 200, got.text
        seen = [(name, value) for name, value in got.json() if name.startswith("x-watchword")]
        assert sorted(seen) == [
            ("x-watchword-client", world.application["client_id"]),
            ("x-watchword-scope", SCOPE),
        ]


@pytest.mark.parametrize("gateway", ALL)
def test_no_token(gateway: str, world: World) -> None:
    """The gateway would be a plain proxy; or its caller would not know which scheme to use."""
    got = world.call(gateway, path=f"/?access_token={world.token(SCOPE)}")
    assert got.status_code == 401
    assert got.headers.get_list("www-authenticate") == ["Bearer"]


@pytest.mark.parametrize("gateway", ALL)
@pytest.mark.parametrize("kind", ["malformed", "forged", "unsigned", "another API"])
def test_a_bad_token(gateway: str, kind: str, world: World) -> None:
    """Each is a way past a gateway that looks at the token's shape only."""
    good = world.token(SCOPE)
    head, body, signature = good.split(".")
    token = {
        "malformed": "a.b.c",
        "forged": f"{head}.{body}.{signature[::-1]}",
        "unsigned": f"eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{body}.",
        "another API": world.token(SCOPE, "https://seats.example"),
    }[kind]
    got = world.call(gateway, bearer(token))
    assert got.status_code == 401
    assert 'error="invalid_token"' in got.headers["www-authenticate"]
    assert token not in got.text


@pytest.mark.parametrize("gateway", ALL)
def test_scope_is_missing(gateway: str, world: World) -> None:
    """A token that may read would charge; and the caller is told what to ask for, once."""
    got = world.call(gateway, bearer(world.token("payments:read")))
    assert got.status_code == 403
    (challenge,) = got.headers.get_list("www-authenticate")
    assert 'error="insufficient_scope"' in challenge
    assert f'scope="{SCOPE}"' in challenge


@pytest.mark.parametrize(("gateway", "status"), [("nginx", 400), ("caddy", 401), ("haproxy", 400)])
def test_two_authorization_headers(gateway: str, status: int, world: World) -> None:
    """Gateway and API might each believe another one. (nginx refuses by itself.)"""
    token = world.token(SCOPE)
    assert world.call(gateway, bearer(token), bearer(token)).status_code == status


@pytest.mark.parametrize("gateway", ASKING)
def test_headers_of_the_caller_do_not_change_the_question(gateway: str, world: World) -> None:
    """Whoever could rewrite the question would need no scope."""
    question = f"/t/default/forward-auth?audience={API}"
    spoof = [(name, question) for name in ("X-Forwarded-Uri", "X-Original-URI", "X-Original-URL", "X-Rewrite-URL")]
    got = world.call(
        gateway, bearer(world.token("payments:read")), *spoof, path=f"/?audience={API}&scope=payments:read"
    )
    assert got.status_code == 403


def test_nginx_keeps_its_question_to_itself(world: World) -> None:
    """The inner location answers 200 to a good token: reached from outside it would look like the API."""
    assert world.call("nginx", bearer(world.token(SCOPE)), path="/_watchword").status_code == 404


@pytest.mark.parametrize("gateway", ASKING)
def test_a_revoked_token(gateway: str, world: World) -> None:
    """Asking each time is worth its cost only if a revocation counts."""
    token = world.token(SCOPE)
    assert world.call(gateway, bearer(token)).status_code == 200
    credentials = (world.application["client_id"], world.application["client_secret"])
    assert httpx.post(f"{world.issuer}/revoke", data={"token": token}, auth=credentials).status_code == 200
    assert world.call(gateway, bearer(token)).status_code == 401


@pytest.mark.parametrize(("gateway", "status"), [("nginx", 500), ("caddy", 502)])
def test_watchword_is_away(gateway: str, status: int, tmp_path: Path) -> None:
    """A gateway that cannot ask must not let anybody in."""
    nobody = f"http://127.0.0.1:{gateways.free_port()}/t/default"
    with gateways.api() as api_port, getattr(gateways, gateway)(nobody, api_port, tmp_path) as url:
        assert httpx.get(url, headers=[bearer("a.b.c")], timeout=30).status_code == status


# -- HAProxy verifies by itself, and so stands under the adapters' contract ---------------------------


class OverHttp:
    """HAProxy as the contract calls a service."""

    def __init__(self, url: str) -> None:
        self.url = url

    def call(self, headers: Headers, query: str = "") -> Outcome:
        """One request."""
        answer = httpx.get(f"{self.url}/charges{query}", headers=headers, timeout=30)
        return Outcome(answer.status_code, answer.headers.get("www-authenticate", ""), answer.text)


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OverHttp, Issuer]]:
    folder = tmp_path_factory.mktemp("haproxy")
    with ExitStack() as stack:
        issuer = stack.enter_context(contract.issuer())
        arguments = ("--format", "haproxy", "--out", str(folder / "keys"), "--issuer", issuer.url)
        exported = watchword(folder, "key", "export", *arguments)
        assert exported.returncode == 0, exported.stderr
        api_port = stack.enter_context(gateways.api())
        url = stack.enter_context(gateways.haproxy(issuer.url, api_port, folder, exported.stdout))
        yield OverHttp(url), issuer


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in REFUSED])
def test_haproxy_refuses(case: Case, offline: tuple[OverHttp, Issuer]) -> None:
    """HAProxy itself checks a signature and nothing more: each rule of the guide is one of these."""
    if case.name == "scheme without a token":
        case = replace(case, error=None)  # to HAProxy that is no token at all
    contract.refuses(offline[0], case, offline[1])


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_haproxy_accepts(scheme: str, offline: tuple[OverHttp, Issuer]) -> None:
    """Rules that refuse everything would pass every other test."""
    contract.accepts(offline[0], scheme, offline[1], scope="a:read payments:charge b:write")
