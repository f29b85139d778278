"""The client library trades tokens at our server, and an API behind verifies what came of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.flows.tokens.test_transaction_tokens import DETAILS, DOMAIN, Domain, domain
from tests.support.exchange import BACK
from tests.support.instance import ISSUER, instance
from tests.support.tokens import claims_in

from watchword.client import ClientCredentials, Clock, DpopKey, Network, TokenExchange, TokenRefused, Transactions
from watchword.jose import decode_unverified
from watchword.resource import Fetch, TransactionInvalid, TransactionTokens


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[Domain]:
    """A chain of services, and a trust domain."""
    async with instance(tmp_path) as ww:
        yield await domain(ww)


def credentials(w: Domain, **more: Any) -> ClientCredentials:
    """The front's."""
    clock = w.ww.clock
    return ClientCredentials(
        ISSUER, *w.front, network=Network(transport=w.ww.door, clock=Clock(now=lambda: clock.now)), **more
    )


async def test_on_behalf_of_a_caller(w: Domain) -> None:
    """What the guide says would not work with our server; or the token live longer than the caller's."""
    w.ww.clock.now = float(int(w.ww.clock.now))
    await w.change(w.front, grants=[{"api_id": w.apis[BACK]["api_id"], "scopes": ["a:read"]}])
    subject = await w.called()
    w.ww.clock.now += 60
    exchange = TokenExchange(credentials(w), audience=BACK)
    token = await exchange.on_behalf_of(subject).atoken()
    claims, before = claims_in(token.value), claims_in(subject)
    assert (claims["sub"], claims["client_id"], claims["act"]) == (w.caller[0], w.front[0], {"sub": w.front[0]})
    assert (token.scope, claims["aud"]) == ("a:read", BACK)
    assert token.expires_at == claims["exp"] == before["exp"]
    assert await exchange.on_behalf_of(subject).atoken() is token


async def test_bound_by_a_key(w: Domain) -> None:
    """A stolen token of the chain would open the API behind, though its holder has a key."""
    await w.change(w.front, grants=[{"api_id": w.apis[BACK]["api_id"], "scopes": ["a:read"]}])
    key = DpopKey.generate()
    token = await TokenExchange(credentials(w, dpop=key), audience=BACK).on_behalf_of(await w.called()).atoken()
    assert claims_in(token.value)["cnf"] == {"jkt": key.jkt}


async def test_a_caller_that_is_disabled(w: Domain) -> None:
    """The front would be told nothing that it can tell its caller."""
    subject = await w.called()
    await w.change(w.caller, enabled=False)
    with pytest.raises(TokenRefused) as refused:
        await TokenExchange(credentials(w), audience=BACK).on_behalf_of(subject).atoken()
    assert refused.value.error == "invalid_request"


async def test_transactions(w: Domain) -> None:
    """A transaction that our own client begins would be refused, or go on as another."""
    begun = Transactions(credentials(w), DOMAIN, "a:read a:write")
    text = await begun.abegin(await w.called(), request_details=DETAILS)
    assert decode_unverified(text).unverified_header["typ"] == "txntoken+jwt"
    clock = w.ww.clock
    back = ClientCredentials(ISSUER, *w.back, network=Network(transport=w.ww.door, clock=Clock(now=lambda: clock.now)))
    later = claims_in(await Transactions(back, DOMAIN, "a:read").areplace(text, request_context={"req_ip": "::1"}))
    first = claims_in(text)
    assert (later["txn"], later["tctx"], later["rctx"]) == (first["txn"], DETAILS, {"req_ip": "::1"})
    assert (later["scope"], later["req_wl"]) == ("a:read", w.back[0])
    workload = TransactionTokens(ISSUER, trust_domain=DOMAIN, now=lambda: clock.now, fetch=Fetch(transport=w.ww.door))
    found = await workload.averify([text], "a:write")
    assert (found.subject, found.requester, dict(found.details)) == (w.caller[0], w.front[0], DETAILS)
    with pytest.raises(TransactionInvalid):
        await workload.averify([await w.called()])
