"""Answers that can be shown afterwards: signed introspection (RFC 9701) and signed metadata (RFC 8414 section 2.1)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.instance import BASE, ISSUER, Instance, credentials_of, instance

from watchword.jose import ACCESS_TOKEN_ALGORITHMS, Algorithm, KeySet, PrivateKey, Signer, verify_signature
from watchword.resource import (
    Fetch,
    Introspection,
    IntrospectionUnavailable,
    Issuer,
    KeysUnavailable,
    TokenInvalid,
    Verifier,
)

RS1, RS2 = "https://rs1.example/", "https://rs2.example/"
SIGNED = "application/token-introspection+jwt"
TYP = {"token-introspection+jwt"}
INACTIVE = {"active": False}


@dataclass
class Airline:
    """Two APIs, a guard at the first one, and an application that calls both."""

    ww: Instance
    api1: dict[str, Any]
    guard: tuple[str, str]
    caller: tuple[str, str]

    async def token(self, resource: str = RS1) -> str:
        answer = await self.ww.token(self.caller, resource=resource)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    async def ask(self, token: str, accept: str = SIGNED, who: tuple[str, str] | None = None) -> httpx.Response:
        headers = {"accept": accept}
        return await self.ww.http.post(
            f"{ISSUER}/introspect", data={"token": token}, auth=who or self.guard, headers=headers
        )

    async def keys(self) -> KeySet:
        return KeySet.parse((await self.ww.http.get(f"{ISSUER}/jwks")).content)

    async def signing(self, algorithm: str) -> PrivateKey:
        """The key that the issuer signs with at present."""
        tenant = await self.ww.services.view.tenant("default")
        assert tenant is not None
        return tenant.signing[algorithm]

    async def read(self, answer: httpx.Response, algorithm: str = "RS256") -> dict[str, Any]:
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == SIGNED
        assert answer.headers["cache-control"] == "no-store"
        return verify_signature(answer.text, await self.keys(), algorithms={Algorithm(algorithm)}, typ=TYP).claims

    async def insist(self) -> None:
        path = f"/apis/{self.api1['api_id']}"
        assert (await self.ww.call("PATCH", path, {"signed_introspection": True})).status_code == 200

    def verifier(self, clock: Any = None, transport: Any = None, **introspection: Any) -> Verifier:
        asked = Introspection(*self.guard, every_token=True, remember=0, signed=True, **introspection)
        return Verifier(
            Issuer(ISSUER, introspection=asked),
            audience=RS1,
            now=clock or self.ww.clock,
            fetch=Fetch(transport=transport or self.ww.door),
        )


@pytest.fixture
async def airline(tmp_path: Path) -> AsyncIterator[Airline]:
    """A running instance."""
    async with instance(tmp_path) as ww:
        api1, api2 = await ww.api(RS1, "a:read"), await ww.api(RS2, "b:read")
        guard = await ww.application("guard", api1)
        change = {"introspectors": [guard["client_id"]]}
        assert (await ww.call("PATCH", f"/apis/{api1['api_id']}", change)).status_code == 200
        grants = [{"api_id": api1["api_id"], "scopes": ["a:read"]}, {"api_id": api2["api_id"], "scopes": ["b:read"]}]
        caller = await ww.call("POST", "/applications", {"name": "caller", "grants": grants})
        yield Airline(ww, api1, credentials_of(guard), credentials_of(caller.json()))


# -- signed introspection ------------------------------------------------------------------------


async def test_an_answer_is_signed_for_whoever_asks(airline: Airline) -> None:
    """An API could not show afterwards what the issuer had told it, nor notice that somebody else had answered."""
    token = await airline.token()
    claims = await airline.read(await airline.ask(token))
    assert set(claims) == {"iss", "aud", "iat", "token_introspection"}
    assert (claims["iss"], claims["aud"], claims["iat"]) == (ISSUER, airline.guard[0], int(airline.ww.clock()))
    assert claims["token_introspection"] == (await airline.ask(token, "application/json")).json()
    assert claims["token_introspection"]["active"] is True


@pytest.mark.parametrize("token", ["not a token", "another API's", "revoked"])
async def test_an_inactive_token_says_nothing_more_when_it_is_signed(airline: Airline, token: str) -> None:
    """INT-005 signed: the signed form would tell outsiders what the plain one keeps to itself (CVE-2026-18208)."""
    shown = {"not a token": "x", "another API's": await airline.token(RS2), "revoked": await airline.token()}[token]
    if token == "revoked":
        await airline.ww.http.post(f"{ISSUER}/revoke", data={"token": shown}, auth=airline.caller)
    claims = await airline.read(await airline.ask(shown))
    assert claims["token_introspection"] == INACTIVE


@pytest.mark.parametrize(
    ("accept", "signed"),
    [
        (SIGNED, True),
        ("Application/Token-Introspection+JWT", True),
        (f"application/json;q=0.5, {SIGNED}; q=0.9", True),
        ("*/*", False),
        ("application/*", False),
        ("application/json", False),
        (f"{SIGNED}; q=0, */*", False),
        (f"{SIGNED}x", False),
    ],
)
async def test_only_who_names_the_type_gets_it(airline: Airline, accept: str, signed: bool) -> None:
    """Every caller that sends `*/*`, as most libraries do, would be answered with what it cannot read."""
    answer = await airline.ask(await airline.token(), accept)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == (SIGNED if signed else "application/json")


@pytest.mark.parametrize("accept", ["*/*", "application/json", f"{SIGNED};q=0"])
async def test_an_api_that_insists_is_never_answered_in_plain(airline: Airline, accept: str) -> None:
    """Whoever can change a header on the way would take the signature off."""
    await airline.insist()
    good = await airline.read(await airline.ask(await airline.token(), accept))
    bad = await airline.read(await airline.ask("x", accept))
    assert good["token_introspection"]["active"] is True
    assert bad["token_introspection"] == INACTIVE
    others = await airline.ask(await airline.token(), accept, airline.ww.admin)
    assert others.json() == INACTIVE


async def test_a_caller_chooses_what_signs(airline: Airline) -> None:
    """A caller that knows one algorithm only could read no answer (RFC 9701 section 6)."""
    path = f"/applications/{airline.guard[0]}"
    refused = await airline.ww.call("PATCH", path, {"introspection_signed_response_alg": "EdDSA"})
    assert refused.status_code == 400 and "introspection_signed_response_alg" in refused.text
    await airline.ww.api("https://ed.example/", "x", algorithm="EdDSA")
    for algorithm in ("EdDSA", "ES256"):
        changed = await airline.ww.call("PATCH", path, {"introspection_signed_response_alg": algorithm})
        assert changed.status_code == 200 and changed.json()["introspection_signed_response_alg"] == algorithm
        await airline.read(await airline.ask(await airline.token()), algorithm)
    unknown = await airline.ww.call("PATCH", path, {"introspection_signed_response_alg": "none"})
    assert unknown.status_code == 400


async def test_a_refusal_stays_json(airline: Airline) -> None:
    """RFC 9701 section 5 signs answers; an error that nobody can read would hide its reason."""
    wrong = await airline.ask("x", SIGNED, (airline.guard[0], "wrong"))
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")


async def test_a_signed_answer_is_no_token(airline: Airline) -> None:
    """The issuer signs both with one key: an answer could open an API that takes `typ: JWT`."""
    text = (await airline.ask(await airline.token())).text
    assert (await airline.ask(text, "application/json")).json() == INACTIVE
    with pytest.raises(TokenInvalid):
        await Verifier(
            Issuer(ISSUER, typ={"JWT"}), audience=airline.guard[0], fetch=Fetch(transport=airline.ww.door)
        ).averify(text)


async def test_the_library_insists_on_a_signature(airline: Airline) -> None:
    """The signature would be there, and nobody would look at it."""
    verifier, token = airline.verifier(), await airline.token()
    assert (await verifier.averify(token, "a:read")).client_id == airline.caller[0]
    await airline.ww.http.post(f"{ISSUER}/revoke", data={"token": token}, auth=airline.caller)
    with pytest.raises(TokenInvalid, match="not active"):
        await verifier.averify(token)


class Between(httpx.AsyncBaseTransport):
    """Somebody on the way, who answers introspection in the issuer's place."""

    def __init__(self, inner: httpx.AsyncBaseTransport, content_type: str, body: bytes) -> None:
        self.inner, self.content_type, self.body = inner, content_type, body

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/introspect"):
            return httpx.Response(200, headers={"content-type": self.content_type}, content=self.body)
        return await self.inner.handle_async_request(request)


@pytest.mark.parametrize(
    "forged", ["plain JSON", "another key", "another issuer", "another client", "old", "in front", "no answer", "token"]
)
async def test_the_library_refuses_what_the_issuer_did_not_sign_for_it_now(airline: Airline, forged: str) -> None:
    """A false or an old yes would let a revoked token in; it is 503, for nothing is known about the token."""
    ww = airline.ww
    token = await airline.token()
    key = PrivateKey.generate(Algorithm.ES256) if forged == "another key" else await airline.signing("ES256")
    now, answered = int(ww.clock()), {"active": True, "aud": RS1, "exp": int(ww.clock()) + 60, "client_id": "x"}
    claims: dict[str, Any] = {"iss": ISSUER, "aud": airline.guard[0], "iat": now, "token_introspection": answered}
    claims |= {
        "another issuer": {"iss": "https://other.example"},
        "another client": {"aud": "somebody else"},
        "old": {"iat": now - 61},
        "in front": {"iat": now + 61},
        "no answer": {"token_introspection": "yes"},
    }.get(forged, {})
    typ = "at+jwt" if forged == "token" else "token-introspection+jwt"
    text = Signer(key, typ=typ).sign(json.dumps(claims).encode()).encode()
    content, body = ("application/json", json.dumps(answered).encode()) if forged == "plain JSON" else (SIGNED, text)
    inner = ww.door
    assert isinstance(inner, httpx.AsyncBaseTransport)
    with pytest.raises(IntrospectionUnavailable):
        await airline.verifier(transport=Between(inner, content, body)).averify(token)


async def test_the_library_takes_what_the_issuer_signed_after_a_rotation(airline: Airline) -> None:
    """The first signed answer by a new key would be an outage until the key set is due again."""
    verifier = airline.verifier()
    await verifier.averify(await airline.token())
    kid = (await airline.signing("RS256")).kid
    assert (await airline.ww.call("DELETE", f"/keys/{kid}")).status_code == 204
    airline.ww.clock.now += 31
    assert (await verifier.averify(await airline.token())).client_id == airline.caller[0]


# -- signed metadata -----------------------------------------------------------------------------

METADATA = f"{BASE}/.well-known/oauth-authorization-server/t/default"


async def test_the_metadata_is_signed_whole(airline: Airline) -> None:
    """Whoever keeps the issuer's keys could not tell that its addresses were changed on the way."""
    told = (await airline.ww.http.get(METADATA)).json()
    jwt = told.pop("signed_metadata")
    claims = verify_signature(jwt, await airline.keys(), algorithms={Algorithm.ES256}, typ=None).claims
    assert claims.pop("iss") == ISSUER
    assert claims == told
    assert set(told["introspection_signing_alg_values_supported"]) == {"ES256", "RS256"}


async def test_the_signature_lasts_until_a_key_or_the_document_changes(airline: Airline) -> None:
    """Each poll would cost a signature and a body, or a withdrawn key's signature would stay."""
    first = await airline.ww.http.get(METADATA)
    again = await airline.ww.http.get(METADATA)
    assert first.content == again.content
    same = await airline.ww.http.get(METADATA, headers={"if-none-match": first.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    kid = (await airline.signing("ES256")).kid
    await airline.ww.call("DELETE", f"/keys/{kid}")
    changed = await airline.ww.http.get(METADATA, headers={"if-none-match": first.headers["etag"]})
    assert changed.status_code == 200
    jwt = changed.json()["signed_metadata"]
    verify_signature(jwt, await airline.keys(), algorithms=ACCESS_TOKEN_ALGORITHMS, typ=None)


async def test_signed_metadata_is_no_token(airline: Airline) -> None:
    """Anybody can fetch it: it must open nothing."""
    jwt = (await airline.ww.http.get(METADATA)).json()["signed_metadata"]
    headers = {"authorization": f"Bearer {jwt}"}
    assert (await airline.ww.http.get(f"{BASE}/api/v1/apis", headers=headers)).status_code == 401
    assert (await airline.ask(jwt, "application/json")).json() == INACTIVE


class Rewritten(httpx.AsyncBaseTransport):
    """Somebody on the way, who sends APIs elsewhere for their keys."""

    def __init__(self, inner: httpx.AsyncBaseTransport, change: Any) -> None:
        self.inner, self.change = inner, change

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self.inner.handle_async_request(request)
        if "well-known" not in request.url.path:
            return answer
        return httpx.Response(200, json=self.change(json.loads(await answer.aread())))


async def test_the_library_goes_by_signed_metadata_alone(airline: Airline) -> None:
    """With keys that it trusts, an API must not be led to other keys by whoever answers for the issuer."""
    inner, token, keys = airline.ww.door, await airline.token(), await airline.keys()
    assert isinstance(inner, httpx.AsyncBaseTransport)

    def verifier(change: Any, trusted: KeySet = keys) -> Verifier:
        issuer = Issuer(ISSUER, metadata_keys=trusted)
        return Verifier(issuer, audience=RS1, now=airline.ww.clock, fetch=Fetch(transport=Rewritten(inner, change)))

    moved = verifier(lambda told: {**told, "jwks_uri": "https://evil.example/jwks"})
    assert (await moved.averify(token)).client_id == airline.caller[0]
    stranger = PrivateKey.generate(Algorithm.ES256)
    told = {"iss": ISSUER, "issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks"}
    forged = Signer(stranger, typ=None).sign(json.dumps(told).encode())
    of_another = Signer(await airline.signing("ES256"), typ=None)
    elsewhere = of_another.sign(json.dumps({**told, "iss": "https://other.example"}).encode())
    for change in (
        lambda told: {name: value for name, value in told.items() if name != "signed_metadata"},
        lambda told: {**told, "signed_metadata": forged},
        lambda told: {**told, "signed_metadata": elsewhere},
        lambda told: {**told, "signed_metadata": token},
        lambda told: {**told, "signed_metadata": 1},
    ):
        with pytest.raises(KeysUnavailable):
            await verifier(change).averify(token)
    with pytest.raises(KeysUnavailable):
        await verifier(lambda told: told, KeySet([stranger.public])).averify(token)
