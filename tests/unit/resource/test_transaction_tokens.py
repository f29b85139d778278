"""Transaction tokens at a workload: which ones it believes, and what it answers to the others."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from tests.unit.resource.test_verifier import ISSUER, KEY, NOW, OTHER, claims, public
from tests.unit.resource.test_verifier import signed as signed_access

from watchword.jose import Algorithm, PrivateKey, Signer
from watchword.resource import (
    Fetch,
    KeysUnavailable,
    TokenInvalid,
    Transaction,
    TransactionForbidden,
    TransactionInvalid,
    TransactionMissing,
    TransactionTokens,
    Verifier,
    refusal,
)

DOMAIN = "trust.example"
TYPE = "txntoken+jwt"
RIGHT: dict[str, Any] = {
    "iss": ISSUER, "aud": DOMAIN, "iat": NOW, "exp": NOW + 120, "txn": "97053963", "sub": "caller",
    "scope": "trade.stocks trade.bonds", "req_wl": "gateway", "jti": "1",
    "tctx": {"action": "BUY", "quantity": 100}, "rctx": {"req_ip": "69.151.72.123"},
}  # fmt: skip


def signed(key: PrivateKey = KEY, typ: str = TYPE, **changed: Any) -> str:
    """A right one but for what is said; `...` takes a claim away."""
    whole = {name: value for name, value in {**RIGHT, **changed}.items() if value is not ...}
    return Signer(key, typ=typ).sign(json.dumps(whole).encode())


class World:
    """A workload, its clock and the issuer's keys; counts the fetches of the set."""

    def __init__(self, **options: Any) -> None:
        self.time, self.fetches, self.keys = NOW, 0, [KEY]
        transport = httpx.MockTransport(self)
        self.tokens = TransactionTokens(
            ISSUER, trust_domain=DOMAIN, now=lambda: self.time, fetch=Fetch(transport=transport), **options
        )

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/.well-known/"):
            return httpx.Response(200, json={"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks"})
        self.fetches += 1
        return httpx.Response(200, json=public(*self.keys)) if self.keys else httpx.Response(500)

    def both(self, values: list[str], scope: str | None = None) -> Transaction:
        """Judged with and without an event loop: alike."""
        found = self.tokens.verify(values, scope)
        assert asyncio.run(self.tokens.averify(values, scope)) == found
        return found

    def refuses(self, kind: type[TransactionInvalid], values: list[str], scope: str | None = None) -> str:
        """The rule that broke, the same with and without an event loop."""
        with pytest.raises(kind) as one:
            self.tokens.verify(values, scope)
        with pytest.raises(kind) as other:
            asyncio.run(self.tokens.averify(values, scope))
        assert type(one.value) is type(other.value) is kind
        assert one.value.rule == other.value.rule
        return one.value.rule


def test_a_good_one() -> None:
    """Section 9.2: a workload would not learn for whom, for what and with which parameters it works."""
    found = World().both([signed()], "trade.bonds trade.stocks")
    assert (found.txn, found.subject, found.requester) == ("97053963", "caller", "gateway")
    assert found.scopes == {"trade.stocks", "trade.bonds"}
    assert (dict(found.details), dict(found.context)) == (RIGHT["tctx"], RIGHT["rctx"])
    assert (found.expires_at, found.raw["jti"]) == (NOW + 120, "1")
    assert "69.151" not in repr(found)


def test_without_contexts() -> None:
    """They are optional: a workload that asks for them would meet None."""
    found = World().both([signed(tctx=..., rctx=...)])
    assert (dict(found.details), dict(found.context)) == ({}, {})


BAD: dict[str, str] = {
    "an access token": signed_access(),
    "an access token for the trust domain": signed_access(
        claims(aud=DOMAIN, **{n: RIGHT[n] for n in ("txn", "req_wl")})
    ),
    "typ JWT": signed(typ="JWT"),
    "another issuer": signed(iss="https://evil.example"),
    "another trust domain": signed(aud="other.example"),
    "two audiences": signed(aud=[DOMAIN, "other.example"]),
    "a list of one": signed(aud=[DOMAIN]),
    "expired": signed(exp=NOW),
    "without exp": signed(exp=...),
    "of tomorrow": signed(iat=NOW + 86_400),
    "without iat": signed(iat=...),
    "bound": signed(cnf={"jkt": KEY.public.thumbprint()}),
    "tctx a list": signed(tctx=[1]),
    "tctx null": signed(tctx=None),
    "rctx a text": signed(rctx="x"),
    "another's key": signed(OTHER),
    "another's signature": f"{signed().rpartition('.')[0]}.{signed(OTHER).rpartition('.')[2]}",
    "two parts": signed().rpartition(".")[0],
    "joined by a proxy": f"{signed()}, {signed()}",
    "with a scheme": f"Bearer {signed()}",
    **{f"without {name}": signed(**{name: ...}) for name in ("txn", "sub", "req_wl", "scope")},
    **{f"{name} a number": signed(**{name: 7}) for name in ("txn", "sub", "req_wl", "scope")},
    **{f"{name} empty": signed(**{name: ""}) for name in ("txn", "sub", "req_wl", "scope")},
}


@pytest.mark.parametrize("name", BAD)
def test_refused(name: str) -> None:
    """JWT-002 and its like: whoever writes a header would decide what a call is about."""
    world = World()
    assert world.refuses(TransactionInvalid, [BAD[name]])
    assert world.both([signed()])


def test_by_number() -> None:
    """With two tokens one part of a workload would go by the first and another by the second."""
    world = World()
    assert "no Txn-Token" in world.refuses(TransactionMissing, [])
    assert "2 Txn-Token" in world.refuses(TransactionInvalid, [signed(), signed()])
    assert world.fetches == 0


def test_a_text_is_one_value() -> None:
    """`verify(request.headers[...])` would read the token letter by letter."""
    assert World().tokens.verify(signed()).txn == "97053963"


def test_for_something_else() -> None:
    """A transaction that buys would cancel as well."""
    world = World()
    world.refuses(TransactionForbidden, [signed()], "trade.cancel")
    world.refuses(TransactionForbidden, [signed()], "trade.stocks trade.cancel")


@pytest.mark.parametrize(
    "refused",
    [TransactionInvalid("the rule"), TransactionMissing("the rule"), TransactionForbidden("trade.cancel")],
    ids=lambda one: type(one).__name__,
)
def test_what_the_caller_is_told(refused: TransactionInvalid) -> None:
    """A challenge would send the caller for an access token, which is no help; the rule tells a forger what to mend."""
    answer = refusal(refused, realm="shop", request_id="r-1")
    assert answer.status == 403
    assert not {"WWW-Authenticate", "Retry-After"} & answer.headers.keys()
    assert answer.headers["X-Request-Id"] == "r-1"
    assert "the rule" not in answer.body.decode()


def test_keys_that_cannot_be_had() -> None:
    """A workload would tell its caller that a good token is bad, or wait for ever."""
    world = World()
    world.keys = []
    with pytest.raises(KeysUnavailable) as refused:
        world.tokens.verify([signed()])
    answer = refusal(refused.value)
    assert (answer.status, "WWW-Authenticate" in answer.headers) == (503, False)
    assert answer.headers["Retry-After"]


def test_a_new_key() -> None:
    """After a rotation every transaction would be refused until the set is old; or each unknown key be a fetch."""
    world, newer = World(), PrivateKey.generate(Algorithm.EdDSA)
    world.both([signed()])
    world.keys = [KEY, newer]
    assert world.both([signed(newer)])
    for _ in range(3):
        world.refuses(TransactionInvalid, [signed(OTHER)])
    assert world.fetches == 2


def test_it_ends() -> None:
    """A token that was good a moment ago would be good for ever."""
    world = World()
    world.both([signed()])
    world.time = NOW + 120
    assert "expired" in world.refuses(TransactionInvalid, [signed()])


def test_no_access_token() -> None:
    """An API of the trust domain's name would be opened by what every workload of the chain has seen."""
    verifier = Verifier(ISSUER, audience=DOMAIN, now=lambda: NOW, fetch=Fetch(transport=httpx.MockTransport(World())))
    with pytest.raises(TokenInvalid, match="typ"):
        verifier.verify(signed(client_id="gateway"))
