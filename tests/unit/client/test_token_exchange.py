"""Calling on for a caller: what is asked for whom, for how long it is kept, and that nobody gets another's token."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from tests.unit.client.test_credentials import ENDPOINT, ISSUER, SECRET, Issuer, token

from watchword.client import (
    ClientCredentials,
    Clock,
    DiskCache,
    DpopKey,
    InvalidAnswer,
    Network,
    SubjectEnded,
    TokenExchange,
    TokenRefused,
    Transactions,
)
from watchword.client.token_exchange import GRANT
from watchword.client.transactions import TXN_TOKEN
from watchword.jose import Algorithm, PrivateKey, Signer

KEY = PrivateKey.generate(Algorithm.ES256)
BACK = "https://back.example"


def subject(exp: object, **more: Any) -> str:
    """A JWT that ends at ``exp``."""
    return Signer(KEY).sign(json.dumps({"exp": exp, **more}).encode())


class World:
    """An issuer that counts, a clock, and an exchange for the API behind."""

    def __init__(self, answer: Callable[[int], httpx.Response] | None = None, **options: Any) -> None:
        self.time, self.discovered = 1_000_000.0, 0
        self.issuer = Issuer(answer)
        self.credentials = ClientCredentials(
            ISSUER,
            "an-id",
            SECRET,
            resource="https://own.example",
            scope="own:scope",
            network=Network(
                transport=httpx.MockTransport(self._answer), clock=Clock(now=lambda: self.time, rng=lambda: 0.0)
            ),
            **options,
        )
        self.exchange = TokenExchange(self.credentials, audience=BACK, scope="a:read", remembered=3)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.discovered += request.url.path.startswith("/.well-known")
        return self.issuer(request)

    def form(self, n: int = -1) -> list[tuple[str, str]]:
        """Of one request."""
        return parse_qsl(self.issuer.asked[n].content.decode(), keep_blank_values=True)


def test_what_is_asked() -> None:
    """RFC 8693 section 2.1: the issuer would refuse it, or give what the credentials ask for on their own account."""
    w = World()
    assert w.exchange.on_behalf_of("opaque").token().value == "token-1"
    assert w.form() == [
        ("grant_type", GRANT),
        ("audience", BACK),
        ("scope", "a:read"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("subject_token", "opaque"),
    ]
    assert w.issuer.asked[0].headers["authorization"].startswith("Basic ")


def test_one_for_each_caller() -> None:
    """One caller's request would be made with the token of another; or each request ask the issuer."""
    w = World()
    one, other = w.exchange.on_behalf_of("one"), w.exchange.on_behalf_of("other")
    assert (one.token().value, other.token().value) == ("token-1", "token-2")
    assert w.exchange.on_behalf_of("one").token().value == "token-1"
    assert (len(w.issuer.asked), w.discovered) == (2, 1)


@pytest.mark.parametrize("by_claim", [True, False])
def test_never_longer_than_the_subject(by_claim: bool) -> None:
    """An issuer that gives more time than the caller had: the chain would outlive what it came from."""
    w = World(lambda n: token(n, expires_in=3600))
    end = w.time + 100
    source = w.exchange.on_behalf_of(subject(end)) if by_claim else w.exchange.on_behalf_of("opaque", until=end)
    assert source.token().expires_at == end
    w.time = end - 1
    assert source.token().value == "token-1"
    w.time = end
    with pytest.raises(SubjectEnded, match="the caller"):
        source.token()
    assert len(w.issuer.asked) == 1


def test_the_sooner_end_counts() -> None:
    """A forged or late `exp` would lengthen what the API said about an opaque or an introspected token."""
    w = World(lambda n: token(n, expires_in=3600))
    assert w.exchange.on_behalf_of(subject(w.time + 500), until=w.time + 50).token().expires_at == w.time + 50
    assert w.exchange.on_behalf_of(subject(w.time + 40), until=w.time + 50).token().expires_at == w.time + 40


@pytest.mark.parametrize("exp", [True, "soon", None, 10**400, [1]])
def test_an_end_that_is_none(exp: object) -> None:
    """A token that says nonsense would crash the service that was called with it, or live no moment."""
    w = World()
    assert w.exchange.on_behalf_of(subject(exp)).token().expires_at == w.time + 300


def test_renewed_while_the_subject_lives() -> None:
    """A long call would fail when its first token ends; near the end each request would ask for a shorter one."""
    w = World()
    start = w.time
    source = w.exchange.on_behalf_of(subject(start + 550))
    seen = []
    for second in range(0, 550, 10):
        w.time = start + second
        seen.append(source.token().value)
    assert seen == sorted(seen, key=lambda one: int(one.removeprefix("token-")))
    assert len(w.issuer.asked) == 3
    assert source.token().expires_at == start + 550


def test_bounded() -> None:
    """Every caller of a day would be kept in memory; the one that calls all the time would be forgotten first."""
    w = World()
    for name in ("1", "2", "3", "1", "4", "1"):
        w.exchange.on_behalf_of(name).token()
    assert len(w.issuer.asked) == 4
    w.exchange.on_behalf_of("2").token()
    assert len(w.issuer.asked) == 5


def test_what_is_over_is_not_kept() -> None:
    """A token that a caller once showed would lie in memory until a thousand others came."""
    w = World()
    w.exchange.on_behalf_of("over", until=w.time + 1).token()
    w.time += 2
    w.exchange.on_behalf_of("next")
    assert len(w.exchange._sources) == 1


def test_many_threads_one_flight() -> None:
    """A page with ten calls behind would exchange its token ten times."""
    w = World()
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: w.exchange.on_behalf_of("one").token().value, range(64)))
    assert (found, len(w.issuer.asked)) == ({"token-1"}, 1)


def test_for_an_event_loop() -> None:
    """An asynchronous API would be stopped while its token is exchanged."""
    w = World()

    async def both() -> list[str]:
        sources = [w.exchange.on_behalf_of("one") for _ in range(2)]
        return [one.value for one in await asyncio.gather(*(source.atoken() for source in sources))]

    assert asyncio.run(both()) == ["token-1", "token-1"]


def test_the_door_of_httpx() -> None:
    """A token that the next API refused would be sent until it ends; the bearer would be missing."""
    w, shown = World(), []

    def api(request: httpx.Request) -> httpx.Response:
        shown.append(request.headers["authorization"])
        return httpx.Response(401 if len(shown) == 1 else 200)

    with httpx.Client(transport=httpx.MockTransport(api)) as http:
        assert http.get(BACK, auth=w.exchange.on_behalf_of("one")).status_code == 200
    assert shown == ["Bearer token-1", "Bearer token-2"]


def test_with_a_key() -> None:
    """RFC 9449: the exchanged token would be a bearer token though the application holds a key."""
    w = World(lambda n: token(n, token_type="DPoP"), dpop=DpopKey.generate())
    source = w.exchange.on_behalf_of("one")
    headers = source.signed(source.token(), "GET", BACK)
    assert headers["Authorization"] == "DPoP token-1"
    assert headers["DPoP"]
    assert w.issuer.asked[0].headers["dpop"]


def test_a_bearer_token_where_a_bound_one_is_needed() -> None:
    """The issuer's mistake would make the chain stealable, and nobody would see it."""
    w = World(dpop=DpopKey.generate())
    with pytest.raises(InvalidAnswer, match="DPoP"):
        w.exchange.on_behalf_of("one").token()


def test_a_refusal_is_told() -> None:
    """RFC 8693 section 2.2.2: the service would not know that its caller's token is no longer good."""
    refusal = httpx.Response(400, json={"error": "invalid_request", "error_description": "it was revoked"})
    w = World(lambda _n: refusal)
    with pytest.raises(TokenRefused, match="revoked"):
        w.exchange.on_behalf_of("one").token()


def test_nothing_on_disk_and_nothing_shown(tmp_path: Path) -> None:
    """Other people's tokens would lie in a service's files, or stand in a log that prints the source."""
    w = World(cache=DiskCache(tmp_path))
    source = w.exchange.on_behalf_of("s3cret-subject")
    source.token()
    assert list(tmp_path.iterdir()) == []
    assert "s3cret-subject" not in repr(source) + repr(source._plan)


def txn(n: int) -> httpx.Response:
    """As draft-10 section 13.14 has it."""
    return token(n, token_type="N_A", issued_token_type=TXN_TOKEN)


def test_a_transaction_begins() -> None:
    """Two purchases with the same words would be one transaction, or the issuer refuse the request."""
    w = World(txn)
    transactions = Transactions(w.credentials, "trust.example", "trade.stocks")
    details = {"action": "BUY"}
    assert [transactions.begin("one", request_details=details) for _ in range(2)] == ["token-1", "token-2"]
    assert dict(w.form()) == {
        "grant_type": GRANT,
        "audience": "trust.example",
        "scope": "trade.stocks",
        "requested_token_type": TXN_TOKEN,
        "subject_token": "one",
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "request_details": '{"action": "BUY"}',
    }
    assert (w.discovered, w.issuer.asked[0].url) == (1, ENDPOINT)


def test_a_transaction_goes_on() -> None:
    """Section 13.15: a replacement would be asked for as if the token were an access token, and be refused."""
    w = World(txn)
    transactions = Transactions(w.credentials, "trust.example", ["trade.stocks"])

    async def both() -> list[str]:
        return [await transactions.abegin("one"), await transactions.areplace("t", request_context={"req_ip": "::1"})]

    assert asyncio.run(both()) == ["token-1", "token-2"]
    form = dict(w.form())
    assert (form["subject_token"], form["subject_token_type"]) == ("t", TXN_TOKEN)
    assert form["request_context"] == '{"req_ip": "::1"}'
    assert transactions.replace("t") == "token-3"


def test_an_access_token_is_no_transaction_token() -> None:
    """An issuer that does not know the type would have its access token go from workload to workload in a header."""
    w = World()
    with pytest.raises(InvalidAnswer, match="N_A"):
        Transactions(w.credentials, "trust.example", "trade.stocks").begin("one")
