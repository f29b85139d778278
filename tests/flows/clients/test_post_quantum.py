"""ML-DSA (RFC 9964) beside the classical algorithms: tokens of an API, and what callers prove themselves with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.assertions import Caller
from tests.support.instance import ISSUER, Instance, credentials_of, instance, node

from watchword.jose import ACCESS_TOKEN_ALGORITHMS, POST_QUANTUM, Algorithm, PrivateKey, decode_unverified
from watchword.resource import Fetch, Issuer, TokenInvalid, Verifier

CLASSICAL, LATTICE = "https://rs1.example/", "https://rs2.example/"
SIZES = {"ML-DSA-44": 2420, "ML-DSA-65": 3309, "ML-DSA-87": 4627}


@pytest.fixture
async def ww(tmp_path: Path) -> AsyncIterator[Instance]:
    """A running instance."""
    async with instance(tmp_path) as running:
        yield running


async def api_of(ww: Instance, identifier: str, algorithm: str) -> tuple[dict[str, Any], tuple[str, str]]:
    """An API whose tokens are signed so, and an application that calls it."""
    api = await ww.api(identifier, "a:read", algorithm=algorithm)
    return api, credentials_of(await ww.application(f"caller of {identifier}", api, "a:read"))


async def token_of(ww: Instance, credentials: tuple[str, str]) -> str:
    answer = await ww.token(credentials)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


def verifier(ww: Instance, audience: str, algorithms: Any) -> Verifier:
    return Verifier(
        Issuer(ISSUER, algorithms=algorithms), audience=audience, now=ww.clock, fetch=Fetch(transport=ww.door)
    )


@pytest.mark.parametrize("algorithm", SIZES)
async def test_an_api_chooses_it_and_its_neighbours_see_no_difference(ww: Instance, algorithm: str) -> None:
    """One tenant could not move API by API: both kinds of key stand in one set, and each token has its own."""
    _, classical = await api_of(ww, CLASSICAL, "ES256")
    api, lattice = await api_of(ww, LATTICE, algorithm)
    assert api["tokens"]["algorithm"] == algorithm
    kinds = {(key["kty"], key["alg"]) for key in (await ww.http.get(f"{ISSUER}/jwks")).json()["keys"]}
    assert {("AKP", algorithm), ("EC", "ES256"), ("RSA", "RS256")} == kinds
    token = await token_of(ww, lattice)
    parts = decode_unverified(token)
    assert (parts.unverified_header["alg"], len(parts.signature)) == (algorithm, SIZES[algorithm])
    assert (await verifier(ww, LATTICE, {Algorithm(algorithm)}).averify(token, "a:read")).client_id == lattice[0]
    other = await token_of(ww, classical)
    assert (await verifier(ww, CLASSICAL, ACCESS_TOKEN_ALGORITHMS).averify(other)).client_id == classical[0]


async def test_an_api_takes_it_only_if_it_says_so(ww: Instance) -> None:
    """A verifier would take an algorithm that its operator never chose."""
    _, lattice = await api_of(ww, LATTICE, "ML-DSA-44")
    token = await token_of(ww, lattice)
    for algorithms in (ACCESS_TOKEN_ALGORITHMS, POST_QUANTUM - {Algorithm.ML_DSA_44}):
        with pytest.raises(TokenInvalid, match="algorithm"):
            await verifier(ww, LATTICE, algorithms).averify(token)


async def test_its_tokens_are_introspected_and_revoked(ww: Instance) -> None:
    """The issuer would not know its own tokens again."""
    api, lattice = await api_of(ww, LATTICE, "ML-DSA-65")
    await ww.call("PATCH", f"/apis/{api['api_id']}", {"introspectors": [ww.admin[0]]})
    token = await token_of(ww, lattice)
    assert (await ww.introspect(ww.admin, token))["active"] is True
    assert (await ww.http.post(f"{ISSUER}/revoke", data={"token": token}, auth=lattice)).status_code == 200
    assert await ww.introspect(ww.admin, token) == {"active": False}


async def test_its_keys_outlive_a_restart_and_rotate(ww: Instance) -> None:
    """A sealed key that cannot be opened again is an outage of the API at the next start."""
    _, lattice = await api_of(ww, LATTICE, "ML-DSA-44")
    before = await token_of(ww, lattice)
    ww.clock.now += ww.services.settings.key_publish_ahead + 1
    assert (await ww.call("POST", "/keys/rotate", {"algorithm": "ML-DSA-44"})).status_code == 200
    async with node(ww.services.settings, ww.clock, ww.admin) as again:
        after = await token_of(again, lattice)
        kids = [decode_unverified(token).unverified_header["kid"] for token in (before, after)]
        assert kids[0] != kids[1]
        check = verifier(again, LATTICE, POST_QUANTUM)
        assert (await check.averify(after)).client_id == lattice[0]


async def test_a_caller_may_register_both_kinds_of_key(ww: Instance) -> None:
    """Callers could not move one by one; and the algorithm is the key's, never the header's."""
    api, _ = await api_of(ww, CLASSICAL, "ES256")
    keys = [PrivateKey.generate(Algorithm(name)) for name in ("ES256", "ML-DSA-44", "ML-DSA-87")]
    caller = await Caller.register(ww, api, "both", *keys)
    for key in keys:
        caller.key = key
        assert (await caller.token()).status_code == 200
    wrong = await caller.token(header=caller.header(alg="ML-DSA-44"))
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")


async def test_a_seed_is_not_registered(ww: Instance) -> None:
    """An administrator who pastes the private JWK has given it away; it must not work as if nothing had happened."""
    api, _ = await api_of(ww, CLASSICAL, "ES256")
    jwk = {**PrivateKey.generate(Algorithm.ML_DSA_44).public.to_jwk(), "priv": "A" * 43}
    body = {"name": "leaked", "auth_method": "private_key_jwt", "jwks": {"keys": [jwk]}, "grants": []}
    answer = await ww.call("POST", "/applications", body)
    assert answer.status_code == 400 and "private members" in answer.text
    assert api["enabled"]
