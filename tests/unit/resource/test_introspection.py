"""Opaque tokens and several issuers: who is asked about which token, and what is believed of the answer."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from tests.unit.resource.test_verifier import API, ISSUER, KEY, NOW, OTHER, claims, public, signed

from watchword.resource import Fetch, Introspection, IntrospectionUnavailable, Issuer, TokenInvalid, Verifier

ACTIVE = {"active": True, **claims(), "token_type": "Bearer"}
SECOND = "https://id.example/t/second"
OPAQUE = "wwat_opaque"


class World:
    """One network with two issuers; counts the questions, and keeps what was sent."""

    def __init__(self, answer: Any = ACTIVE, status: int = 200) -> None:
        self.time, self.answer, self.status = NOW, answer, status
        self.asked: list[httpx.Request] = []
        self.fetched: list[str] = []
        self.transport = httpx.MockTransport(self)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.fetched.append(str(request.url))
        issuer = SECOND if "second" in request.url.path else ISSUER
        if request.url.path.startswith("/.well-known/"):
            document = {
                "issuer": issuer,
                "jwks_uri": f"{issuer}/jwks",
                "introspection_endpoint": f"{issuer}/introspect",
            }
            return httpx.Response(200, json=document)
        if request.method == "POST":
            self.asked.append(request)
            return httpx.Response(self.status, json=self.answer)
        return httpx.Response(200, json=public(OTHER if issuer == SECOND else KEY))

    def verifier(self, issuer: Any = ISSUER, introspection: Introspection | None = None) -> Verifier:
        """With introspection of the one issuer, unless the test brings its own."""
        if issuer == ISSUER:
            issuer = Issuer(issuer, introspection=introspection or Introspection("me:1", "se cret"))
        return Verifier(issuer, audience=API, now=lambda: self.time, fetch=Fetch(transport=self.transport))


async def test_an_opaque_token() -> None:
    """An API could not take the tokens that it was configured to get."""
    world = World()
    verifier = world.verifier()
    assert verifier.verify(OPAQUE, "a:read").client_id == "app"
    assert (await verifier.averify(OPAQUE)).expires_at == NOW + 300
    (asked,) = world.asked
    assert parse_qs(asked.content.decode()) == {"token": [OPAQUE], "token_type_hint": ["access_token"]}
    assert asked.headers["authorization"] == "Basic bWUlM0ExOnNlK2NyZXQ="
    assert "cret" not in repr(Introspection("me", "se cret"))


def test_answers_are_remembered_for_moments() -> None:
    """A revoked token would live on for as long as the answer is kept; without any memory each call asks."""
    world = World()
    verifier = world.verifier()
    verifier.verify(OPAQUE)
    world.time, world.answer = NOW + 4.9, {"active": False}
    verifier.verify(OPAQUE)
    world.time = NOW + 5
    for _again in range(3):
        with pytest.raises(TokenInvalid, match="not active"):
            verifier.verify(OPAQUE)
    assert len(world.asked) == 2
    world.time, world.answer = NOW + 10, ACTIVE
    assert verifier.verify(OPAQUE).client_id == "app"


@pytest.mark.parametrize("_", [pytest.param(0, id="JWT-050 never beyond exp")])
def test_a_remembered_answer_ends_with_the_token(_: int) -> None:
    """RFC 7662 section 4: a cached answer must not be used after the token has expired."""
    world = World({**ACTIVE, "exp": NOW + 2})
    verifier = world.verifier(introspection=Introspection("me", "s", remember=3600))
    verifier.verify(OPAQUE)
    world.time = NOW + 2
    with pytest.raises(TokenInvalid, match="expired"):
        verifier.verify(OPAQUE)


def changed(**changes: Any) -> dict[str, Any]:
    """The answer about an active token, but for these members; ``...`` leaves one out."""
    return {name: value for name, value in {**ACTIVE, **changes}.items() if value is not ...}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(changed(active="true"), id="JWT-052 a text"),
        pytest.param(changed(active=1), id="JWT-052 a number"),
        pytest.param(changed(active=[True]), id="JWT-052 a list"),
        pytest.param(changed(active=...), id="JWT-052 missing"),
        pytest.param({"active": False}, id="inactive"),
        pytest.param(changed(aud="https://other"), id="another audience"),
        pytest.param(changed(aud=...), id="no audience"),
        pytest.param(changed(iss=SECOND), id="another issuer"),
        pytest.param(changed(exp=...), id="no expiry"),
        pytest.param(changed(exp=NOW), id="expired"),
        pytest.param(changed(token_type="DPoP"), id="bound"),
        pytest.param(changed(cnf={"jkt": "x"}), id="JWT-040 bound to a key"),
        pytest.param(changed(scope=["a:read"]), id="JWT-038 scope a list"),
    ],
)
async def test_answers_that_are_no_yes(answer: Any) -> None:
    """An introspection endpoint that is loose about types, or a token of another API, would open this one."""
    with pytest.raises(TokenInvalid):
        World(answer).verifier().verify(OPAQUE)
    with pytest.raises(TokenInvalid):
        await World(answer).verifier().averify(OPAQUE)


@pytest.mark.parametrize(("answer", "status"), [([], 200), ({}, 500), ({}, 302), ({"error": "invalid_client"}, 401)])
async def test_no_usable_answer(answer: Any, status: int) -> None:
    """401 would make every caller throw its good token away; and each call would wait for a dead endpoint."""
    world = World(answer, status)
    verifier = world.verifier()
    with pytest.raises(IntrospectionUnavailable) as caught:
        verifier.verify(OPAQUE)
    assert ("own client id" in caught.value.rule) is (status == 401)
    with pytest.raises(IntrospectionUnavailable, match="a moment ago"):
        await verifier.averify(OPAQUE)
    assert len(world.asked) == 1
    world.time, world.answer, world.status = NOW + 1, ACTIVE, 200
    assert verifier.verify(OPAQUE).client_id == "app"


def test_every_token_is_asked_about() -> None:
    """An API that must know of revocations at once would accept a revoked JWT; a forged one is not shown around."""
    world = World()
    verifier = world.verifier(introspection=Introspection("me", "s", every_token=True))
    with pytest.raises(TokenInvalid):
        verifier.verify(signed(key=OTHER))
    assert not world.asked
    assert verifier.verify(signed()).client_id == "app"
    world.answer, world.time = {"active": False}, NOW + 5
    inactive = signed(claims(jti="2"))
    for _twice in range(2):
        with pytest.raises(TokenInvalid):
            verifier.verify(inactive)


def test_jwts_are_judged_without_asking() -> None:
    """Each call would cost a round trip."""
    world = World()
    assert world.verifier().verify(signed()).client_id == "app"
    assert not world.asked


# -- several issuers -------------------------------------------------------------------------------


async def test_several_issuers() -> None:
    """A key of one tenant would sign for the other, or a token choose where keys come from."""
    world = World()
    verifier = world.verifier([ISSUER, Issuer(SECOND)])
    second = claims(iss=SECOND)
    assert verifier.issuers == (ISSUER, SECOND)
    assert verifier.verify(signed()).raw["iss"] == ISSUER
    assert (await verifier.averify(signed(second, key=OTHER))).raw["iss"] == SECOND
    for token in (signed(key=OTHER), signed(second)):
        with pytest.raises(TokenInvalid, match="no key"):
            verifier.verify(token)
    before = list(world.fetched)
    for stranger in ("https://evil.example", ISSUER + "/", ISSUER.upper(), [ISSUER], None, 1):
        with pytest.raises(TokenInvalid, match="trusted are"):
            verifier.verify(signed(claims(iss=stranger)))
    with pytest.raises(TokenInvalid):
        verifier.verify("opaque")
    assert world.fetched == before


def test_each_issuer_has_its_own_rules() -> None:
    """A lenient setting for a foreign server would open the door to tokens of our own."""
    world = World()
    verifier = world.verifier([ISSUER, Issuer(SECOND, typ={"JWT"})])
    assert verifier.verify(signed(claims(iss=SECOND), key=OTHER, typ="JWT")).client_id == "app"
    for token in (signed(typ="JWT"), signed(claims(iss=SECOND), key=OTHER)):
        with pytest.raises(TokenInvalid, match="typ"):
            verifier.verify(token)


def test_opaque_tokens_of_one_of_them() -> None:
    """A token would be shown to an issuer that it is not of."""
    world, asks = World(), Introspection("me", "s")
    verifier = world.verifier([Issuer(SECOND), Issuer(ISSUER, introspection=asks)])
    assert verifier.verify(OPAQUE).client_id == "app"
    assert [str(asked.url) for asked in world.asked] == [f"{ISSUER}/introspect"]


@pytest.mark.parametrize(
    "issuers",
    [
        [],
        [ISSUER, ISSUER],
        ["http://id.example"],
        ["https://user@id.example"],
        [Issuer(i, introspection=Introspection("me", "s")) for i in (ISSUER, SECOND)],
    ],
)
def test_settings_that_make_no_sense(issuers: Any) -> None:
    """A setting that silently applied to another issuer, or to none, would be found by an attacker."""
    with pytest.raises(ValueError, match=r"\w"):
        Verifier(issuers, audience=API)


@pytest.mark.parametrize(
    "name", ["jwks_uri", "introspection", "revocations", "status_lists", "algorithms", "typ", "cwt"]
)
def test_settings_of_an_issuer(name: str) -> None:
    """Beside several issuers nobody could say which of them such a setting is of: only an `Issuer` takes it."""
    with pytest.raises(TypeError, match=name):
        Verifier([ISSUER, SECOND], audience=API, **{name: None})
