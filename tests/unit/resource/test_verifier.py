"""The resource-server library against a fake issuer: which tokens it believes, and what it says."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.jose import (
    Algorithm,
    BadSignature,
    Gate,
    KeySet,
    MalformedToken,
    PrivateKey,
    PublicKey,
    Signer,
    UnknownKey,
)
from watchword.resource import (
    AccessRefused,
    Claims,
    Fetch,
    Forbidden,
    InsufficientScope,
    Issuer,
    KeysUnavailable,
    TokenInvalid,
    Verifier,
    challenge,
)
from watchword.resource.asgi import RequireToken

ISSUER = "https://id.example/t/acme"
API = "https://payments.example"
NOW = 1_000_000.0
KEY = PrivateKey.generate(Algorithm.ES256)
OTHER = PrivateKey.generate(Algorithm.ES256)


def public(*keys: PrivateKey) -> dict[str, Any]:
    return KeySet([PublicKey.from_jwk(jwk_of(key)) for key in keys]).to_jwks()


def jwk_of(key: PrivateKey) -> dict[str, Any]:
    return key.public.to_jwk()


def claims(**changes: Any) -> dict[str, Any]:
    whole = {
        "iss": ISSUER,
        "aud": API,
        "sub": "app",
        "client_id": "app",
        "exp": NOW + 300,
        "iat": NOW,
        "jti": "1",
        "scope": "a:read",
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not ...}


def signed(
    payload: object = None,
    key: PrivateKey = KEY,
    typ: str | None = "at+jwt",
    header: dict[str, Any] | None = None,
) -> str:
    raw = payload if isinstance(payload, bytes) else json.dumps(claims() if payload is None else payload).encode()
    return Signer(key, typ=typ, header=header).sign(raw)


def b64(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


RSA = PrivateKey.generate(Algorithm.RS256)
PSS = PrivateKey.generate(Algorithm.PS256)
P384 = PrivateKey.generate(Algorithm.ES384)


def hs256(secret: bytes, kid: str) -> str:
    """Signed with a public text as the secret."""
    signing_input = f"{b64({'alg': 'HS256', 'kid': kid, 'typ': 'at+jwt'})}.{b64(claims())}"
    mac = hmac.digest(secret, signing_input.encode(), "sha256")
    return f"{signing_input}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def relabelled(key: PrivateKey, algorithm: str) -> str:
    """A good token, but for the name of its algorithm."""
    _, body, signature = signed(key=key).split(".")
    return f"{b64({'alg': algorithm, 'kid': key.kid, 'typ': 'at+jwt'})}.{body}.{signature}"


class World:
    """A verifier, its clock, and the issuer's documents; counts the fetches of the key set."""

    def __init__(self, issuer: str | Issuer = ISSUER, **options: Any) -> None:
        self.time = NOW
        self.fetches = 0
        self.jwks: Callable[[], httpx.Response] = lambda: httpx.Response(200, json=public(KEY, RSA, PSS, P384))
        self.verifier = Verifier(
            issuer, audience=API, now=lambda: self.time, fetch=Fetch(transport=httpx.MockTransport(self)), **options
        )

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/.well-known/"):
            return httpx.Response(200, json={"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks"})
        self.fetches += 1
        return self.jwks()


SHARED = World()
BODY = signed().split(".")
BAD: dict[str, str] = {
    **{
        f"JWT-002 alg {alg}": f"{b64({'alg': alg, 'kid': KEY.kid, 'typ': 'at+jwt'})}.{BODY[1]}.{BODY[2]}"
        for alg in ("none", "None", "NONE", "nOnE")
    },
    "JWT-002 two parts": f"{BODY[0]}.{BODY[1]}.",
    "JWT-003 HS256": f"{b64({'alg': 'HS256', 'kid': KEY.kid, 'typ': 'at+jwt'})}.{BODY[1]}.{BODY[2]}",
    **{
        f"JWT-003 {key.algorithm.value} {form}": hs256(secret, key.kid)
        for key in (KEY, RSA)
        for form, secret in {
            "PEM": key.public.to_pem().encode(),
            "JWK": json.dumps(jwk_of(key)).encode(),
            "DER": base64.b64decode("".join(key.public.to_pem().splitlines()[1:-1])),
        }.items()
    },
    "JWT-005 RS256 of a PS256 key": relabelled(PSS, "RS256"),
    "JWT-005 PS384 of a PS256 key": relabelled(PSS, "PS384"),
    "JWT-006 ES256 of a P-384 key": relabelled(P384, "ES256"),
    "JWT-006 ES384 not among the algorithms": signed(key=P384),
    "JWT-005 alg not the key's": f"{b64({'alg': 'RS256', 'kid': KEY.kid, 'typ': 'at+jwt'})}.{BODY[1]}.{BODY[2]}",
    "JWT-007 DER": f"{BODY[0]}.{BODY[1]}.{base64.urlsafe_b64encode(b'0' * 70).rstrip(b'=').decode()}",
    "JWT-007 too long": f"{BODY[0]}.{BODY[1]}.{BODY[2]}AAAA",
    "JWT-008 one byte of the padding": f"{'.'.join(signed(key=RSA).split('.')[:2])}.{'B' * 342}",
    "JWT-019 plus": f"{BODY[0]}.{BODY[1]}.+{BODY[2][1:]}",
    "JWT-019 slash": f"{BODY[0]}/.{BODY[1]}.{BODY[2]}",
    "JWT-021 header a list": f"{b64([])}.{BODY[1]}.{BODY[2]}",
    "JWT-007 zero signature": f"{BODY[0]}.{BODY[1]}.{'A' * 86}",
    "JWT-009 unknown kid": signed(key=OTHER),
    "JWT-010 kid absent": f"{b64({'alg': 'ES256', 'typ': 'at+jwt'})}.{BODY[1]}.{BODY[2]}",
    "JWT-014 crit": signed(header={"crit": ["x"], "x": 1}),
    "JWT-014 crit empty": signed(header={"crit": []}),
    "JWT-016 typ missing": signed(typ=None),
    "JWT-016 typ JWT": signed(typ="JWT"),
    **{f"JWT-017 {typ}": signed(typ=typ) for typ in ("logout+jwt", "dpop+jwt", "client-authentication+jwt")},
    "JWT-019 padding": signed() + "=",
    "JWT-019 line": signed() + "\n",
    "JWT-019 space": " " + signed(),
    **{f"JWT-021 payload {raw!r}": signed(raw) for raw in (b"null", b"[]", b"1", b'"x"')},
    "JWT-022 exp absent": signed(claims(exp=...)),
    **{
        f"JWT-023 exp {value!r}": signed(claims(exp=value))
        for value in ("123", True, None, [], -1, 2**63, float("nan"))
    },
    "JWT-023 exp 1e400": signed(json.dumps(claims()).replace("1000300.0", "1e400").encode()),
    "JWT-025 exp is now": signed(claims(exp=NOW)),
    "JWT-026 nbf ahead": signed(claims(nbf=NOW + 120)),
    "JWT-027 nbf a text": signed(claims(nbf="soon")),
    "JWT-027 iat a list": signed(claims(iat=[])),
    **{
        f"JWT-034 iss {iss!r}": signed(claims(iss=iss))
        for iss in ("https://evil", ISSUER + "/", ISSUER[:-1], [ISSUER], ISSUER.upper())
    },
    "aud of another API": signed(claims(aud="https://other")),
    "JWT-038 scope a list": signed(claims(scope=["a:read"])),
    "JWT-038 scope a number": signed(claims(scope=1)),
    "JWT-040 cnf unknown": signed(claims(cnf={"x": "y"})),
    "JWT-040 two methods": signed(claims(cnf={"jkt": "x", "x5t#S256": "y"})),
    "roles a text": signed(claims(roles="admin")),
    "JWT-040 cnf null": signed(claims(cnf=None)),
    "no client_id": signed(claims(client_id=...)),
}


@pytest.mark.parametrize("token", [pytest.param(token, id=name) for name, token in BAD.items()])
def test_refused(token: str, caplog: pytest.LogCaptureFixture) -> None:
    """Each of these is a known way into an API; and the caller must not learn which check it failed."""
    with pytest.raises(TokenInvalid) as caught:
        World().verifier.verify(token)
    assert caught.value.public == "The access token is not valid here"
    assert token not in caught.value.rule and caught.value.rule
    if token.strip() == token:
        caplog.set_level("INFO", "watchword.resource")
        entered: list[str] = []
        got = served(World(), [("Authorization", f"Bearer {token}")], entered=entered)
        assert (got.status_code, got.json()["error"], entered) == (401, "invalid_token", [])
        assert 'Bearer error="invalid_token"' in got.headers["www-authenticate"]
        assert token not in got.text + caplog.text and caught.value.rule not in got.text


def test_accepted() -> None:
    """The one thing that an API wants: whose call it is and what it may do."""
    got = World().verifier.verify(signed(), "a:read")
    assert ("app", "app", {"a:read"}, NOW + 300) == (got.client_id, got.subject, got.scopes, got.expires_at)


@pytest.mark.parametrize("exp", [pytest.param(NOW + 30.5, id="JWT-024 exp fractional")])
async def test_accepted_async(exp: float) -> None:
    """RFC 7519 section 2 allows fractions; and the asynchronous door follows the same rules."""
    assert exp == (await World().verifier.averify(signed(claims(exp=exp)))).expires_at


@pytest.mark.parametrize(
    "held",
    [pytest.param("a:read", id="JWT-037 not enough"), pytest.param("a:writer", id="JWT-039 substring")],
)
def test_scope(held: str) -> None:
    """A token that may read would write."""
    world = World()
    for _twice in range(2):
        with pytest.raises(InsufficientScope) as caught:
            world.verifier.verify(signed(claims(scope=held)), "a:write")
    assert 'scope="a:write"' in (challenge(caught.value) or "")


def test_a_cached_token_still_expires() -> None:
    """A cache that outlives exp would make every token eternal."""
    world, token = World(), signed()
    world.verifier.verify(token)
    world.time = NOW + 300
    with pytest.raises(TokenInvalid):
        world.verifier.verify(token)


@pytest.mark.parametrize("_", [pytest.param(0, id="JWT-009 one refetch per cool-down")])
def test_unknown_kid(_: int) -> None:
    """Forged tokens would turn this API into a flood against the issuer."""
    world = World()
    world.verifier.verify(signed())
    for _n in range(500):
        with pytest.raises(TokenInvalid):
            world.verifier.verify(signed(key=OTHER))
    assert (world.fetches, len(world.verifier._cache)) == (2, 1)
    world.jwks = lambda: httpx.Response(200, json=public(KEY, OTHER))
    world.time += 30
    assert world.verifier.verify(signed(key=OTHER)).client_id == "app"


def test_a_withdrawn_key_empties_the_cache() -> None:
    """A token of a compromised key would stay good until it expires."""
    world, token = World(), signed()
    world.verifier.verify(token)
    world.jwks = lambda: httpx.Response(200, json=public(OTHER))
    world.verifier.verify(signed(key=OTHER))
    with pytest.raises(TokenInvalid):
        world.verifier.verify(token)


def test_what_an_older_set_passed_is_not_remembered() -> None:
    """A thread that was slow would put a token of a withdrawn key into the cache of the new set."""
    world, token = World(), signed()
    trusted = world.verifier._trusted[ISSUER]
    older = trusted.keys.current()
    world.jwks = lambda: httpx.Response(200, json=public(OTHER))
    world.time += 300
    assert trusted.keys.current() is not older
    with pytest.raises(TokenInvalid, match="expired"):
        world.verifier._judge(trusted, token, older)
    world.verifier._judge(trusted, signed(claims(exp=NOW + 900)), older)
    assert not world.verifier._cache


def broken() -> httpx.Response:
    raise httpx.ConnectError("gone")


def slow() -> httpx.Response:
    raise httpx.ReadTimeout("still nothing")


HOSTILE: dict[str, Callable[[], httpx.Response]] = {
    "HTML": lambda: httpx.Response(200, html="<html>"),
    "empty": lambda: httpx.Response(200, json={"keys": []}),
    "huge": lambda: httpx.Response(200, content=b" " * 300_000, headers={"content-type": "application/json"}),
    "redirect": lambda: httpx.Response(302, headers={"location": "https://evil"}),
    "oct key": lambda: httpx.Response(200, json={"keys": [{"kty": "oct", "kid": "x", "k": "AAAA"}]}),
    "duplicate kid": lambda: httpx.Response(200, json={"keys": public(KEY)["keys"] * 2}),
    "outage": broken,
    "slow": slow,
}


@pytest.mark.parametrize("answer", [pytest.param(a, id=f"JWT-047 {n}") for n, a in HOSTILE.items()])
def test_hostile_keys_keep_the_old_set(answer: Callable[[], httpx.Response]) -> None:
    """Whoever can disturb one fetch would shut the API, or choose its keys; but no set lives for ever."""
    world = World()
    world.verifier.verify(signed())
    world.jwks = answer
    world.time += 400
    later = signed(claims(exp=NOW + 2 * 86_400))
    assert world.verifier.verify(later).client_id == "app"
    assert world.fetches == 2
    world.time = NOW + 86_400
    with pytest.raises(KeysUnavailable):
        world.verifier.verify(signed(claims(exp=NOW + 3 * 86_400)))


@pytest.mark.parametrize("status", [404, 410])
def test_an_issuer_that_is_gone(status: int) -> None:
    """Tokens of a deleted tenant would be accepted for a day; but keys that moved are no outage."""
    world, token = World(), signed(claims(exp=NOW + 3600))
    world.verifier.verify(token)
    world.jwks = lambda: httpx.Response(status, json={})
    world.time += 300
    assert world.verifier.verify(token).client_id == "app"
    world.time += 5
    for _ in range(2):
        with pytest.raises(KeysUnavailable):
            world.verifier.verify(token)
    assert world.fetches == 3
    world.jwks = lambda: httpx.Response(200, json=public(KEY))
    world.time += 5
    assert world.verifier.verify(token).client_id == "app"


def test_an_outage_between_two_answers_is_not_gone() -> None:
    """A proxy that answers 404 once during a deployment would be an outage of each API."""
    world, token = World(), signed(claims(exp=NOW + 3600))
    world.verifier.verify(token)
    answers = [lambda: httpx.Response(404), broken, lambda: httpx.Response(404), lambda: httpx.Response(503)]
    for n, answer in enumerate(answers):
        world.jwks = answer
        world.time += 5 if n else 300
        assert world.verifier.verify(token).client_id == "app"


@pytest.mark.parametrize("_", [pytest.param(0, id="JWT-048 oct beside a real key")])
def test_mixed_set(_: int) -> None:
    """A symmetric key in a public set would let everybody sign."""
    world = World()
    world.jwks = lambda: httpx.Response(
        200, json={"keys": [*public(KEY)["keys"], {"kty": "oct", "kid": "x", "k": "AAAA", "alg": "HS256"}]}
    )
    assert world.verifier.verify(signed()).client_id == "app"
    with pytest.raises(TokenInvalid):
        world.verifier.verify(f"{b64({'alg': 'HS256', 'kid': 'x', 'typ': 'at+jwt'})}.{BODY[1]}.{BODY[2]}")


def served(
    world: World, headers: list[tuple[str, str]], path: str = "/", entered: list[str] | None = None, **options: Any
) -> httpx.Response:
    """One request through the middleware, over httpx's ASGI transport."""
    import asyncio

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        held: Claims = scope["watchword"]
        if entered is not None:
            entered.append(held.client_id)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": held.client_id.encode()})

    async def call() -> httpx.Response:
        transport = httpx.ASGITransport(RequireToken(app, world.verifier, **options))
        async with httpx.AsyncClient(transport=transport, base_url="https://payments.example") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(call())


GOOD = ("Authorization", f"bEaReR {signed()}")


@pytest.mark.parametrize(
    ("headers", "path", "status", "words"),
    [
        pytest.param([GOOD], "/", 200, None, id="good"),
        pytest.param([], "/", 401, "Bearer", id="no token"),
        pytest.param([], f"/?access_token={signed()}", 401, "Bearer", id="JWT-042 token in the query"),
        pytest.param([GOOD, GOOD], "/", 400, 'error="invalid_request"', id="two headers"),
        pytest.param([("Authorization", "Bearer a.b.c")], "/", 401, 'error="invalid_token"', id="JWT-045 forged"),
        pytest.param([("Authorization", "Bearer")], "/", 401, 'error="invalid_token"', id="no value"),
        pytest.param([("Authorization", "Basic eDp5")], "/", 401, "Bearer", id="another scheme"),
        pytest.param([GOOD], "/write", 403, 'scope="a:write"', id="JWT-037 middleware"),
    ],
)
def test_middleware(headers: list[tuple[str, str]], path: str, status: int, words: str | None) -> None:
    """The application would be entered without a token, or callers could not tell what to do."""
    got = served(World(), headers, path, scope_for=lambda scope: "a:write" if scope["path"] == "/write" else None)
    assert status == got.status_code
    assert (words is None) == ("www-authenticate" not in got.headers)
    assert words is None or words in got.headers["www-authenticate"]


def test_middleware_says_503_without_keys() -> None:
    """401 would make every caller throw its good token away."""
    world = World()
    world.jwks = broken
    got = served(world, [GOOD])
    assert (got.status_code, got.headers["retry-after"]) == (503, "5")


def test_the_log_names_the_request(caplog: pytest.LogCaptureFixture) -> None:
    """A caller's complaint could not be joined with this API's log."""
    caplog.set_level("INFO", "watchword.resource")
    headers = [("Authorization", f"Bearer {signed(claims(aud='https://other'))}"), ("X-Request-Id", "call-17")]
    got = served(World(), headers)
    assert (got.status_code, got.headers["x-request-id"]) == (401, "call-17")
    (record,) = caplog.records
    assert record.getMessage() == (
        "refused with 401: audience is ['https://other'], this API is https://payments.example (request call-17)"
    )
    assert record.__dict__["request_id"] == "call-17"


def test_one_tree() -> None:
    """An exception outside the tree would be a 500."""
    assert all(issubclass(one, AccessRefused) for one in (TokenInvalid, InsufficientScope, KeysUnavailable))


@pytest.mark.parametrize(("ahead", "good"), [(20, True), (31, False)], ids=["CLK-004 20 s in front", "31 s in front"])
def test_an_issuer_whose_clock_is_in_front(ahead: int, good: bool) -> None:
    """Fresh tokens would be refused by every API whose clock is a second behind; or any future one accepted."""
    got = served(World(), [("Authorization", f"Bearer {signed(claims(iat=NOW + ahead))}")], "/")
    assert (got.status_code == 200) is good


def test_jwt_004_the_api_lists_the_algorithms() -> None:
    """JWT-004: a key of the issuer for something else, or a weaker one, would open the API."""
    token = signed(key=RSA)
    assert World().verifier.verify(token).client_id == "app"
    with pytest.raises(TokenInvalid, match="algorithm"):
        World(Issuer(ISSUER, algorithms={Algorithm.ES256})).verifier.verify(token)


WEAK = {
    "RSA 1024": {"kty": "RSA", "alg": "RS256", "kid": "weak", "e": "AQAB", "n": "v" * 171},
    "e is 1": {**jwk_of(RSA), "kid": "weak", "e": "AQ"},
    "P-192": {"kty": "EC", "crv": "P-192", "kid": "weak", "x": "A" * 32, "y": "A" * 32},
}


@pytest.mark.parametrize("jwk", [pytest.param(jwk, id=f"JWT-049 {name}") for name, jwk in WEAK.items()])
def test_weak_keys_are_not_there(jwk: dict[str, Any]) -> None:
    """Whoever can factor 1024 bits, or needs not to, would sign for the issuer."""
    world = World()
    world.jwks = lambda: httpx.Response(200, json={"keys": [*public(KEY)["keys"], jwk]})
    assert world.verifier.verify(signed()).client_id == "app"
    head = b64({"alg": jwk.get("alg", "ES256"), "kid": "weak", "typ": "at+jwt"})
    with pytest.raises(TokenInvalid, match="no key"):
        world.verifier.verify(f"{head}.{BODY[1]}.{BODY[2]}")


def test_jwt_053_the_clock_is_named() -> None:
    """JWT-053: an operator whose machine is a day ahead would look for the fault at the issuer."""
    world = World()
    date = {"date": format_datetime(datetime.fromtimestamp(NOW, UTC), usegmt=True)}
    world.jwks = lambda: httpx.Response(200, json=public(KEY), headers=date)
    world.time = NOW + 86_400
    with pytest.raises(TokenInvalid) as caught:
        world.verifier.verify(signed())
    assert caught.value.rule == (
        "expired 86100 s ago by this machine's clock; "
        "this machine's clock is 86400 s ahead of the issuer's: set it right"
    )
    with pytest.raises(TokenInvalid, match=r"'https://other'\], this API is https://payments\.example$"):
        world.verifier.verify(signed(claims(aud="https://other")))


@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 255))
def test_jwt_056_only_our_errors_escape(noise: bytes, at: int, byte: int) -> None:
    """JWT-056: any other exception is a 500 that anybody can cause."""
    good = signed().encode()
    place = at % len(good)
    for raw in (noise, good[:place] + bytes([byte]) + good[place + 1 :], good[:place] + noise + good[place:]):
        text = raw.decode("latin-1")
        try:
            SHARED.verifier.verify(text)
        except TokenInvalid:
            continue
        assert text == good.decode()


@pytest.mark.parametrize("exp", [2**31, 253_402_300_800], ids=["CLK-005 2038", "CLK-005 year 10000"])
def test_far_away(exp: int) -> None:
    """A 32-bit or a calendar overflow would shut the API one day, or open it."""
    world = World()
    assert world.verifier.verify(signed(claims(exp=exp))).expires_at == exp
    world.time = float(exp)
    with pytest.raises(TokenInvalid):
        world.verifier.verify(signed(claims(exp=exp)))


@pytest.mark.parametrize("_", [pytest.param(0, id="CLK-007 suspended")])
def test_a_machine_that_slept(_: int) -> None:
    """A machine that was suspended for ten minutes would go on with the keys and tokens of before."""
    world, token = World(), signed(claims(exp=NOW + 3_000))
    world.verifier.verify(token)
    world.jwks = lambda: httpx.Response(200, json=public(OTHER))
    world.time += 600
    with pytest.raises(TokenInvalid):
        world.verifier.verify(token)


def test_a_withdrawn_key_reaches_a_remembered_token() -> None:
    """A token that is shown all the time, and no other, would outlive the withdrawal of its key."""
    world, token = World(), signed(claims(exp=NOW + 3_000))
    world.verifier.verify(token)
    world.jwks = lambda: httpx.Response(200, json=public(OTHER))
    world.time += 299
    assert world.verifier.verify(token).client_id == "app"
    world.time += 1
    with pytest.raises(TokenInvalid):
        world.verifier.verify(token)


def test_the_cache_is_bounded() -> None:
    """A caller that gets a token for each call would fill the memory."""
    world = World(cache_size=10)
    for number in range(50):
        world.verifier.verify(signed(claims(jti=str(number))))
    assert len(world.verifier._cache) == 10
    off = World(cache_size=0)
    off.verifier.verify(signed())
    assert not off.verifier._cache


def no_night_shift(held: Claims) -> None:
    """A rule of an API's own."""
    if held.client_id == "app" and held.raw["jti"] == "night":
        raise Forbidden("not at night")


def test_roles_and_rules() -> None:
    """What an API decides by itself would be decided in every handler, and forgotten in one."""
    world = World(rules=[no_night_shift])
    held = world.verifier.verify(signed(claims(roles=["auditor"])), "a:read", role="auditor")
    assert held.roles == {"auditor"}
    for token in (signed(), signed(claims(roles=["auditors"]))):
        with pytest.raises(Forbidden, match="the role auditor is needed"):
            world.verifier.verify(token, role="auditor")
    for _twice in range(2):
        with pytest.raises(Forbidden, match="not at night"):
            world.verifier.verify(signed(claims(jti="night")))


def test_a_header_of_another_set_is_judged_anew() -> None:
    """What the gate remembers of a header would outlive the key that it names."""
    both, one = KeySet([KEY.public, OTHER.public]), KeySet([OTHER.public])
    token = signed()
    for keys, good in ((both, True), (one, False), (both, True)):
        gate = Gate(keys, algorithms={Algorithm.ES256}, typ={"at+jwt"})
        for _twice in range(2):
            if good:
                assert gate.claims(token)["jti"] == "1"
                with pytest.raises(BadSignature):
                    gate.claims(token[:-4] + "AAAA")
                with pytest.raises(MalformedToken):
                    gate.claims(token + ".")
            else:
                with pytest.raises(UnknownKey):
                    gate.claims(token)
