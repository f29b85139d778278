"""DPoP at an API (RFC 9449 section 7): the `Verifier` and the words of its refusals (`cases/dpo.yaml`)."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.proofs import header_of, proof_of, public_jwk
from tests.unit.resource.test_verifier import API, ISSUER, KEY, NOW, World, claims, public, signed

from watchword.jose import Algorithm, PrivateKey
from watchword.resource import (
    AccessRefused,
    Answer,
    Dpop,
    Fetch,
    Introspection,
    Issuer,
    NonceNeeded,
    ProofInvalid,
    ProofsInMemory,
    ProofUsed,
    ShownProof,
    TokenInvalid,
    TooManyProofs,
    Verifier,
)
from watchword.resource.protected_resource import ProtectedResource

HOLDER = PrivateKey.generate(Algorithm.ES256)
THIEF = PrivateKey.generate(Algorithm.ES256)
RSA = PrivateKey.generate(Algorithm.RS256)
URL = f"{API}/charges"
NONCE_KEY = bytes(range(32))


def bound(key: PrivateKey = HOLDER, **changes: Any) -> str:
    """A token for the holder of this key."""
    return signed(claims(cnf={"jkt": key.public.thumbprint()}, **changes))


class Door:
    """An API's door, and a request to it."""

    def __init__(self, **options: Any) -> None:
        self.world = World(**options)
        self.resource = ProtectedResource(self.world.verifier)

    def knock(
        self,
        *proofs: str,
        token: str | None = None,
        scheme: str = "DPoP",
        method: str = "GET",
        path: str = "/charges?limit=5",
        scope: str | None = None,
    ) -> Answer | None:
        """None when it opens."""
        header = [f"{scheme} {TOKEN if token is None else token}"]
        try:
            self.resource.claims(header, scope, None, lambda: ShownProof(proofs, method, path))
        except AccessRefused as refused:
            return self.resource.refuse(refused)
        return None

    def refuses(self, *proofs: str, error: str = "invalid_dpop_proof", **request: Any) -> Answer:
        """401, the challenge in the scheme's words, and the error."""
        answer = self.knock(*proofs, **request)
        assert answer is not None, "it opened"
        assert answer.status == 401
        assert f'error="{error}"' in answer.headers["WWW-Authenticate"]
        assert answer.document["error"] == error
        return answer


TOKEN = bound()


def proof(**changed: Any) -> str:
    """A right one but for what is said."""
    key, url, now = changed.pop("key", HOLDER), changed.pop("url", URL), changed.pop("now", NOW)
    return proof_of(key, url, now, **{"method": "GET", "token": TOKEN, **changed})


@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "EdDSA"])
def test_the_holder_comes_in(algorithm: str) -> None:
    """DPO-002: a bound token would be of no use to anyone."""
    holder = PrivateKey.generate(Algorithm(algorithm))
    token = bound(holder)
    assert Door().knock(proof(key=holder, token=token), token=token) is None


@pytest.mark.parametrize("scheme", ["dpop", "DPOP", "DPoP"])
def test_the_scheme_in_any_case(scheme: str) -> None:
    """DPO-037, and `access-token-type-header-case-sensitivity` of FAPI 2.0: RFC 9110 section 11.1."""
    assert Door().knock(proof(), scheme=scheme) is None


def test_a_bound_token_is_no_bearer_token() -> None:
    """DPO-035: a thief needs nothing but the token, whatever the API knows of DPoP."""
    for door in (Door(), Door(dpop=Dpop()), Door(dpop=Dpop(), require_bound=True)):
        door.refuses(proof(), scheme="Bearer", error="invalid_token")
        with pytest.raises(TokenInvalid):
            door.world.verifier.verify(TOKEN)


def test_a_bearer_token_is_not_bound() -> None:
    """DPO-036: the API would think that its caller proved something."""
    token = signed()
    Door().refuses(proof(token=token), token=token, error="invalid_token")


def test_without_a_proof() -> None:
    """The scheme alone would make a stolen token good."""
    answer = Door().refuses()
    assert answer.headers["WWW-Authenticate"].startswith("DPoP ")
    assert 'algs="ES256 PS256 EdDSA"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("joined", [False, True])
def test_two_proofs(joined: bool) -> None:
    """DPO-005 at an API: two readers of the request could judge two different proofs."""
    first, second = proof(), proof()
    Door().refuses(*([f"{first}, {second}"] if joined else [first, second]))


WRONG: dict[str, dict[str, Any]] = {
    "DPO-033 ath of another token": {"token": signed()},
    "ath is missing": {"token": None},
    "ath is a number": {"token": None, "ath": 1},
    "DPO-015 htm PUT": {"method": "PUT"},
    "DPO-015 htm get": {"method": "get"},
    "htm is missing": {"htm": None},
    "DPO-046 a proof for the token endpoint": {"url": f"{ISSUER}/token", "method": "POST"},
    "htu of another path": {"url": f"{API}/refunds"},
    "htu of another host": {"url": "https://evil.example/charges"},
    "htu is missing": {"htu": None},
    "DPO-023 an hour old": {"now": NOW - 3600},
    "DPO-023 an hour ahead": {"now": NOW + 3600},
    "one second too old": {"now": NOW - 71},
    "one second too far ahead": {"now": NOW + 11},
    "iat is missing": {"iat": None},
    "DPO-024 iat is a text": {"iat": str(NOW)},
    "DPO-024 iat is a fraction": {"iat": NOW + 0.5},
    "DPO-024 iat is true": {"iat": True},
    "expired": {"exp": int(NOW) - 11},
    "not valid yet": {"nbf": int(NOW) + 11},
    "jti is missing": {"jti": None},
    "DPO-031 jti is empty": {"jti": ""},
    "DPO-031 jti of 10 KiB": {"jti": "j" * 10_240},
    "typ is missing": {"header": header_of(HOLDER, typ=None)},
    "typ of a token": {"header": header_of(HOLDER, typ="at+jwt")},
    "alg is missing": {"header": header_of(HOLDER, alg=None)},
    "DPO-010 alg none": {"header": header_of(HOLDER, alg="none")},
    "DPO-010 alg RS256": {"key": RSA},
    "jwk is missing": {"header": header_of(HOLDER, jwk=None)},
    "jwk holds the private key": {"header": header_of(HOLDER, jwk={**public_jwk(HOLDER), "d": "AAAA"})},
    "signed by another key": {"sign": THIEF.sign},
}


@pytest.mark.parametrize("wrong", [pytest.param(wrong, id=name) for name, wrong in WRONG.items()])
def test_a_wrong_proof(wrong: dict[str, Any]) -> None:
    """Each of these is a request of somebody who does not hold the key, or for something else (section 4.3)."""
    door = Door()
    door.refuses(proof(**wrong))
    assert door.knock(proof()) is None


@pytest.mark.parametrize("text", ["", "abc", "a.b.c", "\x00", "é", "." * 9000, TOKEN])
def test_not_a_proof(text: str) -> None:
    """DPO-006: rubbish in a header would be a 500."""
    Door().refuses(text)


@given(st.text(max_size=200))
def test_any_text_is_refused(text: str) -> None:
    """What a stranger writes into a header would end in a trace."""
    FUZZED.refuses(text)


FUZZED = Door()


def test_by_another_key() -> None:
    """Who stole the token makes a proof of its own, and a right one: the token is not for that key."""
    answer = Door().refuses(proof(key=THIEF), error="invalid_token")
    assert answer.document["error_description"] == "The access token is not valid here"


RIGHT: dict[str, dict[str, Any]] = {
    "DPO-018 scheme and host in upper case": {"url": "HTTPS://PAYMENTS.EXAMPLE/charges"},
    "DPO-018 default port": {"url": "https://payments.example:443/charges"},
    "DPO-018 dot segments": {"url": f"{API}/a/../charges"},
    "DPO-018 an escape without need": {"url": f"{API}/%63harges"},
    "htu with another query and a fragment": {"url": f"{URL}?limit=6#top"},
    "DPO-025 nbf and exp": {"nbf": int(NOW), "exp": int(NOW) + 300},
    "sixty seconds old": {"now": NOW - 60},
    "ten seconds old": {"now": NOW - 10},
    "ten seconds ahead": {"now": NOW + 10},
    "claims that nobody knows": {"foo": {"bar": [1]}},
}


@pytest.mark.parametrize("right", [pytest.param(right, id=name) for name, right in RIGHT.items()])
def test_a_right_proof(right: dict[str, Any]) -> None:
    """Callers write URLs in more than one way, and their clocks differ a little."""
    assert Door().knock(proof(**right)) is None


def test_used_twice() -> None:
    """Who reads one request off a log could send it again."""
    door, once = Door(), proof()
    assert door.knock(once) is None
    assert "used before" in door.refuses(once).document["error_description"]
    assert door.knock(proof()) is None
    door.world.time = NOW + 69  # within its life and the leeway
    door.refuses(once)


def test_a_proof_from_the_future_is_remembered_as_long_as_it_is_good() -> None:
    """DPO-029 at an API: it would be forgotten before it expires, and count again."""
    door, once = Door(), proof(now=NOW + 10)
    assert door.knock(once) is None
    door.world.time = NOW + 79
    assert "used before" in door.refuses(once).document["error_description"]


def test_one_of_many_threads() -> None:
    """DPO-030 at an API: two requests at the same moment would both find the proof unused."""
    door, once, opened = Door(), proof(), []
    start = threading.Barrier(8)

    def one() -> None:
        start.wait()
        if door.knock(once) is None:
            opened.append(1)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 1


def test_a_refused_proof_can_be_used_later() -> None:
    """A thief who only saw the proof could use it up for its owner by sending it with another token."""
    door, once = Door(), proof()
    door.refuses(once, token=bound(THIEF))
    assert door.knock(once) is None


def test_memory_is_bounded_and_empties() -> None:
    """DPO-032 at an API: memory would grow with every request, or a flood would make it forget what was used."""
    memory = ProofsInMemory(limit=3)
    for number in range(3):
        memory.use(bytes([number]), 100.0, 40.0)
    with pytest.raises(TooManyProofs):
        memory.use(b"4", 100.0, 40.0)
    with pytest.raises(ProofUsed):
        memory.use(b"\x00", 100.0, 99.0)
    for number in range(3):
        memory.use(bytes([number]), 300.0, 121.0)


def test_a_full_memory_is_not_a_refusal() -> None:
    """401 would make every caller fetch a new token, in the middle of the flood."""
    door = Door(dpop=Dpop(memory=ProofsInMemory(limit=1)))
    assert door.knock(proof()) is None
    answer = door.knock(proof())
    assert answer is not None
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


class Shared:
    """A memory that two processes share."""

    def __init__(self) -> None:
        self.seen: dict[bytes, float] = {}

    def use(self, mark: bytes, until: float, now: float) -> None:
        """See `ProofMemory`."""
        assert len(mark) == 32
        if mark in self.seen:
            raise ProofUsed
        self.seen[mark] = until


def test_a_memory_that_processes_share() -> None:
    """A proof would be good once for every worker of the API."""
    shared, once = Shared(), proof()
    assert Door(dpop=Dpop(memory=shared)).knock(once) is None
    Door(dpop=Dpop(memory=shared)).refuses(once)
    assert list(shared.seen.values()) == [NOW + 70]


# -- nonces (section 9) --------------------------------------------------------------------------


def nonced() -> Door:
    """An API that wants nonces."""
    return Door(dpop=Dpop(nonce_key=NONCE_KEY))


def test_the_api_wants_a_nonce() -> None:
    """DPO-040: a proof that was made in advance could be used whenever its time comes."""
    door = nonced()
    answer = door.refuses(proof(), error="use_dpop_nonce")
    assert answer.headers["WWW-Authenticate"].startswith('DPoP error="use_dpop_nonce"')
    nonce = answer.headers["DPoP-Nonce"]
    assert door.knock(proof(nonce=nonce, now=NOW - 3600)) is None, "the nonce says when, not the caller's clock"


@pytest.mark.parametrize("nonce", ["", "made-up", "é", "A" * 33])
def test_a_nonce_that_nobody_gave(nonce: str) -> None:
    """A caller would make up its own."""
    nonced().refuses(proof(nonce=nonce), error="use_dpop_nonce")


def test_a_nonce_grows_old_and_its_proof_stays_used() -> None:
    """A proof would be good for ever, or a second time once it was forgotten."""
    door = nonced()
    nonce = door.refuses(proof(), error="use_dpop_nonce").headers["DPoP-Nonce"]
    once = proof(nonce=nonce)
    assert door.knock(once) is None
    door.world.time = NOW + 200
    door.refuses(once)
    door.world.time = NOW + 299
    again = door.refuses(proof(nonce=nonce), error="use_dpop_nonce")
    assert again.headers["DPoP-Nonce"] != nonce


def test_a_nonce_of_another_node_and_of_another_api() -> None:
    """DPO-042 at an API: behind a load balancer every second request would be refused."""
    nonce = nonced().refuses(proof(), error="use_dpop_nonce").headers["DPoP-Nonce"]
    assert nonced().knock(proof(nonce=nonce)) is None
    Door(dpop=Dpop(nonce_key=bytes(32))).refuses(proof(nonce=nonce), error="use_dpop_nonce")


# -- what an API says of itself ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "value"),
    [
        pytest.param({}, "Bearer", id="asked for nothing"),
        pytest.param({"dpop": Dpop()}, 'Bearer, DPoP algs="ES256 PS256 EdDSA"', id="takes both"),
        pytest.param(
            {"dpop": Dpop(algorithms=(Algorithm.EdDSA,)), "require_bound": True}, 'DPoP algs="EdDSA"', id="DPoP alone"
        ),
    ],
)
def test_the_challenge_without_a_token(options: dict[str, Any], value: str) -> None:
    """A caller could not find out how to show its token (section 7.2)."""
    answer = Door(**options).knock(scheme="Basic")
    assert answer is not None
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, value)


def test_metadata() -> None:
    """RFC 9728 section 2."""
    assert b"dpop" not in Door().resource.publish()[1]
    _, body = Door(dpop=Dpop(), require_bound=True).resource.publish()
    assert b'"dpop_signing_alg_values_supported": ["ES256", "PS256", "EdDSA"]' in body
    assert b'"dpop_bound_access_tokens_required": true' in body


def test_only_bound_tokens() -> None:
    """An API that says so would still let in whoever found a bearer token."""
    door = Door(dpop=Dpop(), require_bound=True)
    assert door.knock(proof()) is None
    answer = door.refuses(scheme="Bearer", token=signed(), error="invalid_token")
    assert answer.headers["WWW-Authenticate"].startswith("DPoP ")


def test_the_scope_is_asked_after_the_proof() -> None:
    """A thief would learn what the token that it cannot use is good for."""
    door = Door()
    answer = door.knock(proof(), scope="a:write")
    assert answer is not None
    assert (answer.status, answer.headers["WWW-Authenticate"].split()[0]) == (403, "DPoP")
    door.refuses(proof(key=THIEF), scope="a:write", error="invalid_token")


def test_where_callers_reach_the_api() -> None:
    """Behind a proxy that takes a prefix away every proof would be refused; without an address none can be judged."""
    door = Door(dpop=Dpop(base_url="https://gateway.example/payments/"))
    assert door.knock(proof(url="https://gateway.example/payments/charges")) is None
    door.refuses(proof())
    with pytest.raises(ValueError, match="base_url"):
        Verifier(ISSUER, audience="payments", dpop=Dpop())
    with pytest.raises(ValueError, match="base_url"):
        Verifier(ISSUER, audience=API, dpop=Dpop(base_url="payments.example"))


def test_an_audience_that_is_no_address() -> None:
    """Nobody set anything up for DPoP: the token would be taken as it is."""
    verifier = Verifier(
        Issuer(ISSUER, jwks_uri=f"{ISSUER}/jwks"),
        audience="payments",
        now=lambda: NOW,
        fetch=Fetch(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=public(KEY)))),
    )
    token = signed(claims(aud="payments", cnf={"jkt": HOLDER.public.thumbprint()}))
    with pytest.raises(TokenInvalid, match="base_url"):
        verifier.verify(token, proof=ShownProof([proof(token=token)], "GET", "/charges"))


async def test_both_doors() -> None:
    """The door of event loops would be another one."""
    door = Door()
    once = ShownProof([proof()], "GET", "/charges")
    assert (await door.world.verifier.averify(TOKEN, proof=once)).dpop_key == HOLDER.public.thumbprint()
    with pytest.raises(ProofInvalid):
        await door.world.verifier.averify(TOKEN, proof=once)
    with pytest.raises(TokenInvalid):
        await door.world.verifier.averify(TOKEN)
    with pytest.raises(TokenInvalid, match="adapter"):
        await door.resource.aclaims([f"DPoP {TOKEN}"], None)


# -- opaque tokens -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "opens"),
    [
        pytest.param({"token_type": "DPoP", "cnf": {"jkt": HOLDER.public.thumbprint()}}, True, id="bound"),
        pytest.param({"token_type": "DPoP", "cnf": {"jkt": THIEF.public.thumbprint()}}, False, id="to another key"),
        pytest.param({"token_type": "DPoP"}, False, id="to none that is named"),
        pytest.param({"token_type": "N_A"}, False, id="of an unknown kind"),
    ],
)
def test_an_opaque_token(answer: dict[str, Any], opens: bool) -> None:
    """The answer of the introspection says what the token is bound to (section 6.2)."""

    def network(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/introspect"):
            return httpx.Response(200, json={"active": True, **claims(**answer)})
        if request.url.path.startswith("/.well-known/"):
            told = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks", "introspection_endpoint": f"{ISSUER}/introspect"}
            return httpx.Response(200, json=told)
        return httpx.Response(200, json=public(KEY))

    verifier = Verifier(
        Issuer(ISSUER, introspection=Introspection("rs", "secret")),
        audience=API,
        now=lambda: NOW,
        fetch=Fetch(transport=httpx.MockTransport(network)),
    )
    shown = ShownProof([proof(token="opaque")], "GET", "/charges")
    if opens:
        assert verifier.verify("opaque", proof=shown).dpop_key
    else:
        with pytest.raises(TokenInvalid):
            verifier.verify("opaque", proof=shown)


def test_errors_hold_what_adapters_need() -> None:
    """A nonce that is not told ends in a loop of refusals."""
    with pytest.raises(NonceNeeded) as refused:
        nonced().world.verifier.verify(TOKEN, proof=ShownProof([proof()], "GET", "/charges"))
    assert refused.value.nonce
