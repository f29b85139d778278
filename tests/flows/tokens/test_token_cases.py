"""POST /token, case by case: each id is a case of the shared catalogue and has one status and one error."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import httpx
import pytest
from tests.support.instance import BASE, ISSUER, Instance, credentials_of, instance
from tests.support.tokens import claims_of

FORM = "application/x-www-form-urlencoded"
CC = "grant_type=client_credentials"
TWO = ("https://rs1.example/", "https://rs2.example/")
WEIRD_ID, WEIRD_SECRET = "https://cl.example/ü", "p%+:& =w of long ago"
LONG_SECRET = "s" * 100
PAD = "0123456789abcdef"
"""An imported secret has at least 16 characters."""


@dataclass
class World:
    """The fixtures of the catalogue."""

    ww: Instance
    basic: tuple[str, str]
    post: tuple[str, str]

    async def send(
        self, body: str | bytes, *, auth: Any = None, media: str | None = FORM, path: str = "", **more: Any
    ) -> Any:
        """One raw request; `auth` is an Authorization value or credentials."""
        headers = dict(more.pop("headers", {}))
        if media is not None:
            headers["content-type"] = media
        if isinstance(auth, tuple):
            auth = basic(*auth)
        if auth is not None:
            headers["authorization"] = auth
        url = f"{ISSUER}/token" if not path else BASE + path
        return await self.ww.http.request(more.pop("method", "POST"), url, content=body, headers=headers, **more)


def basic(client_id: str, secret: str) -> str:
    """RFC 7617."""
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    """c_basic with rs1 (default) and rs2, c_post, and imported clients with awkward ids and secrets."""
    async with instance(tmp_path) as ww:
        rs1 = await ww.api("https://rs1.example/", "a:read", "a:write")
        rs2 = await ww.api("https://rs2.example/", "b:read")
        await ww.api("https://rs3.example/", "c:read")
        both = [
            {"api_id": rs1["api_id"], "scopes": ["a:read", "a:write"]},
            {"api_id": rs2["api_id"], "scopes": ["b:read"]},
        ]
        one = both[:1]
        made = await ww.call(
            "POST", "/applications", {"name": "c_basic", "grants": both, "default_api_id": rs1["api_id"]}
        )
        body = {"name": "c_post", "grants": one, "auth_method": "client_secret_post"}
        posted = await ww.call("POST", "/applications", body)
        imports = {
            "a b": f"x y{PAD}",
            WEIRD_ID: WEIRD_SECRET,
            "plus": f"a+b{PAD}",
            "colon": f"a:b{PAD}",
            "long": LONG_SECRET,
        }
        for client_id, secret in imports.items():
            body = {"name": "imported", "client_id": client_id, "secret": secret, "grants": one}
            assert (await ww.call("POST", "/applications", body)).status_code == 201
        body = {
            "name": "imported",
            "client_id": "post b",
            "secret": f"S{PAD}",
            "grants": one,
            "auth_method": "client_secret_post",
        }
        assert (await ww.call("POST", "/applications", body)).status_code == 201
        body = {"name": "no grant type", "client_id": "nogrant", "secret": f"S{PAD}", "grants": one, "grant_types": []}
        assert (await ww.call("POST", "/applications", body)).status_code == 201
        yield World(ww, credentials_of(made.json()), credentials_of(posted.json()))


def check(answer: httpx.Response, status: int, error: str = "") -> None:
    """The invariants of every refusal (N1, N2), and of every success."""
    assert answer.status_code == status, answer.text
    assert "set-cookie" not in answer.headers
    assert "access-control-allow-origin" not in answer.headers
    assert "no-store" in answer.headers["cache-control"]
    if status == 200:
        return
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert told.keys() <= {"error", "error_description", "error_uri"}
    if error:
        assert told["error"] == error


async def test_the_happy_path_has_exactly_these_members(w: World) -> None:
    """TEP-001: libraries would meet a shape that is not RFC 6749's."""
    answer = await w.send(f"{CC}&scope=a:read", auth=w.basic)
    check(answer, 200)
    told = answer.json()
    assert told.keys() == {"access_token", "token_type", "expires_in", "scope"}
    head, payload, _ = told["access_token"].split(".")
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in (head, payload))
    assert header.keys() == {"alg", "kid", "typ"}
    assert (header["alg"], header["typ"]) == ("ES256", "at+jwt")
    assert claims["exp"] - claims["iat"] == told["expires_in"]
    assert claims["aud"] == "https://rs1.example/"
    assert (claims["iss"], claims["scope"], claims["client_id"]) == (ISSUER, "a:read", w.basic[0])
    assert "location" not in answer.headers


BODIES = [
    ("TEP-004 all in the query", "", {"params": {"grant_type": "client_credentials"}}, 400, "invalid_request"),
    ("TEP-010 password grant", "grant_type=password&username=u&password=p", {}, 400, "unsupported_grant_type"),
    ("TEP-014 two assertions", f"{CC}&client_assertion=a&client_assertion=b", {}, 400, "invalid_request"),
    ("TEP-017 unknown parameter", f"foo=bar&{CC}", {}, 200, ""),
    ("TEP-020 charset", CC, {"media": FORM + "; charset=UTF-8"}, 200, ""),
    ("TEP-020 another charset", CC, {"media": FORM + "; charset=iso-8859-1"}, 400, "invalid_request"),
    ("TEP-021 mixed case", CC, {"media": "APPLICATION/X-WWW-Form-UrlEncoded"}, 200, ""),
    ("TEP-022 malformed content type", CC, {"media": ";;;"}, 400, "invalid_request"),
    ("TEP-023 no content type", CC, {"media": None}, 400, "invalid_request"),
    ("TEP-026 invalid UTF-8", f"{CC}&scope=%ff%fe", {}, 400, "invalid_scope"),
    ("TEP-033 1001 parameters", "&".join(f"p{n}=1" for n in range(1001)), {}, 400, "invalid_request"),
    ("TEP-038 gzip", CC, {"headers": {"content-encoding": "gzip"}}, 400, "invalid_request"),
    ("TEP-046 no-store on errors", "grant_type=x", {}, 400, "unsupported_grant_type"),
    ("TEP-048 trailing garbage", f"{CC}\r\nx=1", {}, 400, "invalid_request"),
    ("TEP missing grant type", "scope=a:read", {}, 400, "invalid_request"),
    ("CAU-023 two methods", f"{CC}&client_assertion=x&client_assertion_type=y", {}, 400, "invalid_request"),
    ("CAU-026 another client_id", f"{CC}&client_id=other", {}, 400, "invalid_request"),
    ("CAU Basic and secret in the body", f"{CC}&client_secret=x", {}, 400, "invalid_request"),
    ("SCP-002 narrowing", f"{CC}&scope=a:read", {}, 200, "a:read"),
    ("SCP-001 default scopes", CC, {}, 200, "a:read a:write"),
    ("SCP-003 not allowed", f"{CC}&scope=a:read+admin:all", {}, 400, "invalid_scope"),
    ("SCP-004 unknown", f"{CC}&scope=nope", {}, 400, "invalid_scope"),
    ("SCP-006 repeated", f"{CC}&scope=a:read+a:read", {}, 200, "a:read"),
    ("SCP-008 empty", f"{CC}&scope=", {}, 200, "a:read a:write"),
    *(
        (f"SCP-007 grammar {bad}", f"{CC}&scope={bad}", {}, 400, "invalid_scope")
        for bad in ("a%22", "a%5C", "a%01", "a%C2%A0b", "+a:read", "a:read++a:write", "a:read+", "a%09b")
    ),
    ("RES-002 unknown resource", f"{CC}&resource=https://unknown.example/", {}, 400, "invalid_target"),
    ("RES-003 not granted", f"{CC}&resource=https://rs3.example/", {}, 400, "invalid_target"),
    ("RES-004 fragment", f"{CC}&resource=https://rs1.example/%23f", {}, 400, "invalid_target"),
]


@pytest.mark.parametrize(("body", "more", "status", "told"), [pytest.param(*c[1:], id=c[0]) for c in BODIES])
async def test_a_body_with_good_credentials(w: World, body: str, more: dict[str, Any], status: int, told: str) -> None:
    """A client would get a token it must not get, or an answer that it cannot act on."""
    answer = await w.send(body, auth=w.basic, **more)
    check(answer, status, told if status != 200 else "")
    if status == 200 and told:
        assert answer.json()["scope"] == told


AUTHORIZATIONS = [
    ("CAU-007 empty secret", lambda w: basic(w.basic[0], ""), 401),
    ("CAU-009 empty client id", lambda w: basic("", "secret"), 401),
    ("CAU-010 no colon", lambda w: "Basic " + base64.b64encode(b"c_basic").decode(), 401),
    ("CAU-011 no value", lambda w: "Basic", 401),
    ("CAU-011 empty Bearer", lambda w: "Bearer", 401),
    ("CAU-012 not base64", lambda w: "Basic !!!!", 401),
    (
        "CAU-013 no padding",
        lambda w: (basic(*w.basic) if basic(*w.basic)[-1] == "=" else basic("a", "b")).rstrip("="),
        401,
    ),
    ("CAU-014 a tab", lambda w: basic(*w.basic).replace(" ", "\t"), 200),
    ("CAU-014 two spaces", lambda w: basic(*w.basic).replace(" ", "  "), 200),
    ("CAU-015 percent-encoded", lambda w: basic(quote_plus(WEIRD_ID), quote_plus(WEIRD_SECRET)), 200),
    ("CAU-016 plus is a space", lambda w: basic("a+b", f"x+y{PAD}"), 200),
    ("CAU-017 %2B is a plus", lambda w: basic("plus", f"a%2Bb{PAD}"), 200),
    ("CAU-020 colon encoded", lambda w: basic("colon", f"a%3Ab{PAD}"), 200),
    ("CAU-020 colon raw", lambda w: basic("colon", f"a:b{PAD}"), 200),
    ("CAU-034 differs after byte 72", lambda w: basic("long", "s" * 99 + "t"), 401),
    ("CAU-034 the whole of it", lambda w: basic("long", LONG_SECRET), 200),
    ("CAU-036 upper case", lambda w: basic(w.basic[0].upper(), w.basic[1]), 401),
    ("CAU-033 a long secret", lambda w: basic(w.basic[0], "x" * 60_000), 401),
    ("CAU a post client with Basic", lambda w: basic(*w.post), 401),
]


@pytest.mark.parametrize(
    ("make", "status"), [pytest.param(make, status, id=id_) for id_, make, status in AUTHORIZATIONS]
)
async def test_an_authorization_header(w: World, make: Any, status: int) -> None:
    """A wrong credential would open the door, a right one would not, or a malformed one would be a 500."""
    answer = await w.send(CC, auth=make(w))
    check(answer, status, "invalid_client")
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Basic ")


POSTED = [
    ("CAU-001 nothing", lambda w: CC, 401, "invalid_client"),
    ("CAU-002 CAU-029 client_id only", lambda w: f"{CC}&client_id={w.post[0]}", 401, "invalid_client"),
    ("CAU-008 empty secret", lambda w: f"{CC}&client_id={w.post[0]}&client_secret=", 401, "invalid_client"),
    (
        "CAU-037 trailing space",
        lambda w: f"{CC}&client_id={w.post[0]}%20&client_secret={w.post[1]}",
        401,
        "invalid_client",
    ),
    ("CAU the right one", lambda w: f"{CC}&client_id={w.post[0]}&client_secret={w.post[1]}", 200, ""),
    (
        "CAU a Basic client by post",
        lambda w: f"{CC}&client_id={w.basic[0]}&client_secret={w.basic[1]}",
        401,
        "invalid_client",
    ),
    ("TEP-009 grant not allowed", lambda w: f"{CC}&client_id=nogrant", 401, "invalid_client"),
    (
        "TEP-013 two ids",
        lambda w: f"{CC}&client_id={w.post[0]}&client_id=x&client_secret=S{PAD}",
        400,
        "invalid_request",
    ),
    ("TEP-027 NUL", lambda w: f"{CC}&client_id=c%00basic&client_secret=x", 401, "invalid_client"),
    ("TEP-029 overlong UTF-8", lambda w: f"{CC}&client_id=%C0%AF&client_secret=x", 401, "invalid_client"),
    ("TEP-029 surrogate", lambda w: f"{CC}&client_id=%ED%A0%80&client_secret=x", 401, "invalid_client"),
    ("TEP-030 broken escape", lambda w: f"{CC}&client_id=%zz&client_secret=x", 400, "invalid_request"),
    ("TEP-031 plus in the body", lambda w: f"{CC}&client_id=post+b&client_secret=S{PAD}", 200, ""),
]


@pytest.mark.parametrize(("make", "status", "error"), [pytest.param(*c[1:], id=c[0]) for c in POSTED])
async def test_credentials_in_the_body(w: World, make: Any, status: int, error: str) -> None:
    """The same as for the header; and no challenge, because the header was not used (RFC 6749 section 5.2)."""
    answer = await w.send(make(w))
    check(answer, status, error)
    assert "www-authenticate" not in answer.headers


async def test_a_grant_that_is_not_allowed(w: World) -> None:
    """TEP-009: an application would use a grant that nobody allowed it."""
    check(await w.send(CC, auth=("nogrant", f"S{PAD}")), 400, "unauthorized_client")


async def test_credentials_in_the_query_do_not_count(w: World) -> None:
    """TEP-003: secrets in URLs end up in logs."""
    answer = await w.send(CC, params={"client_id": w.post[0], "client_secret": w.post[1]})
    check(answer, 401, "invalid_client")


@pytest.mark.parametrize(
    "media", ["application/json", "multipart/form-data; boundary=x"], ids=["TEP-019 JSON", "TEP-024 multipart"]
)
async def test_only_forms_are_read(w: World, media: str) -> None:
    """A second parser is a second set of mistakes."""
    body = json.dumps({"grant_type": "client_credentials", "client_id": w.post[0], "client_secret": w.post[1]})
    check(await w.send(body, media=media), 400, "invalid_request")


async def test_resource_may_repeat(w: World) -> None:
    """TEP-015: one token for two APIs."""
    apis = {one["identifier"]: one for one in (await w.ww.call("GET", "/apis")).json()["items"]}
    rs1, rs2 = (apis[identifier] for identifier in TWO)
    scopes = [*rs2["scopes"], {"name": "a:read"}]
    assert (await w.ww.call("PATCH", f"/apis/{rs2['api_id']}", {"scopes": scopes})).status_code == 200
    grants = [
        {"api_id": rs1["api_id"], "scopes": ["a:read", "a:write"]},
        {"api_id": rs2["api_id"], "scopes": ["a:read"]},
    ]
    both = credentials_of((await w.ww.call("POST", "/applications", {"name": "both", "grants": grants})).json())
    answer = await w.send(f"{CC}&resource=https://rs1.example/&resource=https://rs2.example/", auth=both)
    check(answer, 200)
    assert answer.json()["scope"] == "a:read"
    payload = answer.json()["access_token"].split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(payload + "=="))["aud"] == [
        "https://rs1.example/",
        "https://rs2.example/",
    ]


async def test_the_audience_when_none_is_named(w: World) -> None:
    """RES-008: a token for nobody in particular would be good everywhere, or one for the wrong API be given."""
    rs1, rs2 = (one for one in (await w.ww.call("GET", "/apis")).json()["items"] if one["identifier"] in TWO)
    assert claims_of(await w.send(CC, auth=w.basic))["aud"] == "https://rs1.example/"
    changed = await w.ww.call("PATCH", f"/applications/{w.basic[0]}", {"default_api_id": rs2["api_id"]})
    assert changed.status_code == 200, changed.text
    assert claims_of(await w.send(CC, auth=w.basic))["aud"] == "https://rs2.example/"
    grants = [{"api_id": rs1["api_id"], "scopes": ["a:read"]}, {"api_id": rs2["api_id"], "scopes": ["b:read"]}]
    undecided = await w.ww.call("POST", "/applications", {"name": "two", "grants": grants})
    check(await w.send(CC, auth=credentials_of(undecided.json())), 400, "invalid_target")
    nothing = await w.ww.call("POST", "/applications", {"name": "none"})
    check(await w.send(CC, auth=credentials_of(nothing.json())), 400, "invalid_target")


async def test_no_token_proves_its_bearer(w: World) -> None:
    """RES-009: a token for the issuer, meant so or not, would be a client assertion, or pass for an ID token."""
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    own = (await w.ww.call("POST", "/apis", {"identifier": ISSUER, "name": "x", "tokens": {"type": "JWT"}})).json()
    odd = credentials_of(await w.ww.application("odd", own))
    plain = await w.send(CC, auth=w.basic)
    assert claims_of(plain)["aud"] not in (ISSUER, [ISSUER], "", [])
    for (client_id, _), answer in ((w.basic, plain), (odd, await w.ww.token(odd, resource=ISSUER))):
        token, claims = answer.json()["access_token"], claims_of(answer)
        for client in ("", f"&client_id={client_id}"):
            sent = f"{CC}&client_assertion={token}&client_assertion_type={kind}{client}"
            check(await w.send(sent), 401, "invalid_client")
        assert not {"nonce", "at_hash", "azp", "auth_time"} & claims.keys()
    assert claims["aud"] == ISSUER  # the last of them is what the case is about


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"], ids=lambda m: f"TEP-043 TEP-044 {m}"
)
async def test_only_post(w: World, method: str) -> None:
    """A GET would put secrets into URLs; CORS would let web pages hold them."""
    answer = await w.send(b"", method=method, headers={"origin": "https://evil.example"})
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/t/default/token/", "/t/default//token", "/t/default/TOKEN", "/t/default/token;x", "/t/default/token%2f", "//token"],
    ids=lambda p: f"TEP-047 {p}",
)  # fmt: skip
async def test_one_path_one_handler(w: World, path: str) -> None:
    """A proxy's rule for one spelling would not hold for the other."""
    answer = await w.send(CC, auth=w.basic, path=path)
    assert answer.status_code == 404


async def test_forged_hosts_change_nothing(w: World) -> None:
    """TEP-050 LOG-005 LOG-011: an attacker's host or request id would stand in tokens, metadata or headers."""
    headers = {
        "host": "evil.example",
        "x-forwarded-host": "evil",
        "x-forwarded-proto": "evil",
        "x-request-id": "a b<",
    }
    answer = await w.send(CC, auth=w.basic, headers=headers)
    payload = answer.json()["access_token"].split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(payload + "=="))["iss"] == ISSUER
    assert "x-request-id" not in answer.headers
    told = await w.ww.http.get(f"{ISSUER}/.well-known/openid-configuration", headers=headers)
    assert "evil" not in told.text
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    assert (await w.send(CC, auth=w.basic, headers=trace)).headers["x-request-id"] == "0af7651916cd43dd8448eb211c80319c"


async def test_metadata_has_three_forms_and_says_what_holds(w: World) -> None:
    """DIS-001 DIS-002 DIS-003 DIS-004: a client would be sent elsewhere, or told of what does not work."""
    paths = ["/.well-known/oauth-authorization-server/t/default", "/t/default/.well-known/oauth-authorization-server"]
    told = [
        (await w.ww.http.get(BASE + path)).json() for path in [*paths, "/t/default/.well-known/openid-configuration"]
    ]
    assert told[0] == told[1] == told[2]
    assert told[0]["issuer"] == ISSUER
    assert told[0]["grant_types_supported"] == ["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"]
    methods = ["client_secret_basic", "client_secret_post", "private_key_jwt", "client_secret_jwt", "spiffe_jwt"]
    for endpoint in ("token", "introspection", "revocation"):
        assert told[0][f"{endpoint}_endpoint_auth_methods_supported"] == methods
        algorithms = told[0][f"{endpoint}_endpoint_auth_signing_alg_values_supported"]
        lattices = ["ML-DSA-44", "ML-DSA-65", "ML-DSA-87"]
        assert algorithms == ["ES256", "PS256", "EdDSA", "RS256", *lattices, "HS256"]
    for name in ("token_endpoint", "jwks_uri", "introspection_endpoint", "revocation_endpoint"):
        assert told[0][name].startswith(ISSUER)
    assert (await w.ww.http.get(f"{BASE}/admin")).status_code == 404  # ADM-024


async def test_unknown_and_wrong_take_the_same_path(w: World) -> None:
    """CAU-005 CAU-006: the answers must not tell an unknown application from a wrong secret, byte for byte."""
    wrong = await w.send(CC, auth=(w.basic[0], "wrong"))
    unknown = await w.send(CC, auth=("3f0c1f6e-0000-4000-8000-000000000000", "wrong"))
    ids = {answer.headers.pop("x-request-id") for answer in (wrong, unknown)}
    assert len(ids) == 2
    assert (wrong.status_code, wrong.content, dict(wrong.headers)) == (
        unknown.status_code,
        unknown.content,
        dict(unknown.headers),
    )


async def test_introspection(w: World) -> None:
    """INT-004 INT-005 INT-007 INT-011 INT-012 INT-014: a stranger would learn about tokens, or an API nothing."""
    ww = w.ww
    token = (await w.send(CC, auth=w.basic)).json()["access_token"]
    assert await ww.introspect(w.basic, token) == {"active": False}  # its own application is not among the audience
    opaque = await ww.api("https://opaque.example/", "o:read", format="opaque")
    changed = await ww.call("PATCH", f"/apis/{opaque['api_id']}", {"introspectors": [ww.admin[0]]})
    assert changed.status_code == 200
    app = credentials_of(await ww.application("opaque caller", opaque, "o:read"))
    text = (await ww.token(app)).json()["access_token"]
    assert text.startswith("wwtok_")
    told = await ww.introspect(ww.admin, text)
    assert told["active"] is True
    assert (told["sub"], told["client_id"], told["username"], told["scope"]) == (app[0], app[0], app[0], "o:read")
    assert told["aud"] != told["iss"]
    for broken in (text[:-1], text + "x", "wwtok_", "zzz", token[:-1]):
        assert await ww.introspect(ww.admin, broken) == {"active": False}
    for hint in ("refresh_token", "zzz"):
        data = {"token": text, "token_type_hint": hint}
        answer = await ww.http.post(f"{ISSUER}/introspect", data=data, auth=ww.admin)
        assert answer.json()["active"] is True
        assert "no-store" in answer.headers["cache-control"]
    check(await w.send("", auth=ww.admin, path="/t/default/introspect"), 400, "invalid_request")


async def test_introspection_by_bearer_and_its_limits(w: World) -> None:
    """INT-013 INT-015 INT-018: tokens in URLs, rights by a wider token, a megabyte of token."""
    ww = w.ww
    header = await ww.bearer()
    token = header["authorization"][7:]
    answer = await ww.http.post(f"{ISSUER}/introspect", data={"token": token}, headers=header)
    assert answer.json() == {"active": False}  # the administrator is not an introspector of its own API
    assert (await ww.http.get(f"{ISSUER}/introspect?token={token}")).status_code == 405
    other = (await w.send(CC, auth=w.basic)).json()["access_token"]
    refused = await ww.http.post(
        f"{ISSUER}/introspect", data={"token": token}, headers={"authorization": f"Bearer {other}"}
    )
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith('Bearer error="invalid_token"')  # RFC 6750 section 3
    check(
        await w.send(b"token=" + b"a" * 1_048_576, auth=ww.admin, path="/t/default/introspect"), 400, "invalid_request"
    )


async def test_revocation(w: World) -> None:
    """REV-002 REV-003 REV-005 REV-006 REV-009: a leaked token could not be ended, or a stranger could end it."""
    ww = w.ww
    for api in (await ww.call("GET", "/apis")).json()["items"]:
        await ww.call("PATCH", f"/apis/{api['api_id']}", {"introspectors": [ww.admin[0]]})
    token = (await w.send(CC, auth=w.basic)).json()["access_token"]
    path = "/t/default/revoke"
    check(await w.send("token=zzz", auth=w.basic, path=path), 200)
    check(await w.send("", auth=w.basic, path=path), 400, "invalid_request")
    check(await w.send(f"token={token}", auth=("a b", "wrong"), path=path), 401, "invalid_client")
    check(await w.send(f"token={token}", auth=basic("plus", f"a%2Bb{PAD}"), path=path), 400, "invalid_request")
    assert (await ww.introspect(ww.admin, token))["active"] is True
    for _ in range(3):
        check(await w.send(f"token={token}", auth=w.basic, path=path), 200)
    assert await ww.introspect(ww.admin, token) == {"active": False}
    events = (await ww.call("GET", "/audit?limit=500")).json()["items"]
    assert sum(event["event"] == "TokenRevoked" for event in events) == 1
