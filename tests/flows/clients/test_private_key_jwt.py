"""private_key_jwt and client_secret_jwt, case by case (`cases/pkj.yaml`)."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import re
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from tests.support.assertions import TYPE, Caller, compose, issued, jwks, refused
from tests.support.instance import BASE, ISSUER, Instance, credentials_of, instance

from watchword.jose import Algorithm, PrivateKey
from watchword.server.storage import schema

EVIL = "https://evil.example"
ALGORITHMS = ["ES256", "PS256", "EdDSA", "RS256", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87"]


@dataclass
class World:
    """The fixtures of the catalogue."""

    ww: Instance
    api: dict[str, Any]
    pkj: Caller
    other: Caller

    async def marks(self) -> int:
        """How many proofs are used up."""
        async with self.ww.services.storage.engine.connect() as connection:
            counted = await connection.execute(sa.select(sa.func.count()).select_from(schema.replay_mark))
            return int(counted.scalar_one())


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    """c_pkj and c_pkj2, each with one ES256 key by value."""
    async with instance(tmp_path) as ww:
        api = await ww.api("https://rs1.example/", "a:read")
        yield World(ww, api, await Caller.register(ww, api, "c_pkj"), await Caller.register(ww, api, "c_pkj2"))


@pytest.mark.parametrize("aud", [ISSUER, [ISSUER]], ids=["PKJ-001 aud a text", "PKJ-001 aud the only member"])
@pytest.mark.parametrize("typ", [None, "JWT", "client-authentication+jwt"])
async def test_a_right_assertion(w: World, aud: Any, typ: str | None) -> None:
    """A client that follows RFC 7523 and its successor would be turned away, or its key missing from the audit log."""
    answer = await w.pkj.token(aud=aud, header=w.pkj.header(typ=typ))
    assert answer.status_code == 200, answer.text
    with_id = await w.pkj.send(w.pkj.assertion(), client_id=w.pkj.client_id)
    assert with_id.status_code == 200
    events = (await w.ww.call("GET", "/audit?limit=500")).json()["items"]
    mine = [e for e in events if e["event"] == "TokenIssued" and e["actor"] == w.pkj.client_id]
    assert [e["key_id"] for e in mine] == [w.pkj.key.kid] * 2
    assert all("secret_id" not in e for e in mine)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: f"PKJ-002 {a}")
async def test_each_algorithm(w: World, algorithm: str) -> None:
    """Metadata would promise an algorithm that does not work."""
    caller = await Caller.register(w.ww, w.api, algorithm, PrivateKey.generate(Algorithm(algorithm)))
    assert (await caller.token()).status_code == 200
    told = (await w.ww.http.get(f"{ISSUER}/.well-known/oauth-authorization-server")).json()
    assert algorithm in told["token_endpoint_auth_signing_alg_values_supported"]


async def test_thumbprints_of_certificates_are_let_pass(w: World) -> None:
    """Callers that keep their key in a certificate send x5t with every assertion; it decides nothing."""
    assert (await w.pkj.token(header=w.pkj.header(**{"x5t": "AAAA", "x5t#S256": "BBBB"}))).status_code == 200


CLAIMS: list[tuple[str, dict[str, Any]]] = [
    ("PKJ-003 the token endpoint", {"aud": f"{ISSUER}/token"}),
    ("PKJ-003 the token endpoint in an array", {"aud": [f"{ISSUER}/token"]}),
    ("PKJ-005 another server too", {"aud": [ISSUER, EVIL]}),
    ("PKJ-005 the token endpoint too", {"aud": [ISSUER, f"{ISSUER}/token"]}),
    ("PKJ-005 twice", {"aud": [ISSUER, ISSUER]}),
    *(
        (f"PKJ-006 {near}", {"aud": near})
        for near in (
            f"{ISSUER}/", ISSUER.replace("https:", "HTTPS:"), ISSUER.replace("https:", "http:"), ISSUER[:-1],
            f"{ISSUER}.evil", f" {ISSUER}", ISSUER.replace("/t/", "//t/"),
        )
    ),
    ("PKJ-007 a number", {"aud": [ISSUER, 5]}),
    ("PKJ-007 only a number", {"aud": 5}),
    ("PKJ-007 an object", {"aud": {ISSUER: 1}}),
    ("PKJ-007 nested", {"aud": [[ISSUER]]}),
    ("PKJ-007 empty", {"aud": []}),
    *((f"PKJ-009 no {name}", {name: None}) for name in ("aud", "iss", "exp", "jti", "sub")),
    ("PKJ-009 empty jti", {"jti": ""}),
    ("PKJ-009 jti a number", {"jti": 7}),
    ("PKJ-010 iss another", {"iss": "other"}),
    ("PKJ-015 expired", {"exp": -300}),
    ("PKJ-015 at the end of the tolerance", {"exp": -10}),
    ("PKJ-017 iat and nbf ahead", {"iat": 70, "nbf": 70, "exp": 130}),
    ("PKJ-017 iat a second too far ahead", {"iat": 11}),
    ("PKJ-017 nbf a second too far ahead", {"nbf": 11}),
    ("PKJ-018 a year", {"exp": 86_400 * 365}),
    ("PKJ-018 a second too long", {"exp": 611}),
    ("PKJ-019 backdated", {"iat": -86_400, "exp": 60}),
    ("PKJ-009 exp a text", {"exp": "soon"}),
    ("PKJ-009 exp true", {"exp": True}),
    ("PKJ-018 exp beyond every calendar", {"exp": 10**300}),
]  # fmt: skip


@pytest.mark.parametrize("changed", [pytest.param(c, id=i) for i, c in CLAIMS])
async def test_claims_that_say_no(w: World, changed: dict[str, Any]) -> None:
    """An assertion for another server, of another time or without an end would open the door."""
    timed = {
        name: value + w.ww.clock.now if name in ("exp", "iat", "nbf") and type(value) is int else value
        for name, value in changed.items()
    }
    refused(await w.pkj.token(**timed))
    assert await issued(w.ww) == 0
    assert await w.marks() == 0
    assert (await w.pkj.token()).status_code == 200


async def test_an_issuer_with_a_name(tmp_path: Path) -> None:
    """PKJ-006: two spellings of one URL are two issuers; whoever normalises one of them accepts another server's."""
    async with instance(tmp_path, public_url="https://id.example") as ww:
        api = await ww.api("https://rs1.example/", "a:read")
        pkj, right = await Caller.register(ww, api, "c_pkj"), "https://id.example/t/default"
        for near in (
            "https://ID.EXAMPLE/t/default", "https://id.example:443/t/default", "http://id.example/t/default",
            f"{right}/", right[:-1], f"{right}.evil", "https://id.example/t/%64efault", "https://id.example./t/default",
        ):  # fmt: skip
            refused(await pkj.token(aud=near))
        assert (await pkj.token(aud=right)).status_code == 200


async def test_no_header_makes_us_ask_anybody(tmp_path: Path) -> None:
    """PKJ-032: a stranger could make us fetch what he likes, from inside our network."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return []

    async with instance(tmp_path, world_of={"resolve": resolve}) as ww:
        pkj = await Caller.register(ww, await ww.api("https://rs1.example/", "a:read"), "c_pkj")
        for changed in ({"jku": f"{EVIL}/jwks"}, {"x5u": f"{EVIL}/cert"}):
            for kid in (pkj.key.kid, "another", None):
                refused(await pkj.token(header=pkj.header(kid=kid, **changed)))
        assert asked == []
        wanted = {"name": "x", "auth_method": "private_key_jwt", "jwks_uri": f"{EVIL}/jwks"}
        await ww.call("POST", "/applications", wanted)
        assert asked == ["evil.example"]  # the recorder records


EDGES: list[tuple[str, dict[str, float]]] = [
    ("the last moment", {"exp": -9}),
    ("iat as far ahead as clocks differ", {"iat": 10, "nbf": 10}),
    ("as long as it may live", {"exp": 610}),
]


@pytest.mark.parametrize("changed", [pytest.param(c, id=f"PKJ {i}") for i, c in EDGES])
async def test_clocks_may_differ_a_little(w: World, changed: dict[str, float]) -> None:
    """Ten seconds in both directions: without them a good client fails by its clock alone."""
    timed = {name: value + w.ww.clock.now for name, value in changed.items()}
    assert (await w.pkj.token(**timed)).status_code == 200


async def test_the_audience_rule_is_named_to_the_operator(w: World) -> None:
    """PKJ-003: the most frequent mistake; whoever operates must see that it was this and not the key."""
    refused(await w.pkj.token(aud=f"{ISSUER}/token"))
    await w.ww.services.upkeep.housekeeping.write_sums()
    events = (await w.ww.call("GET", "/audit?limit=500")).json()["items"]
    sums = [e for e in events if e["event"] == "RequestsRefused"]
    assert [(e["what"], e["count"]) for e in sums] == [("invalid_client (aud)", 1)]


async def test_another_application(w: World) -> None:
    """PKJ-011: one application's key would speak for another."""
    theirs = w.other.client_id
    refused(await w.pkj.token(iss=theirs, sub=theirs))
    refused(await w.pkj.token(iss=theirs, sub=theirs, header=w.pkj.header(kid=w.other.key.kid)))
    refused(await w.pkj.token(sub=theirs))
    nobody = str(uuid.uuid4())
    refused(await w.pkj.token(iss=nobody, sub=nobody))


async def test_a_client_id_beside_the_assertion(w: World) -> None:
    """PKJ-012: whoever reads the parameter and whoever reads the assertion would see two applications."""
    right = w.pkj.assertion()
    for other in (w.other.client_id, str(uuid.uuid4()), w.pkj.client_id.upper()):
        refused(await w.pkj.send(right, client_id=other))
    assert await issued(w.ww) == 0
    assert await w.marks() == 0
    assert (await w.pkj.send(right, client_id=w.pkj.client_id)).status_code == 200


FORMS: list[tuple[str, dict[str, str]]] = [
    ("PKJ-014 type only", {"client_assertion_type": TYPE}),
    ("PKJ-014 empty assertion", {"client_assertion_type": TYPE, "client_assertion": ""}),
    ("PKJ-014 no type", {"client_assertion": "RIGHT"}),
    ("PKJ-014 another type", {"client_assertion": "RIGHT", "client_assertion_type": TYPE.replace("jwt", "saml2")}),
]


@pytest.mark.parametrize("form", [pytest.param(f, id=i) for i, f in FORMS])
async def test_half_an_assertion(w: World, form: dict[str, str]) -> None:
    """A check that trusts the presence of one parameter would let the other be missing."""
    right = w.pkj.assertion()
    fields = {name: right if value == "RIGHT" else value for name, value in form.items()}
    refused(await w.ww.http.post(f"{ISSUER}/token", data={"grant_type": "client_credentials", **fields}))


async def test_two_methods_burn_nothing(w: World) -> None:
    """CAU-023: a request that is refused for its form must not use up the proof in it."""
    right = w.pkj.assertion()
    data = {"grant_type": "client_credentials", "client_assertion": right, "client_assertion_type": TYPE}
    answer = await w.ww.http.post(f"{ISSUER}/token", data=data, auth=(w.pkj.client_id, "x"))
    refused(answer, "invalid_request", 400)
    assert (await w.pkj.send(right)).status_code == 200


async def test_one_method_for_each_application(w: World) -> None:
    """One authentication method per application: a secret would work for a private_key_jwt application, or a key for one of secrets."""
    data = {"grant_type": "client_credentials", "client_id": w.pkj.client_id, "client_secret": "x"}
    refused(await w.ww.http.post(f"{ISSUER}/token", data=data))
    basic = await w.ww.application("c_basic", w.api, "a:read")
    mine = Caller(w.ww, basic["client_id"], w.pkj.key)
    refused(await mine.token())
    hmac_by_secret = compose(
        {"alg": "HS256"}, json.dumps(mine.claims()).encode(), hs256(basic["client_secret"].encode())
    )
    refused(await mine.send(hmac_by_secret))
    rotated = await w.ww.call("POST", f"/applications/{w.pkj.client_id}/secrets", {"overlap": 0})
    assert rotated.status_code == 409


def hs256(key: bytes) -> Callable[[bytes], bytes]:
    """HMAC-SHA-256."""
    return lambda data: hmac.digest(key, data, hashlib.sha256)


async def test_unsigned(w: World) -> None:
    """PKJ-028: the oldest hole of all."""
    for alg in ("none", "None", "NONE", ""):
        refused(await w.pkj.token(header={"alg": alg}, sign=lambda _: b"x"))
        refused(await w.pkj.send(w.pkj.assertion(header={"alg": alg}).rpartition(".")[0] + "."))


async def test_hmac_by_the_public_key(w: World) -> None:
    """PKJ-029: whoever knows a public key could sign (CVE-2022-29217, CVE-2024-33663, CVE-2026-48526)."""
    caller = await Caller.register(w.ww, w.api, "rsa", PrivateKey.generate(Algorithm.RS256))
    jwk = caller.key.public.to_jwk()
    pem = caller.key.public.to_pem()
    texts = (pem, pem.strip(), json.dumps(jwk), json.dumps({"keys": [jwk]}), jwk["n"])
    der = base64.b64decode("".join(pem.split("\n")[1:-2]))
    for key in (*(text.encode() for text in texts), der, der[24:], base64.urlsafe_b64decode(jwk["n"] + "==")):
        for header in ({"alg": "HS256"}, {"alg": "HS256", "kid": jwk["kid"]}):
            refused(await caller.token(header=header, sign=hs256(key)))
    assert (await caller.token()).status_code == 200


async def test_one_key_one_algorithm(w: World) -> None:
    """PKJ-030: an RSA key for PS256 would verify the older RS256, too."""
    es, ps = PrivateKey.generate(Algorithm.ES256), PrivateKey.generate(Algorithm.PS256)
    caller = await Caller.register(w.ww, w.api, "two", ps, es)
    downgraded = PrivateKey.from_pkcs8(ps.to_pkcs8(), Algorithm.RS256, ps.kid)
    for kid in (ps.kid, None):
        refused(await caller.token(header=caller.header(alg="RS256", kid=kid), sign=downgraded.sign))
    assert (await caller.token()).status_code == 200


HEADERS: list[tuple[str, dict[str, Any]]] = [
    ("PKJ-032 jku", {"jku": f"{EVIL}/jwks"}),
    ("PKJ-032 x5u", {"x5u": f"{EVIL}/cert"}),
    ("PKJ-032 x5c", {"x5c": ["AAAA"]}),
    ("PKJ-033 crit", {"crit": ["x"], "x": 1}),
    ("PKJ-033 crit b64", {"crit": ["b64"], "b64": False}),
    ("PKJ-036 an access token's typ", {"typ": "at+jwt"}),
    ("PKJ-036 a proof's typ", {"typ": "dpop+jwt"}),
    ("PKJ-036 a logout token's typ", {"typ": "application/logout+jwt"}),
    ("PKJ-036 no text", {"typ": 5}),
    ("PKJ kid a number", {"kid": 5}),
    ("PKJ kid unknown", {"kid": "nobody's"}),
    ("PKJ alg missing", {"alg": None}),
]


@pytest.mark.parametrize("changed", [pytest.param(c, id=i) for i, c in HEADERS])
async def test_headers_that_are_refused(w: World, changed: dict[str, Any]) -> None:
    """A header would bring its own key, or a JWT of another kind would pass for an assertion."""
    refused(await w.pkj.token(header=w.pkj.header(**changed)))
    assert await w.marks() == 0


async def test_the_header_brings_no_key(w: World) -> None:
    """PKJ-032: signed by the attacker's key, which stands in the header (CVE-2026-27962)."""
    mallory = PrivateKey.generate(Algorithm.ES256)
    for kid in (mallory.kid, w.pkj.key.kid, None):
        header = w.pkj.header(kid=kid, jwk=mallory.public.to_jwk())
        refused(await w.pkj.token(header=header, sign=mallory.sign))
        refused(await w.pkj.token(header=w.pkj.header(kid=kid), sign=mallory.sign))


async def test_our_own_access_tokens_are_no_assertions(w: World) -> None:
    """PKJ-037: an application that lists the issuer's own keys would be proven by any token that we issue."""
    view = await w.ww.services.view.tenant("default")
    assert view is not None
    ours = view.signing["ES256"]
    api = await w.ww.api("urn:jwt", "a:read", type="JWT")
    made = await w.ww.application("confused", api, "a:read", auth_method="private_key_jwt", jwks=jwks(ours))
    basic = await w.ww.application("c_basic", api, "a:read")
    token = (await w.ww.token(credentials_of(basic))).json()["access_token"]
    confused = Caller(w.ww, made["client_id"], ours)
    refused(await confused.send(token))
    for typ in ("at+jwt", "JWT"):
        claims = {**confused.claims(), "iss": ISSUER}
        refused(await confused.send(compose(confused.header(typ=typ), json.dumps(claims).encode(), ours.sign)))


async def test_no_kid_with_several_keys(w: World) -> None:
    """PKJ-039: a client whose library sends no kid would fail as soon as it rotates."""
    keys = [PrivateKey.generate(Algorithm.ES256) for _ in range(3)]
    caller = await Caller.register(w.ww, w.api, "three", *keys)
    for key in keys:
        assert (await caller.token(header={"alg": "ES256"}, sign=key.sign)).status_code == 200
    refused(await caller.token(header={"alg": "ES256"}, sign=w.pkj.key.sign))


SHAPES: list[tuple[str, Callable[[World], str]]] = [
    ("PKJ-043 too long", lambda w: w.pkj.assertion(jti="x" * 16_384)),
    ("PKJ-044 dots", lambda w: "." * 60_000),
    (
        "PKJ-045 five parts",
        lambda w: compose({"alg": "dir", "enc": "A128GCM", "zip": "DEF"}, b"{}", bytes) + ".AAAA.AAAA",
    ),
    ("PKJ-045 p2c", lambda w: compose({"alg": "PBES2-HS256+A128KW", "p2c": 2**31}, b"{}", bytes) + ".AAAA.AAAA"),
    ("PKJ-048 sub twice", lambda w: w.pkj.assertion(payload=twice(w, "sub"))),
    ("PKJ-048 jti twice", lambda w: w.pkj.assertion(payload=twice(w, "jti"))),
    *(
        (f"PKJ-049 header {header!r}", lambda w, header=header: w.pkj.assertion(header=header))  # type: ignore[misc]
        for header in ([], "x", 1, False)
    ),
    ("PKJ-049 header null", lambda w: compose(None, json.dumps(w.pkj.claims()).encode(), w.pkj.key.sign)),
    ("PKJ-049 payload null", lambda w: w.pkj.assertion(payload=b"null")),
    ("PKJ-049 payload deep", lambda w: w.pkj.assertion(payload=b'{"a":' + b"[" * 5_000 + b"]" * 5_000 + b"}")),
    ("PKJ padding", lambda w: w.pkj.assertion() + "="),
    ("PKJ a space", lambda w: w.pkj.assertion() + " "),
    ("PKJ another signature", lambda w: w.pkj.assertion().rpartition(".")[0] + "." + "A" * 86),
]


def twice(w: World, name: str) -> bytes:
    """A payload in which a member stands twice."""
    return f'{{"{name}":"a",'.encode() + json.dumps(w.pkj.claims()).encode()[1:]


@pytest.mark.parametrize("make", [pytest.param(m, id=i) for i, m in SHAPES])
async def test_what_is_no_assertion(w: World, make: Callable[[World], str]) -> None:
    """A parser that reads more than compact JWS reads an attacker's, or falls over it."""
    refused(await w.pkj.send(make(w)))
    assert await w.marks() == 0
    assert (await w.pkj.token()).status_code == 200


async def test_keys_are_changed_without_a_gap(w: World) -> None:
    """PKJ-051: rotation would cut a client off, or a removed key would go on working."""
    old, new = w.pkj.key, PrivateKey.generate(Algorithm.ES256)
    path = f"/applications/{w.pkj.client_id}/keys"
    refused(await w.pkj.token(header=w.pkj.header(kid=new.kid), sign=new.sign))
    added = await w.ww.call("POST", path, {"jwk": new.public.to_jwk()})
    assert added.status_code == 201, added.text
    assert [key["kid"] for key in added.json()["jwks"]["keys"]] == [old.kid, new.kid]
    assert (await w.ww.call("POST", path, {"jwk": new.public.to_jwk()})).status_code == 409
    assert (await w.pkj.token()).status_code == 200
    assert (await w.pkj.token(header=w.pkj.header(kid=new.kid), sign=new.sign)).status_code == 200
    assert (await w.ww.call("DELETE", f"{path}/{old.kid}")).status_code == 204
    refused(await w.pkj.token())
    assert (await w.pkj.token(header=w.pkj.header(kid=new.kid), sign=new.sign)).status_code == 200
    assert (await w.ww.call("DELETE", f"{path}/{old.kid}")).status_code == 404
    assert (await w.ww.call("DELETE", f"{path}/{new.kid}")).status_code == 409
    events = (await w.ww.call("GET", "/audit?limit=500")).json()["items"]
    kinds = [e["event"] for e in events if e["event"].startswith("ClientKey") and e["client_id"] == w.pkj.client_id]
    assert kinds == ["ClientKeyRemoved", "ClientKeyAdded", "ClientKeyAdded"]


async def test_a_private_key_is_not_taken(w: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """PKJ-056: it would stand in a database, a backup and a log, and everybody could sign with it."""
    mallory = {**w.pkj.key.public.to_jwk(), "kid": "leaked", "d": "c2VjcmV0IGNhbmFyeSB2YWx1ZQ"}
    new = {"name": "x", "auth_method": "private_key_jwt", "jwks": {"keys": [mallory]}}
    for method, path, body in (
        ("POST", "/applications", new),
        ("PATCH", f"/applications/{w.pkj.client_id}", {"jwks": {"keys": [mallory]}}),
        ("POST", f"/applications/{w.pkj.client_id}/keys", {"jwk": mallory}),
    ):
        answer = await w.ww.call(method, path, body)
        assert answer.status_code == 400
        assert answer.json()["field"] == "jwks"
        assert mallory["d"] not in answer.text
    spoken = capsys.readouterr()
    assert mallory["d"] not in spoken.out + spoken.err
    assert all(mallory["d"].encode() not in path.read_bytes() for path in tmp_path.glob("watchword.db*"))


REGISTRATIONS: list[tuple[str, dict[str, Any], str]] = [
    ("no keys", {}, "jwks"),
    ("an empty set", {"jwks": {"keys": []}}, "jwks"),
    ("no set", {"jwks": {"kty": "EC"}}, "jwks"),
    ("keys are no list", {"jwks": {"keys": "abc"}}, "jwks"),
    ("a key is a text", {"jwks": {"keys": ["abc"]}}, "jwks"),
    ("an HMAC key", {"jwks": {"keys": [{"kty": "oct", "k": "A" * 43, "alg": "HS256"}]}}, "jwks"),
    (
        "an encryption key",
        {"jwks": {"keys": [{"kty": "EC", "crv": "P-256", "use": "enc", "x": "A", "y": "A"}]}},
        "jwks",
    ),
    ("both", {"jwks": {"keys": []}, "jwks_uri": "https://8.8.8.8/jwks"}, "jwks"),
    ("a secret", {"secret": "x" * 40, "client_id": "x"}, "jwks"),
    ("keys for a secret's application", {"auth_method": "client_secret_basic", "jwks": "MINE"}, "jwks"),
]


@pytest.mark.parametrize(("body", "field"), [pytest.param(b, f, id=i) for i, b, f in REGISTRATIONS])
async def test_registrations_that_are_refused(w: World, body: dict[str, Any], field: str) -> None:
    """An application would exist that nothing can prove, or that more than one way proves."""
    mine = {name: jwks(w.pkj.key) if value == "MINE" else value for name, value in body.items()}
    answer = await w.ww.call("POST", "/applications", {"name": "x", "auth_method": "private_key_jwt", **mine})
    assert answer.status_code == 400, answer.text
    assert answer.json()["field"] in (field, "secret")


async def test_a_method_is_changed_with_its_credentials(w: World) -> None:
    """A secret would live on behind a key, or a key behind a secret."""
    basic = await w.ww.application("moves", w.api, "a:read")
    path = f"/applications/{basic['client_id']}"
    key = PrivateKey.generate(Algorithm.ES256)
    assert (await w.ww.call("PATCH", path, {"auth_method": "private_key_jwt"})).status_code == 400
    moved = await w.ww.call("PATCH", path, {"auth_method": "private_key_jwt", "jwks": jwks(key)})
    assert moved.status_code == 200, moved.text
    assert moved.json()["secrets"] == []
    refused(await w.ww.token(credentials_of(basic)))
    assert (await Caller(w.ww, basic["client_id"], key).token()).status_code == 200
    back = await w.ww.call("PATCH", path, {"auth_method": "client_secret_basic"})
    assert (back.status_code, back.json()["jwks"], back.json()["secrets"]) == (200, None, [])
    refused(await Caller(w.ww, basic["client_id"], key).token())
    refused(await w.ww.token(credentials_of(basic)))
    fresh = (await w.ww.call("POST", f"{path}/secrets", {})).json()["client_secret"]
    assert (await w.ww.token((basic["client_id"], fresh))).status_code == 200


async def test_it_works_at_introspection_and_revocation(w: World) -> None:
    """An assertion would open /token only, or be good at each endpoint once more."""
    token = (await w.pkj.token()).json()["access_token"]
    assert (
        await w.ww.call("PATCH", f"/apis/{w.api['api_id']}", {"introspectors": [w.other.client_id]})
    ).status_code == 200
    asking = w.other.assertion()
    told = await w.other.send(asking, "introspect", token=token)
    assert (told.status_code, told.json()["active"]) == (200, True)
    for endpoint in ("introspect", "token", "revoke"):
        refused(await w.other.send(asking, endpoint, token=token))
    refused(await w.other.send(w.other.assertion(aud=f"{ISSUER}/introspect"), "introspect", token=token))
    ending = w.pkj.assertion()
    assert (await w.pkj.send(ending, "revoke", token=token)).status_code == 200
    refused(await w.pkj.send(ending, "revoke", token=token))
    again = await w.other.send(w.other.assertion(), "introspect", token=token)
    assert again.json() == {"active": False}


async def test_a_secret_that_signs(w: World, tmp_path: Path) -> None:
    """PKJ-057: the method that metadata offers would not work, or a stolen database would sign in its place."""
    made = await w.ww.application("c_csj", w.api, "a:read", auth_method="client_secret_jwt")
    caller = Caller(w.ww, made["client_id"], w.pkj.key)
    secret = made["client_secret"].encode()

    async def sign(by: bytes, **changed: Any) -> Any:
        return await caller.send(compose({"alg": "HS256"}, json.dumps(caller.claims(**changed)).encode(), hs256(by)))

    assert (await sign(secret)).status_code == 200
    refused(await sign(secret[:-1]))
    refused(await sign(b""))
    refused(await sign(secret, aud=f"{ISSUER}/token"))
    refused(await caller.token())
    refused(await w.ww.token(credentials_of(made)))
    assert all(secret not in path.read_bytes() for path in tmp_path.glob("watchword.db*"))
    rotated = await w.ww.call("POST", f"/applications/{made['client_id']}/secrets", {"overlap": 60})
    assert (await sign(rotated.json()["client_secret"].encode())).status_code == 200
    assert (await sign(secret)).status_code == 200
    w.ww.clock.now += 60
    refused(await sign(secret))
    for short in ({"secret": "x" * 31}, {"secret_hash": "bcrypt:$2b$04$" + "a" * 53}):
        body = {"name": "x", "client_id": "short", "auth_method": "client_secret_jwt", **short}
        answer = await w.ww.call("POST", "/applications", body)
        assert answer.status_code == 400, answer.text
    body = {"name": "x", "client_id": "long", "auth_method": "client_secret_jwt", "secret": "y" * 32}
    assert (await w.ww.call("POST", "/applications", body)).status_code == 201


async def test_nothing_of_an_assertion_is_kept(w: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """N3: whoever reads logs or a backup could send what stands there, or learn what nobody should."""
    good, bad = w.pkj.assertion(jti="canary-jti"), w.pkj.assertion(aud="https://canary.example")
    assert (await w.pkj.send(good)).status_code == 200
    refused(await w.pkj.send(good))
    refused(await w.pkj.send(bad))
    spoken = capsys.readouterr()
    written = b"".join(path.read_bytes() for path in tmp_path.glob("watchword.db*"))
    for needle in (good, bad, *good.split(".")[1:], *bad.split(".")[1:], "canary-jti"):
        assert needle not in spoken.out + spoken.err
        assert needle.encode() not in written


async def test_unknown_and_wrong_look_alike(w: World) -> None:
    """CAU-005 PKJ-011: the answers would tell which applications exist."""
    wrong = await w.pkj.token(sign=w.other.key.sign)
    nobody = str(uuid.uuid4())
    answers = [
        wrong,
        await w.pkj.token(iss=nobody, sub=nobody),
        await w.pkj.token(header=w.pkj.header(kid="unknown")),
        await w.pkj.token(iss=nobody, sub=nobody, header=w.pkj.header(kid="unknown")),
    ]
    assert len({answer.headers.pop("x-request-id") for answer in answers}) == len(answers)
    for answer in answers:
        assert (answer.status_code, answer.content, dict(answer.headers)) == (
            wrong.status_code,
            wrong.content,
            dict(wrong.headers),
        )


async def test_the_schema_tells_of_keys(w: World) -> None:
    """A caller of the admin API would not find how keys are registered."""
    told = (await w.ww.http.get(f"{BASE}/api/v1/openapi.json")).json()
    assert {"jwks", "jwks_uri"} <= told["components"]["schemas"]["NewApplication"]["properties"].keys()
    assert "post" in told["paths"]["/api/v1/applications/{client_id}/keys"]


async def test_the_documentation_leads_there(w: World, tmp_path: Path) -> None:
    """Whoever copies the two snippets of the documentation would be refused by what it describes."""
    text = (Path(__file__).parents[3] / "docs" / "keys-instead-of-secrets.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    names: dict[str, Any] = {}
    key = PrivateKey.generate(Algorithm.ES256)
    (tmp_path / "payroll.pem").write_bytes(key.to_pem())
    with contextlib.chdir(tmp_path):
        for block in blocks:
            exec(compile(block, "keys-instead-of-secrets.md", "exec"), names)
    made = await w.ww.application("payroll", w.api, "a:read", auth_method="private_key_jwt", jwks=jwks(key))
    names["time"] = SimpleNamespace(time=w.ww.clock)
    caller = Caller(w.ww, made["client_id"], names["key"])
    assert (await caller.send(names["assertion"](names["key"], ISSUER, made["client_id"]))).status_code == 200
