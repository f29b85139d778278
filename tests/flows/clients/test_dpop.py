"""DPoP at the token endpoint (RFC 9449), case by case (`cases/dpo.yaml`)."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.support.assertions import TYPE, Caller, issued, refused
from tests.support.instance import BASE, ISSUER, Instance, credentials_of, instance, node
from tests.support.proofs import header_of, proof_of, public_jwk
from tests.support.tokens import claims_of

from watchword.jose import Algorithm, PrivateKey
from watchword.jose.encoding import b64url
from watchword.server.storage import schema
from watchword.server.storage.registry import KEEP_MARKS

URL = f"{ISSUER}/token"
FORM = {"grant_type": "client_credentials"}


@dataclass
class World:
    """The fixtures of the catalogue."""

    ww: Instance
    api: dict[str, Any]
    pkj: Caller
    """c_dpop: private_key_jwt, and its tokens have to be bound."""
    basic: tuple[str, str]
    key: PrivateKey

    def proof(self, url: str = URL, **changed: Any) -> str:
        """A right one but for what is said."""
        return proof_of(changed.pop("key", self.key), url, changed.pop("now", self.ww.clock.now), **changed)

    async def send(self, *proofs: str, ww: Instance | None = None, url: str = URL, **headers: str) -> httpx.Response:
        """POST /token as c_basic, with these DPoP headers."""
        fields = [*(("dpop", one) for one in proofs), *headers.items()]
        return await (ww or self.ww).http.post(url, data=FORM, auth=self.basic, headers=fields)

    async def marks(self) -> list[int]:
        """When each mark ends."""
        async with self.ww.services.storage.engine.connect() as connection:
            return [row[0] for row in (await connection.execute(sa.select(schema.replay_mark.c.expires_at))).fetchall()]


async def made(ww: Instance) -> World:
    """On an instance with whatever settings."""
    api = await ww.api("https://rs1.example/", "a:read")
    pkj = await Caller.register(ww, api, "c_dpop", require_bound=True)
    basic = credentials_of(await ww.application("c_basic", api, "a:read"))
    return World(ww, api, pkj, basic, PrivateKey.generate(Algorithm.ES256))


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    """With the default settings."""
    async with instance(tmp_path) as ww:
        yield await made(ww)


def no(answer: httpx.Response) -> str:
    """The refusal of a proof; what it says."""
    refused(answer, "invalid_dpop_proof", 400)
    assert "dpop-nonce" not in answer.headers
    return str(answer.json()["error_description"])


async def nothing_happened(w: World) -> None:
    """N1, N6: no token, no mark; and the next right request is served (N5)."""
    assert await issued(w.ww) == 0
    assert await w.marks() == []
    assert (await w.send(w.proof())).status_code == 200


@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "EdDSA"])
async def test_a_bound_token(w: World, algorithm: str) -> None:
    """DPO-001: the token would not be bound, or nobody could find out later to which key."""
    key = PrivateKey.generate(Algorithm(algorithm))
    answer = await w.ww.http.post(
        URL, data={**FORM, "client_assertion": w.pkj.assertion(), "client_assertion_type": TYPE},
        headers={"dpop": w.proof(key=key)},
    )  # fmt: skip
    claims = claims_of(answer)
    assert claims["cnf"] == {"jkt": key.public.thumbprint()}
    assert answer.json()["token_type"] == "DPoP"
    assert "dpop-nonce" not in answer.headers
    events = (await w.ww.call("GET", "/audit")).json()["items"]
    event = next(one for one in events if one["event"] == "TokenIssued" and one["actor"] == w.pkj.client_id)
    assert event["bound_to"] == key.public.thumbprint()
    told = (await w.ww.http.get(f"{ISSUER}/.well-known/oauth-authorization-server")).json()
    assert told["dpop_signing_alg_values_supported"] == ["ES256", "PS256", "EdDSA"]


@pytest.mark.parametrize("format", ["jwt", "opaque"])
async def test_introspection_shows_the_binding(w: World, format: str) -> None:
    """An API that introspects would take a stolen token, because nobody told it that there is a key to ask for."""
    api = await w.ww.api("https://rs2.example/", "a:read", format=format)
    caller = credentials_of(await w.ww.application("caller", api, "a:read"))
    await w.ww.call("PATCH", f"/apis/{api['api_id']}", {"introspectors": [caller[0]]})
    for headers, kind, cnf in (
        ({"dpop": w.proof()}, "DPoP", {"jkt": w.key.public.thumbprint()}),
        ({}, "Bearer", None),
    ):
        answer = await w.ww.http.post(URL, data=FORM, auth=caller, headers=headers)
        assert answer.json()["token_type"] == kind
        said = await w.ww.introspect(caller, answer.json()["access_token"])
        assert (said["active"], said["token_type"], said.get("cnf")) == (True, kind, cnf)


async def test_without_a_proof_nothing_changes(w: World) -> None:
    """DPO-004: everybody who knows no DPoP would find another kind of token."""
    answer = await w.send()
    assert answer.json()["token_type"] == "Bearer"
    assert "cnf" not in claims_of(answer)


@pytest.mark.parametrize("whose", ["application", "api"])
async def test_what_must_be_bound_is_never_unbound(w: World, whose: str) -> None:
    """A thief of the secret alone, or of the token alone, would be as good as its owner."""
    if whose == "application":
        answer = await w.pkj.token()
    else:
        assert (await w.ww.call("PATCH", f"/apis/{w.api['api_id']}", {"require_bound": True})).status_code == 200
        answer = await w.send()
    assert "send a DPoP proof" in no(answer)
    await nothing_happened(w)


@pytest.mark.parametrize("how", ["two headers", "joined"])
async def test_two_proofs(w: World, how: str) -> None:
    """DPO-005: two readers of one request would see two keys."""
    both = (w.proof(), w.proof())
    no(await (w.send(*both) if how == "two headers" else w.send(", ".join(both))))
    no(await (w.send(both[0], both[0]) if how == "two headers" else w.send(",".join(both[:1] * 2))))
    await nothing_happened(w)


TEXTS = ["abc", "", "a.b.c", "..", "bnVsbA.bnVsbA.bnVsbA", "a" * 100_000, "." * 20_000, "ü.ü.ü"]


async def test_no_header(w: World) -> None:
    """DPO-006: what HTTP does not allow in a header would reach the application, or be answered with a page."""
    credentials = base64.b64encode(":".join(w.basic).encode()).decode()
    form = ("content-type", "application/x-www-form-urlencoded")
    for text in ("\x7f", "a\0b", "a\x01b", "a\rb"):
        headers = [form, ("authorization", f"Basic {credentials}"), ("dpop", text)]
        answer = await w.ww.door.as_written("/t/default/token", *headers, body=b"grant_type=client_credentials")
        refused(answer, "invalid_request", 400)
    await nothing_happened(w)


@pytest.mark.parametrize("text", TEXTS, ids=lambda t: f"DPO-006 {t[:10]!r} {len(t)}")
async def test_no_jwt(w: World, text: str) -> None:
    """What is no proof would be a 500, or be looked over as if there were none."""
    headers = [(b"dpop", text.encode())]
    no(await w.ww.http.post(URL, data=FORM, auth=w.basic, headers=headers))
    await nothing_happened(w)


HEADERS: list[tuple[str, dict[str, Any]]] = [
    ("DPO-007 no typ", {"typ": None}),
    ("DPO-007 no alg", {"alg": None}),
    ("DPO-007 no jwk", {"jwk": None}),
    ("an assertion's typ", {"typ": "JWT"}),
    ("an access token's typ", {"typ": "at+jwt"}),
    ("typ a list", {"typ": ["dpop+jwt"]}),
    ("DPO-010 none", {"alg": "none"}),
    ("DPO-010 RS256", {"alg": "RS256"}),
    ("DPO-010 RS1", {"alg": "RS1"}),
    ("DPO-010 ES384", {"alg": "ES384"}),
    ("DPO-010 lower case", {"alg": "es256"}),
    ("DPO-014 kid", {"kid": "a"}),
    ("DPO-014 jku", {"jku": "https://evil.example/keys"}),
    ("DPO-014 x5u", {"x5u": "https://evil.example/chain"}),
    ("DPO-014 x5c", {"x5c": ["AAAA"]}),
    ("crit", {"crit": ["b64"], "b64": False}),
    ("jwk a text", {"jwk": "key"}),
    ("jwk empty", {"jwk": {}}),
]


@pytest.mark.parametrize("changed", [pytest.param(c, id=i) for i, c in HEADERS])
async def test_headers_that_say_no(w: World, changed: dict[str, Any]) -> None:
    """A proof of another kind, or by an algorithm or key that nobody agreed on, would bind a token."""
    no(await w.send(w.proof(header=header_of(w.key, **changed))))
    await nothing_happened(w)


def _hs256(w: World) -> str:
    secret = b"k" * 32
    header = {"typ": "dpop+jwt", "alg": "HS256", "jwk": {"kty": "oct", "k": b64url(secret).decode()}}
    return w.proof(header=header, sign=lambda data: hmac.digest(secret, data, "sha256"))


def _rsa_jwk(bits: int, e: int = 65537) -> dict[str, Any]:
    n = rsa.generate_private_key(65537, bits).public_key().public_numbers().n if bits < 8_192 else 2**bits - 1
    number = {name: b64url(v.to_bytes((v.bit_length() + 7) // 8, "big")).decode() for name, v in (("n", n), ("e", e))}
    return {"kty": "RSA", **number}


KEYS: list[tuple[str, Any]] = [
    ("DPO-010 HS256", _hs256),
    ("a private key", lambda w: w.proof(header=header_of(w.key, jwk={**public_jwk(w.key), "d": "AAAA"}))),
    ("another key", lambda w: w.proof(sign=PrivateKey.generate(Algorithm.ES256).sign)),
    ("another key's jwk", lambda w: w.proof(header=header_of(PrivateKey.generate(Algorithm.ES256)))),
    ("an algorithm of another family", lambda w: w.proof(header=header_of(w.key, alg="EdDSA"))),
    ("a key for something else", lambda w: w.proof(header=header_of(w.key, jwk={**public_jwk(w.key), "use": "enc"}))),
    ("jwk of another algorithm", lambda w: w.proof(header=header_of(w.key, jwk={**public_jwk(w.key), "alg": "PS256"}))),
    ("DPO-013 RSA 1024", lambda w: w.proof(header=header_of(w.key, alg="PS256", jwk=_rsa_jwk(1024)))),
    ("DPO-013 RSA 16384", lambda w: w.proof(header=header_of(w.key, alg="PS256", jwk=_rsa_jwk(16_384)))),
    ("DPO-013 e = 1", lambda w: w.proof(header=header_of(w.key, alg="PS256", jwk=_rsa_jwk(2048, 1)))),
    ("DPO-013 e huge", lambda w: w.proof(header=header_of(w.key, alg="PS256", jwk=_rsa_jwk(2048, 2**2000 + 1)))),
    ("DPO-013 off the curve", lambda w: w.proof(header=header_of(w.key, jwk={**public_jwk(w.key), "y": "A" * 43}))),
    ("DPO-013 100 KB", lambda w: w.proof(header=header_of(w.key, jwk={**public_jwk(w.key), "x5c": ["A" * 100_000]}))),
]


@pytest.mark.parametrize("make", [pytest.param(m, id=i) for i, m in KEYS])
async def test_keys_that_prove_nothing(w: World, make: Any) -> None:
    """A weak key would be taken, or one so large that a single verification takes minutes."""
    no(await w.send(make(w)))
    await nothing_happened(w)


CLAIMS: list[tuple[str, dict[str, Any]]] = [
    *((f"DPO-007 no {name}", {name: None}) for name in ("jti", "htm", "htu", "iat")),
    ("DPO-015 PUT", {"htm": "PUT"}),
    ("DPO-015 lower case", {"htm": "post"}),
    ("htm a list", {"htm": ["POST"]}),
    ("DPO-020 another host", {"htu": "https://evil.example/t/default/token"}),
    ("another tenant", {"htu": f"{BASE}/t/other/token"}),
    ("the issuer", {"htu": ISSUER}),
    ("the other scheme", {"htu": URL.replace("https:", "http:")}),
    ("another port", {"htu": URL.replace(":8480", ":8481")}),
    ("a slash more", {"htu": f"{URL}/"}),
    ("userinfo", {"htu": URL.replace("//", "//a@")}),
    ("htu a list", {"htu": [URL]}),
    ("htu relative", {"htu": "/t/default/token"}),
    ("DPO-023 an hour old", {"iat": -3_600}),
    ("DPO-023 an hour ahead", {"iat": 3_600}),
    ("DPO-023 a second too old", {"iat": -71}),
    ("DPO-023 a second too far ahead", {"iat": 11}),
    ("DPO-024 a text", {"iat": "1800000000"}),
    ("DPO-024 a fraction", {"iat": 1_800_000_000.5}),
    ("DPO-024 a float", {"iat": 1_800_000_000.0}),
    ("DPO-024 true", {"iat": True}),
    ("DPO-024 null", {"payload": b'{"iat":null}'}),
    ("DPO-024 beyond every calendar", {"iat": 10**400}),
    ("DPO-024 negative", {"iat": -(2**60)}),
    ("DPO-025 expired", {"exp": -300}),
    ("DPO-025 not yet", {"nbf": 300}),
    ("DPO-031 empty jti", {"jti": ""}),
    ("DPO-031 huge jti", {"jti": "j" * 10_240}),
    ("jti a number", {"jti": 7}),
    ("nonce a number", {"nonce": 7}),
]


@pytest.mark.parametrize("changed", [pytest.param(c, id=i) for i, c in CLAIMS])
async def test_claims_that_say_no(w: World, changed: dict[str, Any]) -> None:
    """A proof for another request, another time or any time would bind a token for whoever caught it."""
    timed = {
        name: int(value + w.ww.clock.now)
        if name in ("iat", "exp", "nbf") and type(value) is int and abs(value) < 10_000 else value
        for name, value in changed.items()
    }  # fmt: skip
    no(await w.send(w.proof(**timed)))
    await nothing_happened(w)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400", "-1e400", "1e3"])
async def test_numbers_that_are_none(w: World, number: str) -> None:
    """DPO-024: what some JSON readers let pass would stand outside of every comparison."""
    claims = json.dumps({"jti": "j", "htm": "POST", "htu": URL, "iat": 0}).replace('"iat": 0', f'"iat": {number}')
    no(await w.send(w.proof(payload=claims.encode())))
    twice = claims.replace(number, "1") + json.dumps({"jti": "k"})
    no(await w.send(w.proof(payload=twice.encode())))
    await nothing_happened(w)


@pytest.mark.parametrize(
    "changed",
    [
        {"iat": -70}, {"iat": 10}, {"nbf": 0, "exp": 300}, {"htu": f"{URL}?a=b#c"}, {"foreign": [1]},
        {"htu": "HTTPS://127.0.0.1:8480/./t/%64efault/x/../token"}, {"jti": "j" * 256}, {"jti": "ü"}, {"ath": "of no token"},
    ],
    ids=lambda c: f"DPO-018 DPO-025 {c}"[:60],
)  # fmt: skip
async def test_proofs_that_are_right(w: World, changed: dict[str, Any]) -> None:
    """A library that spells the URL otherwise, or a clock ten seconds off, would be locked out."""
    timed = {
        name: int(value + w.ww.clock.now) if name in ("iat", "exp", "nbf") else value for name, value in changed.items()
    }
    assert (await w.send(w.proof(**timed))).status_code == 200


async def test_behind_a_proxy(tmp_path: Path) -> None:
    """DPO-020: the URL would be made from what the caller says, and a proof for an evil host would be good here."""
    public = "https://id.example/base"
    async with instance(tmp_path, public_url=public) as ww:
        api = (await ww.http.get("http://127.0.0.1:1/base/t/default/jwks")).status_code
        assert api == 200
        key = PrivateKey.generate(Algorithm.ES256)
        for host, url, status in (
            ("127.0.0.1:1", f"{public}/t/default/token", 200),
            ("evil.example", f"{public}/t/default/token", 200),
            ("evil.example", "https://evil.example/base/t/default/token", 400),
            ("127.0.0.1:1", "http://127.0.0.1:1/base/t/default/token", 400),
        ):
            answer = await ww.http.post(
                "http://127.0.0.1:1/base/t/default/token",
                data={**FORM, "resource": "urn:watchword:admin"},
                auth=ww.admin,
                headers={"host": host, "x-forwarded-host": host, "dpop": proof_of(key, url, ww.clock.now)},
            )
            assert answer.status_code == status, answer.text


async def test_at_the_alias_of_mutual_tls(tmp_path: Path) -> None:
    """DPO-021: a proof for one of the two endpoints would be good at the other."""
    async with instance(tmp_path, mtls_url="https://mtls.id.example/") as ww:
        w = await made(ww)
        alias = "https://mtls.id.example/t/default/token"
        for host, url, status in (
            ("mtls.id.example", alias, 200),
            ("MTLS.id.example:443", alias, 200),
            ("mtls.id.example", URL, 400),
            ("127.0.0.1:8480", URL, 200),
            ("127.0.0.1:8480", alias, 400),
            ("evil.example", "https://evil.example/t/default/token", 400),
        ):
            answer = await w.send(w.proof(url), host=host)
            assert answer.status_code == status, (host, url, answer.text)


async def test_a_used_proof(w: World) -> None:
    """DPO-029: a proof that is replayed in the last second of some clock would be good again (Keycloak 43505)."""
    ahead = w.proof(now=w.ww.clock.now + 10)
    assert (await w.send(ahead)).status_code == 200
    (ends,) = await w.marks()
    assert ends == int(w.ww.clock.now) + 10 + 60 + 10 + 1
    for seconds in (0, 61, 18, 1):
        w.ww.clock.now += seconds
        await w.ww.services.upkeep.housekeeping.purge()
        assert "used before" in no(await w.send(ahead))
    assert await issued(w.ww) == 1
    w.ww.clock.now += 10_000
    assert "iat" in no(await w.send(ahead))


async def test_one_jti_of_two_keys(w: World) -> None:
    """One caller could use up another's proofs by guessing their ids."""
    other = PrivateKey.generate(Algorithm.ES256)
    assert (await w.send(w.proof(jti="j"))).status_code == 200
    assert (await w.send(w.proof(jti="j", key=other))).status_code == 200
    no(await w.send(w.proof(jti="j")))


async def test_another_signature_on_a_used_proof(w: World) -> None:
    """ECDSA signatures have a twin that anybody can compute: by the signature, a proof would work twice."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    proof = w.proof()
    signing_input, _, signature = proof.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    twin = raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    assert (await w.send(proof)).status_code == 200
    assert "used before" in no(await w.send(f"{signing_input}.{b64url(twin).decode()}"))


async def test_used_and_refused_together(w: World) -> None:
    """An assertion that came beside a used proof would be lost, or a proof beside a used assertion."""

    async def both(assertion: str, proof: str, **form: str) -> httpx.Response:
        fields = {**FORM, "client_assertion": assertion, "client_assertion_type": TYPE, **form}
        return await w.ww.http.post(URL, data=fields, headers={"dpop": proof})

    a1, a2, p1, p2 = w.pkj.assertion(), w.pkj.assertion(), w.proof(), w.proof()
    refused(await both(a1, p1, scope="not:granted"), "invalid_scope", 400)
    assert (await both(a1, p1)).status_code == 200
    assert len(await w.marks()) == 2
    assert "used before" in no(await both(a2, p1))
    refused(await both(a1, p2))
    refused(await both(a1, p1))
    assert len(await w.marks()) == 2
    assert (await both(a2, p2)).status_code == 200
    assert len(await w.marks()) == 4
    assert await issued(w.ww) == 2


async def test_the_store_is_bounded(w: World) -> None:
    """DPO-032: a table that only grows fills the disk; each mark is a digest, whatever the jti was."""
    for _ in range(3):
        answers = await asyncio.gather(*(w.send(w.proof(jti=f"{n}" + "j" * 1_000)) for n in range(30)))
        assert {answer.status_code for answer in answers} == {200}
        assert len(await w.marks()) == 30
        w.ww.clock.now = max(await w.marks()) + KEEP_MARKS + 1
        await w.ww.services.upkeep.housekeeping.purge()
        assert await w.marks() == []
    assert all("jjj" not in line for line in json.dumps((await w.ww.call("GET", "/audit?limit=500")).json()).split(","))


@pytest.fixture
async def nonces(tmp_path: Path) -> AsyncIterator[World]:
    """Where every proof needs a nonce."""
    async with instance(tmp_path, dpop_nonce=True) as ww:
        yield await made(ww)


def wanted(answer: httpx.Response) -> str:
    """The nonce of a challenge."""
    refused(answer, "use_dpop_nonce", 400)
    return answer.headers["dpop-nonce"]


async def test_a_nonce_is_needed(nonces: World) -> None:
    """DPO-038: proofs could be made in advance, by whoever had the key for a moment; or the refused one would be lost."""
    w = nonces
    nonce = wanted(await w.send(w.proof()))
    assert await w.marks() == []
    again = w.proof(nonce=nonce)
    answer = await w.send(again)
    assert answer.json()["token_type"] == "DPoP"
    assert "dpop-nonce" not in answer.headers
    assert "used before" in no(await w.send(again))
    for bad in ("", "x", nonce[:-1], nonce + "A", nonce.swapcase()):
        assert wanted(await w.send(w.proof(nonce=bad))) == nonce
    assert (await w.send()).json()["token_type"] == "Bearer"


async def test_nonces_rotate(nonces: World) -> None:
    """A nonce that lives for ever proves nothing; one that ends without a word costs every caller a round trip."""
    w = nonces
    first = wanted(await w.send(w.proof()))
    w.ww.clock.now += 60
    answer = await w.send(w.proof(nonce=first))
    second = answer.headers["dpop-nonce"]
    assert (answer.status_code, second != first) == (200, True)
    assert "dpop-nonce" not in (await w.send(w.proof(nonce=second))).headers
    w.ww.clock.now += 300
    assert wanted(await w.send(w.proof(nonce=second))) not in (first, second)


async def test_a_clock_that_is_wrong(nonces: World) -> None:
    """A device without a clock has a nonce for that (RFC 9449 section 11.1); its proof still works once."""
    w = nonces
    nonce = wanted(await w.send(w.proof()))
    old = w.proof(nonce=nonce, now=w.ww.clock.now - 86_400)
    assert (await w.send(old)).status_code == 200
    w.ww.clock.now += 100
    await w.ww.services.upkeep.housekeeping.purge()
    assert "used before" in no(await w.send(old))
    (ends,) = await w.marks()
    assert ends >= w.ww.clock.now + 100


async def test_a_nonce_that_nobody_asked_for(w: World) -> None:
    """A caller that remembers the nonce of another server would be refused without learning the way out."""
    nonce = wanted(await w.send(w.proof(nonce="of another server")))
    assert (await w.send(w.proof(nonce=nonce))).status_code == 200


async def test_nonces_on_two_nodes(nonces: World) -> None:
    """DPO-042: behind a balancer every second request would need another round trip; a tenant would take another's."""
    w = nonces
    async with node(w.ww.services.settings, w.ww.clock, w.ww.admin) as second:
        nonce = wanted(await w.send(w.proof()))
        assert (await w.send(w.proof(nonce=nonce), ww=second)).status_code == 200
        created = await w.ww.call("POST", "/tenants", {"slug": "other", "name": "Other"})
        assert created.status_code == 201, created.text
        admin = (created.json()["client_id"], created.json()["client_secret"])
        there = f"{BASE}/t/other/token"
        proof = proof_of(w.key, there, w.ww.clock.now, nonce=nonce)
        answer = await w.ww.http.post(there, data=FORM, auth=admin, headers={"dpop": proof})
        assert wanted(answer) != nonce


async def test_who_is_asked_first(w: World) -> None:
    """A stranger could make the server judge proofs, or use one up, without being anybody."""
    proof = w.proof()
    answer = await w.ww.http.post(URL, data=FORM, auth=(w.basic[0], "wrong"), headers={"dpop": proof})
    refused(answer)
    answer = await w.ww.http.post(URL, data=FORM, auth=(w.basic[0], "wrong"), headers={"dpop": "abc"})
    refused(answer)
    assert (await w.send(proof)).status_code == 200


async def test_refusals_are_added_up_by_rule(w: World) -> None:
    """An operator would see that proofs are refused, and not whether a clock, a proxy or a thief is the reason."""
    proof = w.proof()
    await w.send(proof)
    for one in (proof, w.proof(iat=1), w.proof("https://evil.example/"), "abc"):
        no(await w.send(one))
    await w.ww.services.upkeep.housekeeping.write_sums()
    events = (await w.ww.call("GET", "/audit?limit=500")).json()["items"]
    kinds = {event["what"] for event in events if event["event"] == "RequestsRefused"}
    assert {f"invalid_dpop_proof ({rule})" for rule in ("jti", "iat", "htu")} | {"invalid_dpop_proof"} <= kinds


async def test_a_disabled_application_gets_no_bound_token(w: World) -> None:
    """RAC-001 with a proof: its mark would be taken although nothing was given."""
    proof = w.proof()
    assert (await w.ww.call("PATCH", f"/applications/{w.basic[0]}", {"enabled": False})).status_code == 200
    refused(await w.send(proof))
    assert await w.marks() == []


async def test_proofs_are_not_read_on_the_app_id_surface(w: World) -> None:
    """It knows bearer tokens only: a bound one that says Bearer would be refused by whoever asked for it."""
    answer = await w.ww.http.post(f"{BASE}/oauth/v4/default/token", data=FORM, auth=w.basic, headers={"dpop": "abc"})
    assert answer.json()["token_type"] == "Bearer"
