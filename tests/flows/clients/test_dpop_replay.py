"""A DPoP proof works once: at every worker, after every restart, on both databases, alone or beside an assertion."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from tests.support.assertions import TYPE, Caller, issued, refused
from tests.support.instance import ISSUER, Instance, credentials_of, instance, node
from tests.support.proofs import proof_of
from tests.support.workers import EITHER, TwoWorkers, in_every_order

from watchword.jose import Algorithm, PrivateKey

URL = f"{ISSUER}/token"
FORM = {"grant_type": "client_credentials"}


@pytest.fixture(params=["sqlite", "postgres"])
async def ww(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Instance]:
    """The same instance on each database."""
    url = request.getfixturevalue("postgres_dsn") if request.param == "postgres" else ""
    async with instance(tmp_path, url) as running:
        yield running


async def test_fifty_copies_at_once(ww: Instance) -> None:
    """DPO-030: check and consume would be two steps, and a race would fit between them."""
    caller = credentials_of(await ww.application("c", await ww.api("https://rs1.example/", "a:read"), "a:read"))
    key = PrivateKey.generate(Algorithm.ES256)
    once = proof_of(key, URL, ww.clock.now)
    async with node(ww.services.settings, ww.clock, ww.admin) as second:

        async def send(ww: Instance, proof: str) -> httpx.Response:
            return await ww.http.post(URL, data=FORM, auth=caller, headers={"dpop": proof})

        answers, others = await asyncio.gather(
            asyncio.gather(*(send((ww, second)[n % 2], once) for n in range(50))),
            asyncio.gather(*(send(ww, proof_of(key, URL, ww.clock.now)) for _ in range(10))),
        )
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 49
    for answer in answers:
        if answer.status_code == 400:
            refused(answer, "invalid_dpop_proof", 400)
    assert [answer.status_code for answer in others] == [200] * 10
    assert await issued(ww) == 11


async def test_pairs_that_share_a_half(ww: Instance) -> None:
    """Of requests that share an assertion or a proof, two would pass, or the losers' other halves would be burnt."""
    pkj = await Caller.register(ww, await ww.api("https://rs1.example/", "a:read"), "c_pkj")
    key = PrivateKey.generate(Algorithm.ES256)

    async def send(assertion: str, proof: str) -> httpx.Response:
        fields = {**FORM, "client_assertion": assertion, "client_assertion_type": TYPE}
        return await ww.http.post(URL, data=fields, headers={"dpop": proof})

    assertions = [pkj.assertion() for _ in range(4)]
    proofs = [proof_of(key, URL, ww.clock.now) for _ in range(4)]
    answers = await asyncio.gather(*(send(a, p) for a in assertions for p in proofs))
    given = [answer for answer in answers if answer.status_code == 200]
    assert 1 <= len(given) <= 4
    assert {answer.json()["error"] for answer in answers if answer not in given} == {
        "invalid_client",
        "invalid_dpop_proof",
    }
    while True:  # what nobody won is still good, one by one
        late = [await send(a, p) for a in assertions for p in proofs]
        passed = [answer for answer in late if answer.status_code == 200]
        given += passed
        if not passed:
            break
    assert len(given) == 4


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))


class Proofs(TwoWorkers):
    """Two workers, one application that sends an assertion and a proof, in every order and combination."""

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url)
        self.key = PrivateKey.generate(Algorithm.ES256)
        self.assertions: list[str] = []
        self.proofs: list[str] = []
        self.used: set[str] = set()
        self.tokens = 0

    async def set_up(self) -> None:
        self.caller: Caller = await self.register()

    async def register(self) -> Caller:
        return await Caller.register(self.ww, await self.ww.api("https://rs1.example/", "a:read"), "c_dpop")

    @rule(life=st.integers(1, 600))
    def sign_an_assertion(self, life: int) -> None:
        self.assertions.append(self.caller.assertion(exp=int(self.ww.clock.now) + life))

    @rule(made=st.integers(-70, 10), nonced=st.booleans())
    def sign_a_proof(self, made: int, nonced: bool) -> None:
        now = self.ww.clock.now
        tenant: str = self.run(self.tenant_id())
        nonce = self.nonces().current(tenant, now) if nonced else None
        self.proofs.append(proof_of(self.key, URL, now + (made * 100 if nonced else made), nonce=nonce))

    def nonces(self) -> Any:
        return self.ww.services.tokens.issue._proofs.nonces

    @precondition(lambda self: self.assertions and self.proofs)
    @rule(data=st.data(), n=EITHER, scope=st.sampled_from(["", "", "", "not:granted"]))
    def present(self, data: st.DataObject, n: int, scope: str) -> None:
        """Any pair: given is given for both together, and a refusal takes neither."""
        assertion = self.assertions[data.draw(st.integers(0, len(self.assertions) - 1))]
        proof = self.proofs[data.draw(st.integers(0, len(self.proofs) - 1))]
        answer = self.run(self.send(self.workers[n], assertion, proof, scope))
        if not self.assertion_in_time(assertion):
            refused(answer)
        elif scope:
            refused(answer, "invalid_scope", 400)
        elif not self.proof_in_time(proof):
            assert answer.json()["error"] in ("invalid_dpop_proof", "use_dpop_nonce")
        elif assertion in self.used:
            refused(answer)
        elif proof in self.used:
            refused(answer, "invalid_dpop_proof", 400)
        else:
            assert answer.status_code == 200, answer.text
            assert claims_of(answer.json()["access_token"])["cnf"] == {"jkt": self.key.public.thumbprint()}
            self.used |= {assertion, proof}
            self.tokens += 1

    async def send(self, ww: Instance, assertion: str, proof: str, scope: str) -> httpx.Response:
        fields = {**FORM, "client_assertion": assertion, "client_assertion_type": TYPE, "scope": scope}
        return await ww.http.post(URL, data=fields, headers={"dpop": proof})

    def assertion_in_time(self, made: str) -> bool:
        claims, now = claims_of(made), self.ww.clock.now
        return bool(claims["iat"] - 10 <= now < claims["exp"] + 10)

    def proof_in_time(self, made: str) -> bool:
        claims, now = claims_of(made), self.ww.clock.now
        if "nonce" not in claims:
            return bool(claims["iat"] - 10 <= now <= claims["iat"] + 70)
        period = int.from_bytes(base64.urlsafe_b64decode(claims["nonce"])[:8], "big")
        return bool(period * 60 - 60 <= now < period * 60 + 300)

    @rule(seconds=st.sampled_from([-600, -70, -1, 1, 9, 60, 71, 300]), n=EITHER)
    def time_passes(self, seconds: int, n: int) -> None:
        """Forwards, and sometimes back; the chores run."""
        self.ww.clock.now += seconds
        self.run(self.workers[n].services.upkeep.housekeeping.purge())

    @invariant()
    def every_token_is_in_the_audit_log_once(self) -> None:
        if hasattr(self, "caller"):
            assert self.run(self.issued_to(self.caller.client_id)) == self.tokens


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_proofs_in_every_order(database: str, request: pytest.FixtureRequest) -> None:
    """Some order of uses, refusals, restarts and clocks that nobody thought of would let a proof work twice."""
    in_every_order(Proofs, database, request)
