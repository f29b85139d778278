"""The client library against a fake issuer: what it sends, when, and what it believes."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from watchword.client import (
    AccessToken,
    ClientCredentials,
    Clock,
    InvalidAnswer,
    Network,
    Secret,
    SharedSecret,
    TokenError,
    TokenRefused,
    TokenUnavailable,
)
from watchword.client.source import TokenSource

ISSUER = "https://id.example/t/acme"
ENDPOINT = f"{ISSUER}/token"
SECRET = "wwsec_s3cret"


class Issuer:
    """A fake issuer: answers metadata, and tokens by ``answer``; records every request."""

    def __init__(self, answer: Callable[[int], httpx.Response] | None = None) -> None:
        self.asked: list[httpx.Request] = []
        self.answer = answer or (lambda n: token(n))
        self.lock = threading.Lock()
        self.transport = httpx.MockTransport(self)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/.well-known/oauth-authorization-server/t/acme":
            return httpx.Response(200, json={"issuer": ISSUER, "token_endpoint": ENDPOINT})
        with self.lock:
            self.asked.append(request)
            return self.answer(len(self.asked))


def token(n: int, **more: Any) -> httpx.Response:
    body = {"access_token": f"token-{n}", "token_type": "Bearer", "expires_in": 300, **more}
    return httpx.Response(200, json={k: v for k, v in body.items() if v is not None})


def raw(body: bytes, **headers: str) -> httpx.Response:
    return httpx.Response(200, content=body, headers={"content-type": "application/json", **headers})


class World:
    """An issuer, a clock and a record of the pauses, around one `ClientCredentials`."""

    def __init__(
        self,
        answer: Callable[[int], httpx.Response] | None = None,
        chance: float = 0.0,
        tries: int | None = None,
        secret: str | SharedSecret = SECRET,
    ) -> None:
        self.time = 1_000_000.0
        self.slept: list[float] = []
        self.issuer = Issuer(answer)
        self.auth = ClientCredentials(
            ISSUER,
            "an-id",
            secret,
            network=Network(
                tries=tries,
                transport=self.issuer.transport,
                clock=Clock(now=lambda: self.time, sleep=self.slept.append, rng=lambda: chance),
            ),
        )


@pytest.mark.parametrize("_", [pytest.param(0, id="CLI-001 cached until exp minus margin")])
def test_cached(_: int) -> None:
    """A token request per API call would make the issuer the bottleneck of every API."""
    world = World()
    for _call in range(1000):
        assert world.auth.token().value == "token-1"
    assert len(world.issuer.asked) == 1
    world.time += 239
    assert world.auth.token().value == "token-1"
    world.time += 1
    assert world.auth.token().value == "token-2"


@pytest.mark.parametrize("_", [pytest.param(0, id="CLI-002 stampede of threads")])
def test_stampede_threads(_: int) -> None:
    """200 threads that find no token would send 200 requests at once."""
    world = World()
    with ThreadPoolExecutor(200) as pool:
        values = {t.value for t in pool.map(lambda _n: world.auth.token(), range(200))}
    assert ({"token-1"}, 1) == (values, len(world.issuer.asked))


@pytest.mark.parametrize("_", [pytest.param(0, id="CLI-002 stampede of tasks")])
async def test_stampede_tasks(_: int) -> None:
    """200 tasks that find no token would send 200 requests at once."""
    world = World()
    values = {t.value for t in await asyncio.gather(*(world.auth.atoken() for _ in range(200)))}
    assert ({"token-1"}, 1) == (values, len(world.issuer.asked))


@pytest.mark.parametrize("_", [pytest.param(0, id="CLI-003 no expires_in")])
def test_no_expires_in(_: int) -> None:
    """RFC 6749 makes expires_in optional: such a server could not be used, or its token never renewed."""
    world = World(lambda n: token(n, expires_in=None))
    assert world.time + 60 == world.auth.token().expires_at


@pytest.mark.parametrize(
    ("status", "headers", "pauses"),
    [
        pytest.param(503, {}, [0.5], id="CLI-007 503"),
        pytest.param(429, {"retry-after": "7"}, [7.0], id="CLI-007 429 with Retry-After"),
    ],
)
def test_retried(status: int, headers: dict[str, str], pauses: list[float]) -> None:
    """A restart of the issuer would show as a failure of every caller."""
    world = World(lambda n: httpx.Response(status, headers=headers) if n == 1 else token(n))
    assert ("token-2", pauses) == (world.auth.token().value, world.slept)


@pytest.mark.parametrize("_", [pytest.param(0, id="CLI-007 a storm")])
def test_those_who_were_told_the_same_second_do_not_come_at_once(_: int) -> None:
    """A fleet that was refused together would come back together, and be refused again."""
    world = World(lambda n: httpx.Response(503, headers={"retry-after": "7"}) if n < 4 else token(n), chance=0.5)
    assert world.auth.token().value == "token-4"
    assert world.slept == [7.5, 8.0, 9.0]


@pytest.mark.parametrize("_", [pytest.param(0, id="CLI-007 told to wait again and again")])
def test_patience_ends(_: int) -> None:
    """An issuer that always says "in a second" would hold its callers for ever; one try means one."""
    for tries, sent in ((3, 8), (1, 1)):
        world = World(lambda _n: httpx.Response(503, headers={"retry-after": "1"}), tries=tries)
        with pytest.raises(TokenUnavailable):
            world.auth.token()
        assert len(world.issuer.asked) == sent


@pytest.mark.parametrize(
    "error",
    [pytest.param(e, id=f"CLI-007 {e.__name__}") for e in (httpx.ReadTimeout, httpx.ConnectError, httpx.ReadError)],
)
def test_network_failures_are_bounded(error: type[httpx.TransportError]) -> None:
    """Without a bound a dead issuer would hold its callers for ever."""

    def fail(_n: int) -> httpx.Response:
        raise error("gone")

    world = World(fail)
    with pytest.raises(TokenUnavailable):
        world.auth.token()
    assert (len(world.issuer.asked), world.slept) == (3, [0.5, 1.0])


@pytest.mark.parametrize("status", [pytest.param(s, id=f"CLI-007 {s} is not retried") for s in (400, 401)])
def test_refusal_is_not_retried(status: int) -> None:
    """Repeating a wrong secret would lock the application out."""
    world = World(lambda n: httpx.Response(status, json={"error": "invalid_client", "error_description": "no"}))
    with pytest.raises(TokenRefused) as caught:
        world.auth.token()
    assert ("invalid_client", "no", status) == (
        caught.value.error,
        caught.value.description,
        caught.value.status,
    )
    assert (len(world.issuer.asked), world.slept) == (1, [])


def api(good: str | None) -> tuple[httpx.MockTransport, list[str]]:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return httpx.Response(200 if seen[-1] == f"Bearer {good}" else 401)

    return httpx.MockTransport(answer), seen


@pytest.mark.parametrize(
    ("good", "status"),
    [pytest.param("token-2", 200, id="CLI-008 revoked early"), pytest.param(None, 401, id="CLI-008 no loop")],
)
def test_401_once(good: str | None, status: int) -> None:
    """A revoked token would be sent until it expires; a retry without an end would storm the API."""
    world = World()
    transport, seen = api(good)
    with httpx.Client(transport=transport, auth=world.auth) as client:
        assert status == client.get("https://api.example/").status_code
    assert seen == ["Bearer token-1", "Bearer token-2"]


@pytest.mark.parametrize("_", [pytest.param(0, id="CLI-008 async")])
async def test_401_once_async(_: int) -> None:
    """The asynchronous door would have rules of its own."""
    world = World()
    transport, seen = api("token-2")
    async with httpx.AsyncClient(transport=transport, auth=world.auth) as client:
        assert (await client.get("https://api.example/")).status_code == 200
    assert seen == ["Bearer token-1", "Bearer token-2"]


@pytest.mark.parametrize("_", [pytest.param(0, id="CLI-009 redirect")])
def test_redirect(_: int) -> None:
    """A 307 would hand the secret to whoever it names."""
    world = World(lambda n: httpx.Response(307, headers={"location": "https://evil.example/"}))
    with pytest.raises(InvalidAnswer):
        world.auth.token()
    assert [request.url.host for request in world.issuer.asked] == ["id.example"]


@pytest.mark.parametrize("_", [pytest.param(0, id="CLI-012 many loops")])
def test_many_loops(_: int) -> None:
    """A lock bound to the first loop would fail in the second."""
    world = World()
    for n in range(1, 4):
        assert f"token-{n}" == asyncio.run(world.auth.atoken()).value
        world.time += 1000


@pytest.mark.parametrize("_", [pytest.param(0, id="CLI-012 fork while the lock is held")])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fork(_: int) -> None:
    """A child of a parent that was renewing would wait for ever for a lock that nobody releases."""
    children: list[int] = []

    def answer(n: int) -> httpx.Response:
        if n == 1:  # the parent forks while it holds the lock
            world.issuer.lock = threading.Lock()
            pid = os.fork()
            if pid == 0:
                world.issuer.lock = threading.Lock()
                os._exit(0 if world.auth.token().value.startswith("token") else 1)
            children.append(pid)
        return token(n)

    world = World(answer)
    world.auth.token()
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0


HOSTILE = {
    "huge": raw(b" " * 70_000),
    "gzip bomb": httpx.Response(
        200,
        stream=httpx.ByteStream(b"x"),
        headers={"content-type": "application/json", "content-encoding": "gzip"},
    ),
    "NaN": raw(b'{"access_token":"a","token_type":"Bearer","expires_in":NaN}'),
    "infinite": raw(b'{"access_token":"a","token_type":"Bearer","expires_in":1e999}'),
    "nested": raw(b"[" * 60_000),
    "token a number": raw(b'{"access_token":1,"token_type":"Bearer"}'),
    "token with a line": raw(b'{"access_token":"a\\r\\nx: y","token_type":"Bearer"}'),
    "life a text": raw(b'{"access_token":"a","token_type":"Bearer","expires_in":"300"}'),
    "life true": raw(b'{"access_token":"a","token_type":"Bearer","expires_in":true}'),
    "life of many digits": raw(b'{"access_token":"a","token_type":"Bearer","expires_in":' + b"9" * 5000 + b"}"),
    "no type": raw(b'{"access_token":"a"}'),
    "duplicate keys": raw(b'{"access_token":"a","access_token":"b","token_type":"Bearer"}'),
    "HTML": httpx.Response(200, html="<html>"),
    "not UTF-8": raw(b"\xff{}"),
    "401 of a proxy": httpx.Response(401, html="<html>"),
}


@pytest.mark.parametrize("answer", [pytest.param(a, id=f"CLI-013 {n}") for n, a in HOSTILE.items()])
def test_hostile_answers(answer: httpx.Response) -> None:
    """A broken proxy could crash the caller with an exception nobody catches, or plant a header."""
    with pytest.raises(InvalidAnswer):
        World(lambda n: answer).auth.token()


@pytest.mark.parametrize(
    "issuer",
    [
        pytest.param(url, id=f"CLI-015 {url!r}")
        for url in (
            "https://good@evil/",
            "https://good:pw@evil/",
            "https://@evil/",
            "http://id.example/",
            "https:///x",
            "https://a\\@evil/",
            "ftp://id.example",
            "https://a b/",
        )
    ],
)
def test_refused_urls(issuer: str) -> None:
    """The secret would go to the host after the @, or over the wire in clear."""
    with pytest.raises(ValueError, match="issuer"):
        ClientCredentials(issuer, "an-id", SECRET)


def test_stale_token_survives_a_failed_renewal() -> None:
    """An outage of the issuer shorter than a token's life would be an outage of every API."""
    world = World(lambda n: token(n) if n == 1 else httpx.Response(503))
    world.auth.token()
    world.time += 250
    assert (world.auth.token().value, world.slept) == ("token-1", [])
    assert (world.auth.token().value, len(world.issuer.asked)) == ("token-1", 2)
    world.time += 50
    with pytest.raises(TokenError):
        world.auth.token()


def test_basic_encodes_before_base64() -> None:
    """RFC 6749 section 2.3.1: an id with a colon would be cut in the wrong place."""
    issuer = Issuer()
    ClientCredentials(ISSUER, "a:b c", "p%:é", scope="x", network=Network(transport=issuer.transport)).token()
    sent = base64.b64decode(issuer.asked[0].headers["authorization"].removeprefix("Basic "))
    assert sent == b"a%3Ab+c:p%25%3A%C3%A9"
    assert issuer.asked[0].content == b"grant_type=client_credentials&scope=x"


def test_post_puts_the_secret_into_the_form_only() -> None:
    """Two methods in one request are refused by servers that follow RFC 6749 section 2.3."""
    world = World(secret=SharedSecret(SECRET, "client_secret_post"))
    world.auth.token()
    assert "authorization" not in world.issuer.asked[0].headers
    assert b"client_secret=wwsec_s3cret" in world.issuer.asked[0].content


def test_metadata_of_another_issuer_is_refused() -> None:
    """A mixed-up or malicious metadata document would choose where the secret goes."""
    other = httpx.MockTransport(
        lambda r: httpx.Response(200, json={"issuer": "https://evil", "token_endpoint": "https://evil/token"})
    )
    with pytest.raises(InvalidAnswer, match="another issuer"):
        ClientCredentials(ISSUER, "an-id", SECRET, network=Network(transport=other)).token()


def test_secrets_do_not_show() -> None:
    """One log line with a repr would be a leak."""
    world = World()
    shown = [
        repr(world.auth),
        repr(Secret(SECRET)),
        str(Secret(SECRET)),
        f"{Secret(SECRET)}",
        repr(AccessToken("token-1", 1.0)),
    ]
    assert not any(
        SECRET in text or "token-1" in text
        for text in [*shown, repr([getattr(world.auth, name) for name in TokenSource.__slots__])]
    )


def test_bearer_is_not_sent_in_clear() -> None:
    """RFC 6750 section 5.3: a token on plain http is anybody's."""
    transport, seen = api("token-1")
    with (
        httpx.Client(transport=transport, auth=World().auth) as client,
        pytest.raises(ValueError, match="https"),
    ):
        client.get("http://api.example/")
    assert seen == []


def test_requests_retries_a_401_once() -> None:
    """requests has no auth flow: its hook would follow rules of its own."""
    requests = pytest.importorskip("requests")
    world = World()
    seen: list[str] = []

    class Adapter(requests.adapters.BaseAdapter):  # type: ignore[name-defined,misc]
        def send(self, request: Any, **_options: Any) -> Any:
            seen.append(request.headers["Authorization"])
            response = requests.Response()
            response.status_code = 200 if seen[-1] == "Bearer token-2" else 401
            response.request, response.connection, response._content = request, self, json.dumps({}).encode()
            response.url = request.url
            return response

        def close(self) -> None:
            pass

    session = requests.Session()
    session.mount("https://", Adapter())
    assert session.get("https://api.example/", auth=world.auth.for_requests()).status_code == 200
    assert seen == ["Bearer token-1", "Bearer token-2"]
