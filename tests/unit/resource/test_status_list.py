"""Status lists at an API: what is believed, for how long, and what happens when nobody answers."""

from __future__ import annotations

import asyncio
import json
import threading
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchword.jose import Algorithm, JoseError, KeySet, PrivateKey, Signer
from watchword.jose.encoding import b64url
from watchword.resource import (
    Fetch,
    Introspection,
    Issuer,
    KeysUnavailable,
    StatusLists,
    StatusUnknown,
    TokenInvalid,
    Verifier,
)
from watchword.resource.fetched.status_list import BIGGEST_LIST, read_status_list

ISSUER, API = "https://id.example/t/acme", "https://rs1.example/"
URI = f"{ISSUER}/statuslists/one"
TYPE = "application/statuslist+jwt"
KEY, OTHER = PrivateKey.generate(Algorithm.ES256), PrivateKey.generate(Algorithm.ES256)
START = 1_800_000_000.0


def lst(raw: bytes) -> str:
    return b64url(zlib.compress(raw)).decode()


class World:
    """An issuer with one list, on a transport of our own, and a clock."""

    def __init__(self, raw: bytes = bytes(4), **changed: Any) -> None:
        self.now, self.fetched, self.alive = START, 0, True
        self.raw, self.changed, self.bits = raw, changed, 1
        self.key, self.typ, self.content_type = KEY, "statuslist+jwt", TYPE
        self.published: tuple[PrivateKey, ...] = (KEY,)
        self.headers: dict[str, str] = {}

    def claims(self) -> dict[str, Any]:
        right = {
            "iss": ISSUER, "sub": URI, "iat": int(self.now), "exp": int(self.now) + 180, "ttl": 60,
            "status_list": {"bits": self.bits, "lst": lst(self.raw)},
        }  # fmt: skip
        return {name: value for name, value in {**right, **self.changed}.items() if value is not ...}

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/jwks"):
            return httpx.Response(200, json=KeySet([key.public for key in self.published]).to_jwks())
        if "well-known" in request.url.path:
            return httpx.Response(200, json={"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks"})
        self.fetched += 1
        if not self.alive:
            raise httpx.ConnectError("nobody")
        assert request.headers["accept"] == TYPE and request.method == "GET"
        body = Signer(self.key, typ=self.typ).sign(json.dumps(self.claims()).encode())
        return httpx.Response(200, headers={"content-type": self.content_type}, content=body.encode())

    def verifier(self, lists: StatusLists | None = None, outage: float = 86_400.0) -> Verifier:
        return Verifier(
            Issuer(ISSUER, status_lists=lists or StatusLists()),
            audience=API,
            now=lambda: self.now,
            fetch=Fetch(outage=outage, transport=httpx.MockTransport(self.answer)),
        )

    def token(self, idx: Any = 0, uri: Any = URI, **more: Any) -> str:
        status = {"status_list": {"idx": idx, "uri": uri}}
        claims = {
            "iss": ISSUER, "sub": "app", "client_id": "app", "aud": API, "iat": int(START), "exp": int(START) + 7200,
            "jti": "j", "scope": "a", "status": status, **more,
        }  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not ...}
        return Signer(KEY).sign(json.dumps(claims).encode())


@pytest.fixture(params=["sync", "async"])
def check(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`verify` and `averify`, which have one logic and two ways to wait."""

    def run(verifier: Verifier, token: str) -> Any:
        return verifier.verify(token) if request.param == "sync" else asyncio.run(verifier.averify(token))

    return run


def test_a_revoked_token_is_refused_and_its_neighbours_are_not(check: Callable[..., Any]) -> None:
    """The list would be fetched, and nobody would look at it; or at the wrong place."""
    world = World(bytes([0b0000_0000, 0b0000_0010]))
    verifier = world.verifier()
    for idx in (0, 8, 10, 15):
        assert check(verifier, world.token(idx)).client_id == "app"
    with pytest.raises(TokenInvalid, match="was revoked"):
        check(verifier, world.token(9))
    assert world.fetched == 1


@pytest.mark.parametrize(
    ("idx", "value"), [(0, 1), (1, 2), (2, 0), (3, 3), (5, 1), (7, 1), (8, 1), (9, 2), (10, 3), (11, 3), (4, 0), (6, 0)]
)
def test_two_bits_as_in_the_draft(idx: int, value: int) -> None:
    """Another issuer's list of two bits (the draft's example, eNo76fITAAPfAgc) would be read at other places."""
    world = World(status_list={"bits": 2, "lst": "eNo76fITAAPfAgc"})
    if value == 0:
        assert world.verifier().verify(world.token(idx))
    else:
        said = {1: "was revoked", 2: "is suspended", 3: "has the status 3"}[value]
        with pytest.raises(TokenInvalid, match=said):
            world.verifier().verify(world.token(idx))


def test_a_remembered_token_is_looked_up_too(check: Callable[..., Any]) -> None:
    """A revocation would be seen by those alone who show their token for the first time."""
    world = World()
    verifier, token = world.verifier(), world.token(3)
    assert check(verifier, token)
    world.raw = bytes([8, 0, 0, 0])
    world.now += 59
    assert check(verifier, token)
    world.now += 1
    with pytest.raises(TokenInvalid, match="was revoked"):
        check(verifier, token)
    assert world.fetched == 2


def test_an_outage_lasts_as_long_as_it_may(check: Callable[..., Any]) -> None:
    """An API would stop with its issuer; or take a token for ever that nobody can revoke any more."""
    world = World()
    verifier, token = world.verifier(StatusLists(max_stale=90)), world.token()
    assert check(verifier, token)
    world.alive = False
    world.now += 149
    assert check(verifier, token)
    world.now += 1
    with pytest.raises(StatusUnknown) as caught:
        check(verifier, token)
    assert caught.value.status == 503 and "no answer" in caught.value.rule
    asked = world.fetched
    with pytest.raises(StatusUnknown):
        check(verifier, token)
    assert world.fetched == asked  # not again at once
    world.alive = True
    world.now += 5
    assert check(verifier, token)


def test_no_patience_outlives_exp(check: Callable[..., Any]) -> None:
    """`exp` is the issuer's own word on how long its list is true (section 5.1)."""
    world = World()
    verifier, token = world.verifier(StatusLists(max_stale=10_000)), world.token()
    assert check(verifier, token)
    world.alive = False
    world.now += 179
    assert check(verifier, token)
    world.now += 1
    with pytest.raises(StatusUnknown):
        check(verifier, token)


def test_a_list_that_nobody_can_fetch_is_503(check: Callable[..., Any]) -> None:
    """A token that may be revoked would be taken, or its holder told to throw it away."""
    world = World()
    world.alive = False
    with pytest.raises(StatusUnknown) as caught:
        check(world.verifier(), world.token())
    assert caught.value.public == "Tokens cannot be verified at the moment" and world.token() not in caught.value.rule


BAD_LISTS: dict[str, dict[str, Any]] = {
    "another list": {"sub": f"{ISSUER}/statuslists/two"},
    "no sub": {"sub": ...},
    "another issuer": {"iss": "https://other.example"},
    "no iat": {"iat": ...},
    "of the future": {"iat": int(START) + 31},
    "expired": {"exp": int(START)},
    "exp a text": {"exp": "soon"},
    "ttl a text": {"ttl": "60"},
    "ttl zero": {"ttl": 0},
    "ttl negative": {"ttl": -1},
    "no list": {"status_list": ...},
    "list of another type": {"status_list": []},
    "bits missing": {"status_list": {"lst": lst(bytes(4))}},
    "bits three": {"status_list": {"bits": 3, "lst": lst(bytes(4))}},
    "bits true": {"status_list": {"bits": True, "lst": lst(bytes(4))}},
    "lst missing": {"status_list": {"bits": 1}},
    "lst a number": {"status_list": {"bits": 1, "lst": 1}},
    "lst padded": {"status_list": {"bits": 1, "lst": lst(bytes(4)) + "="}},
    "lst not zlib": {"status_list": {"bits": 1, "lst": "AAAA"}},
    "lst cut off": {"status_list": {"bits": 1, "lst": b64url(zlib.compress(bytes(4))[:-3]).decode()}},
    "lst with more behind": {"status_list": {"bits": 1, "lst": b64url(zlib.compress(bytes(4)) + b"x").decode()}},
    "lst empty": {"status_list": {"bits": 1, "lst": ""}},
    "a bomb": {"status_list": {"bits": 1, "lst": lst(bytes(BIGGEST_LIST + 1))}},
}


@pytest.mark.parametrize("changed", BAD_LISTS.values(), ids=BAD_LISTS.keys())
def test_a_list_that_is_wrong_says_nothing(changed: dict[str, Any]) -> None:
    """A list of another place, time or size would open or shut the API for everybody in it."""
    world = World(**changed)
    with pytest.raises(StatusUnknown):
        world.verifier().verify(world.token())


@pytest.mark.parametrize("changed", [{"iss": ...}, {"exp": ...}, {"ttl": ...}, {"ttl": 0.5}, {"aggregation": "x"}])
def test_what_a_list_may_leave_out(changed: dict[str, Any]) -> None:
    """The refusals above would prove nothing if every list were refused; other issuers say less than ours."""
    world = World(**changed)
    assert world.verifier().verify(world.token())


def test_who_may_sign_a_list() -> None:
    """Whoever stands between API and issuer would revoke tokens, or bring revoked ones back."""
    world = World()
    world.key = OTHER
    with pytest.raises(StatusUnknown):
        world.verifier().verify(world.token())
    for typ in ("at+jwt", "JWT", "statuslist+cwt"):
        world = World()
        world.typ = typ
        with pytest.raises(StatusUnknown):
            world.verifier().verify(world.token())
    world = World()
    world.content_type = "application/json"
    with pytest.raises(StatusUnknown):
        world.verifier().verify(world.token())


def test_a_list_by_a_new_key(check: Callable[..., Any]) -> None:
    """After a rotation the lists are signed by a key that this API has not read yet: that is no outage."""
    world = World()
    verifier = world.verifier()
    assert check(verifier, world.token())
    world.key, world.published = OTHER, (KEY, OTHER)
    world.now += 61
    world.raw = b"\x01"
    with pytest.raises(TokenInvalid, match="was revoked"):
        check(verifier, world.token())


@pytest.mark.parametrize(
    "status",
    [
        ..., None, {}, [], "x", {"status_list": None}, {"identifier_list": {}},
    ],
)  # fmt: skip
def test_a_token_that_names_no_list(status: Any) -> None:
    """Nobody could ever say that it was revoked; an API that can live with that says so."""
    world = World()
    with pytest.raises(TokenInvalid, match="status list"):
        world.verifier().verify(world.token(status=status))
    assert world.verifier(StatusLists(required=False)).verify(world.token(status=status))
    assert world.fetched == 0


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize(
    ("idx", "uri"),
    [
        ("0", URI), (-1, URI), (True, URI), (0.0, URI), (None, URI), (0, None), (0, 7), (0, ""),
        (0, "https://evil.example/statuslists/one"), (0, "https://id.example:444/statuslists/one"),
        (0, "http://id.example/t/acme/statuslists/one"), (0, "https://u:p@id.example/statuslists/one"),
        (0, "file:///etc/passwd"), (0, f"{URI}#x"), (32, URI), (10**30, URI),
    ],
)  # fmt: skip
def test_a_reference_that_leads_elsewhere(idx: Any, uri: Any, required: bool) -> None:
    """A token would decide what this API fetches, or name a place that no list has."""
    world = World()
    with pytest.raises(TokenInvalid):
        world.verifier(StatusLists(required=required)).verify(world.token(idx, uri))
    assert world.fetched == (1 if type(idx) is int and idx >= 32 else 0)


def test_an_opaque_token_has_no_list() -> None:
    """The issuer was asked about it a moment ago; an API could not have both."""
    world = World()
    answered = {"active": True, "client_id": "app", "aud": API, "exp": int(START) + 60, "scope": "a"}

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=answered) if request.method == "POST" else world.answer(request)

    asked = Introspection("api", "secret", endpoint=f"{ISSUER}/introspect")
    verifier = Verifier(
        Issuer(ISSUER, status_lists=StatusLists(), introspection=asked),
        audience=API,
        now=lambda: world.now,
        fetch=Fetch(transport=httpx.MockTransport(answer)),
    )
    assert verifier.verify("opaque").client_id == "app"
    with pytest.raises(TokenInvalid, match="status list"):
        verifier.verify(world.token(status=...))


def test_it_belongs_to_one_issuer() -> None:
    """Another issuer's tokens, which have no list, would be refused, or ours taken without one."""
    world = World()
    verifier = Verifier(
        [Issuer(ISSUER, status_lists=StatusLists()), "https://other.example"],
        audience=API,
        now=lambda: world.now,
        fetch=Fetch(transport=httpx.MockTransport(world.answer)),
    )
    with pytest.raises(TokenInvalid, match="status list"):
        verifier.verify(world.token(status=...))


def test_keys_that_cannot_be_had_are_503() -> None:
    """A list that nobody can verify is no list."""
    world = World()
    verifier = world.verifier(outage=10.0)
    world.published = ()
    with pytest.raises(KeysUnavailable):
        verifier.verify(world.token())


def test_many_threads_fetch_it_once() -> None:
    """After each `ttl` a busy API would ask for the list as often as it has threads."""
    world = World()
    verifier, token = world.verifier(), world.token()
    verifier.verify(token)
    world.now += 60
    barrier = threading.Barrier(8)

    def run() -> None:
        barrier.wait()
        verifier.verify(token)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.fetched == 2


@settings(max_examples=200, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "status_list": st.recursive(
                st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.floats(allow_nan=False),
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["bits", "lst"]), inner),
                max_leaves=6,
            ),
            "iat": st.integers() | st.text(max_size=5) | st.none(),
            "ttl": st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.none(),
            "exp": st.integers() | st.text(max_size=5) | st.none(),
        },
    )
)
def test_no_list_breaks_the_reader(changed: dict[str, Any]) -> None:
    """What an issuer signs by mistake would be a 500 of every API (fuzz)."""
    world = World(**changed)
    body = Signer(KEY, typ="statuslist+jwt").sign(json.dumps(world.claims()).encode()).encode()
    try:
        found = read_status_list(
            body, KeySet([KEY.public]), issuer=ISSUER, uri=URI, algorithms={Algorithm.ES256}, now=START
        )
    except JoseError:
        return
    assert found.bits in (1, 2, 4, 8) and found.ttl > 0
