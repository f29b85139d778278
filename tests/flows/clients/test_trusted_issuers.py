"""The administration of trusted issuers and identity rules: what is refused, what is recorded, and the dry run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.assertions import jwks
from tests.support.foreign import BASE, DOMAIN, GITHUB, KUBERNETES, Foreign, World, where, world
from tests.support.instance import BASE as OURS
from tests.support.instance import ISSUER

from watchword.jose import Algorithm, PrivateKey

KEY = PrivateKey.generate(Algorithm.ES256)
RSA = PrivateKey.generate(Algorithm.RS256)
GIVEN = jwks(KEY)
GITHUB_ISSUER = "https://token.actions.githubusercontent.com"


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    """On SQLite."""
    async with world(tmp_path) as running:
        yield running


async def events(w: World, *kinds: str) -> list[dict[str, Any]]:
    """Of these kinds, oldest first."""
    found = (await w.ww.call("GET", "/audit?limit=500")).json()["items"]
    return [event for event in reversed(found) if event["event"] in kinds]


async def test_what_a_kind_brings(w: World) -> None:
    """An administrator would have to know each platform's algorithms, lives and habits."""
    expected = {
        "kubernetes": (["RS256", "ES256"], 7_200, False),
        "github": (["RS256"], 900, True),
        "gitlab": (["RS256"], 7_200, False),
        "oidc": (["RS256", "ES256", "PS256", "EdDSA"], 3_600, False),
        "spiffe": (["RS256", "ES256", "ES384"], 3_600, False),
    }
    for kind, (algorithms, max_life, single_use) in expected.items():
        issuer = DOMAIN if kind == "spiffe" else GITHUB_ISSUER if kind == "github" else f"https://{kind}.example"
        body = {"issuer": issuer, "kind": kind, "jwks": jwks(KEY, RSA)}
        answer = await w.ww.call("POST", "/trusted-issuers", body)
        assert answer.status_code == 201, answer.text
        made = answer.json()
        assert (made["algorithms"], made["max_life"], made["single_use"]) == (algorithms, max_life, single_use)
        assert (made["audiences"], made["enabled"], made["version"]) == ([], True, 1)
        assert answer.headers["location"] == f"/api/v1/trusted-issuers/{made['issuer_id']}"
        assert "d" not in made["jwks"]["keys"][0]
        shown = await w.ww.call("GET", f"/trusted-issuers/{made['issuer_id']}")
        assert (shown.json(), shown.headers["etag"]) == (made, '"1"')
    listed = (await w.ww.call("GET", "/trusted-issuers?limit=2")).json()
    rest = (await w.ww.call("GET", f"/trusted-issuers?cursor={listed['next']}")).json()
    assert [i["kind"] for i in (*listed["items"], *rest["items"])] == [
        "gitlab",
        "kubernetes",
        "oidc",
        "github",
        "spiffe",
    ]


WRONG: list[tuple[str, dict[str, Any], str]] = [
    *((f"the issuer {text!r}", {"issuer": text}, "issuer") for text in (
        "", "id.example", "http://id.example", "ftp://id.example", "https://", "https://id.example?a", "https://id.example#a",
        "https://user@id.example", "https://id.example/ a", "https://id.example\\a", "https://[::1", "https://é.example",
        DOMAIN, "https://id.example/" + "a" * 500,
    )),
    *((f"the trust domain {text!r}", {"issuer": text, "kind": "spiffe"}, "issuer") for text in (
        "example.org", "spiffe://", "spiffe://Example.org", "spiffe://example.org/", "spiffe://example.org/a", "https://a.example",
        "spiffe://a:80", "spiffe://a@b",
    )),
    ("a trust domain without keys", {"issuer": DOMAIN, "kind": "spiffe", "jwks": None}, "jwks_uri"),
    ("GitHub of another kind", {"issuer": GITHUB_ISSUER}, "kind"),
    ("GitHub of another kind, in capitals", {"issuer": GITHUB_ISSUER.upper()}, "kind"),
    ("an enterprise of GitHub's", {"issuer": f"{GITHUB_ISSUER}/acme", "kind": "kubernetes"}, "kind"),
    ("GitLab of another kind", {"issuer": "https://gitlab.com"}, "kind"),
    ("keys twice", {"jwks_uri": f"{BASE}/jwks"}, "jwks"),
    ("no key", {"jwks": {"keys": []}}, "jwks"),
    ("no set", {"jwks": {"kty": "EC"}}, "jwks"),
    ("a key that is a text", {"jwks": {"keys": ["a"]}}, "jwks"),
    ("a private key", {"jwks": {"keys": [{**KEY.public.to_jwk(), "d": "AAAA"}]}}, "jwks"),
    ("a secret", {"jwks": {"keys": [{"kty": "oct", "k": "AAAA"}]}}, "jwks"),
    ("a key twice", {"jwks": jwks(KEY, KEY)}, "jwks"),
    ("an encryption key", {"jwks": {"keys": [{**KEY.public.to_jwk(), "use": "enc"}]}}, "jwks"),
    ("too many keys", {"jwks": {"keys": [KEY.public.to_jwk()] * 21}}, "jwks"),
    ("keys for other algorithms", {"algorithms": ["RS256"]}, "jwks"),
    ("no algorithm", {"algorithms": []}, "algorithms"),
    ("none", {"algorithms": ["none"]}, "algorithms"),
    ("a symmetric one", {"algorithms": ["ES256", "HS256"]}, "algorithms"),
    ("an empty audience", {"audiences": [""]}, "audiences"),
    ("an audience of two lines", {"audiences": ["a\nb"]}, "audiences"),
    ("too many audiences", {"audiences": [str(n) for n in range(11)]}, "audiences"),
    ("too short a life", {"max_life": 59}, "max_life"),
    ("too long a life", {"max_life": 86_401}, "max_life"),
    *((f"keys at {uri}", {"jwks": None, "jwks_uri": uri}, "jwks_uri") for uri in (
        "http://keys.example/jwks", "https://127.0.0.1/jwks", "https://10.0.0.1/", "https://localhost/", "file:///etc/passwd",
        "https://nowhere.example/", "",
    )),
    *((f"discovery at {issuer}", {"jwks": None, "issuer": issuer}, "issuer") for issuer in (
        "https://kubernetes.default.svc", "https://10.96.0.1", "https://127.0.0.1:6443", "http://localhost",
    )),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "field"), [pytest.param(c, f, id=i) for i, c, f in WRONG])
async def test_issuers_that_are_not_trusted(w: World, changed: dict[str, Any], field: str) -> None:
    """A mistake would stand there as trust, or an address lead inside (CVE-2026-1180)."""
    body = {"issuer": "https://id.example", "jwks": GIVEN, **changed}
    answer = await w.ww.call("POST", "/trusted-issuers", {n: v for n, v in body.items() if v is not None})
    assert (answer.status_code, answer.json().get("field")) == (400, field), answer.text
    assert "AAAA" not in answer.text
    assert (await w.ww.call("GET", "/trusted-issuers")).json()["items"] == []
    assert w.network.connected == []


async def test_an_issuer_is_trusted_once(w: World) -> None:
    """Of two entries for one issuer nobody could say which holds; and one that was removed could never come back."""
    body = {"issuer": "https://id.example", "jwks": GIVEN}
    first = (await w.ww.call("POST", "/trusted-issuers", body)).json()["issuer_id"]
    assert (await w.ww.call("POST", "/trusted-issuers", body)).status_code == 409
    assert (await w.ww.call("DELETE", f"/trusted-issuers/{first}")).status_code == 204
    assert (await w.ww.call("DELETE", f"/trusted-issuers/{first}")).status_code == 404
    again = (await w.ww.call("POST", "/trusted-issuers", body)).json()["issuer_id"]
    assert again != first


async def test_changes_are_guarded_judged_and_recorded(w: World) -> None:
    """Two administrators would overwrite each other, and nobody could say since when what was believed."""
    made = (await w.ww.call("POST", "/trusted-issuers", {"issuer": f"{BASE}/idp", "jwks": GIVEN})).json()
    path = f"/trusted-issuers/{made['issuer_id']}"
    changed = await w.ww.call("PATCH", path, {"max_life": 600, "audiences": ["a"]}, headers={"if-match": '"1"'})
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    assert (await w.ww.call("PATCH", path, {"max_life": 700}, headers={"if-match": '"1"'})).status_code == 412
    assert (await w.ww.call("DELETE", path, headers={"if-match": '"1"'})).status_code == 412
    assert (await w.ww.call("PATCH", path, {"max_life": 600})).headers["etag"] == '"2"'  # nothing changed
    for wrong in ({"max_life": 1}, {"jwks_uri": "https://10.0.0.1/"}, {"jwks": {"keys": []}}, {"algorithms": ["RS256"]},
                  {"issuer": "https://other.example"}, {"kind": "github"}, {"nonsense": 1}):  # fmt: skip
        assert (await w.ww.call("PATCH", path, wrong)).status_code == 400, wrong
    remote = (await w.ww.call("PATCH", path, {"jwks_uri": f"{BASE}/jwks"})).json()
    assert (remote["jwks"], remote["jwks_uri"]) == (None, f"{BASE}/jwks")
    found = (await w.ww.call("PATCH", path, {"jwks_uri": None})).json()
    assert (found["jwks"], found["jwks_uri"]) == (None, None)
    back = (await w.ww.call("PATCH", path, {"jwks": GIVEN})).json()
    assert (back["jwks"]["keys"][0]["kid"], back["version"]) == (KEY.kid, 5)
    assert (await w.ww.call("DELETE", path, headers={"if-match": '"5"'})).status_code == 204
    told = await events(w, "IssuerTrusted", "TrustedIssuerUpdated", "IssuerDistrusted")
    assert [event["event"] for event in told] == ["IssuerTrusted"] + ["TrustedIssuerUpdated"] * 4 + ["IssuerDistrusted"]
    assert {event["issuer_id"] for event in told} == {made["issuer_id"]}
    assert {event["actor"] for event in told} == {w.ww.admin[0]}
    assert told[1]["fields"] == ["audiences", "max_life"]


def rule(issuer: Foreign, *conditions: dict[str, Any]) -> dict[str, Any]:
    """As the API takes it."""
    return {"issuer_id": issuer.issuer_id, "conditions": list(conditions)}


ANYBODY: list[tuple[str, list[dict[str, Any]]]] = [
    ("github", []),
    ("github", [where("iss", GITHUB_ISSUER)]),
    ("github", [where("repository", "acme/payments")]),
    ("github", [where("repository_owner", "acme")]),
    ("github", [where("sub", "repo:acme/payments:environment:production")]),
    ("github", [{"claim": "sub", "glob": "repo:acme/**"}]),
    ("github", [{"claim": "repository_id", "glob": "74*"}]),
    ("github", [where("repository_id", "seventy-four")]),
    ("github", [{"claim": "repository_id", "one_of": ["74", "*"]}]),
    ("github", [where("environment", "production"), where("ref", "refs/heads/main")]),
    ("gitlab", [where("project_path", "acme/payments")]),
    ("gitlab", [where("namespace_path", "acme")]),
    ("gitlab", [where("sub", "project_path:acme/payments:ref_type:branch:ref:main")]),
    ("gitlab", [{"claim": "namespace_id", "glob": "*"}]),
    ("kubernetes", [{"claim": "sub", "glob": "system:serviceaccount:payments:*"}]),
    ("kubernetes", [{"claim": "sub", "glob": "system:serviceaccount:*:charger"}]),
    ("kubernetes", [where("sub", "system:serviceaccount:payments")]),
    ("kubernetes", [where("sub", "system:serviceaccount:payments:*")]),
    ("kubernetes", [where("sub", "charger")]),
    ("kubernetes", [where("/kubernetes.io/namespace", "payments")]),
    ("kubernetes", [where("/kubernetes.io/serviceaccount/name", "charger")]),
    ("spiffe", [{"claim": "sub", "glob": f"{DOMAIN}/**"}]),
    ("spiffe", [{"claim": "sub", "glob": f"{DOMAIN}/*"}]),
    ("spiffe", [{"claim": "sub", "glob": f"{DOMAIN}/ns*/**"}]),
    ("spiffe", [{"claim": "sub", "glob": "spiffe:/*/example.org/ns/a"}]),
    ("spiffe", [where("sub", "spiffe://other.org/ns/a")]),
    ("spiffe", [where("sub", f"{DOMAIN}.evil/ns/a")]),
    ("spiffe", [where("sub", DOMAIN)]),
    ("spiffe", [where("aud", ISSUER)]),
    ("oidc", [where("aud", ISSUER)]),
    ("oidc", [where("/aud", ISSUER)]),
    ("oidc", [where("iss", "https://id.example")]),
    ("oidc", [where("email_verified", True)]),
    ("oidc", [where("admin", True)]),
    ("oidc", [{"claim": "sub", "glob": "*"}]),
    ("oidc", [{"claim": "sub", "glob": "**"}]),
    ("oidc", [{"claim": "sub", "glob": "acme:*"}]),
    ("oidc", [{"claim": "sub", "glob": "https://*"}]),
    ("oidc", [{"claim": "groups", "contains": "everyone"}]),
    ("oidc", [where("sub", "")]),
    ("oidc", [where("sub", "a\nb")]),
    ("oidc", [{"claim": "sub"}]),
    ("oidc", [{"claim": "sub", "equals": "a", "glob": "a"}]),
    ("oidc", [{"claim": "sub", "one_of": []}]),
    ("oidc", [{"claim": "sub", "one_of": ["a", ""]}]),
    ("oidc", [where("sub", "me"), {"claim": "x", "glob": "a*b"}]),
    ("oidc", [where("sub", "me"), {"claim": "x", "glob": "**/b"}]),
    ("oidc", [where("sub", "me"), {"claim": "x", "glob": "a**"}]),
    ("oidc", [where("sub", "me")] * 21),
    ("oidc", [{"claim": "sub", "one_of": ["a"] * 101}]),
    ("oidc", [where("sub", "a" * 1_001)]),
    ("oidc", [{"claim": "", "equals": "a"}]),
]
"""A rule that would match more than somebody in particular, or that nobody can read."""

SOMEBODY: list[tuple[str, list[dict[str, Any]]]] = [
    ("github", [where("repository_id", "74")]),
    ("github", [{"claim": "repository_owner_id", "one_of": ["65", "66"]}, {"claim": "ref", "glob": "refs/heads/*"}]),
    ("gitlab", [where("project_id", "22"), where("ref_protected", "true")]),
    ("kubernetes", [{"claim": "sub", "one_of": ["system:serviceaccount:a:b", "system:serviceaccount:a:c"]}]),
    ("kubernetes", [where("/kubernetes.io/namespace", "a"), where("/kubernetes.io/serviceaccount/name", "b")]),
    ("spiffe", [{"claim": "sub", "glob": f"{DOMAIN}/ns/**"}]),
    ("spiffe", [where("sub", f"{DOMAIN}/ns/a")]),
    ("oidc", [where("sub", "robot")]),
    ("oidc", [{"claim": "sub", "glob": "org:acme:*"}]),
    ("oidc", [where("azp", "client-7"), {"claim": "groups", "contains": "deployers"}]),
    ("oidc", [where("/act/sub", "robot")]),
]


async def trusted(w: World, kind: str) -> Foreign:
    """An issuer of the kind."""
    issuer = DOMAIN if kind == "spiffe" else GITHUB_ISSUER if kind == "github" else f"https://{kind}.example"
    return await w.trust(Foreign(issuer, {}, RSA), kind=kind)


async def test_rules_that_match_anybody(w: World) -> None:
    """One careless rule, and everybody who has an account on the platform is the application."""
    for kind in ("github", "gitlab", "kubernetes", "spiffe", "oidc"):
        issuer = await trusted(w, kind)
        method = "spiffe_jwt" if kind == "spiffe" else "federated_jwt"
        body = {"name": "x", "auth_method": method}
        app = (await w.ww.call("POST", "/applications", body)).json()["client_id"]
        for conditions in [c for k, c in ANYBODY if k == kind]:
            wanted = rule(issuer, *conditions)
            answers = [
                await w.ww.call("POST", f"/applications/{app}/identities", wanted),
                await w.ww.call("POST", "/applications", {**body, "identities": [wanted]}),
                await w.ww.call("POST", "/identity-rules/dry-run", {"token": "e30.e30.AA", "rules": [wanted]}),
            ]
            for answer in answers:
                assert (answer.status_code, answer.json()["field"]) == (400, "conditions"), (kind, conditions)
        assert (await w.ww.call("GET", f"/applications/{app}")).json()["identities"] == []
        for conditions in [c for k, c in SOMEBODY if k == kind]:
            answer = await w.ww.call("POST", f"/applications/{app}/identities", rule(issuer, *conditions))
            assert answer.status_code == 201, (kind, conditions, answer.text)
            assert answer.json()["conditions"] == conditions


async def test_rules_follow_the_method(w: World) -> None:
    """A rule would lie in wait at an application that proves itself otherwise, until somebody changes its method."""
    idp, mesh = await trusted(w, "oidc"), await trusted(w, "spiffe")
    right = rule(idp, where("sub", "me"))
    basic = (await w.ww.application("basic", w.api, "a:read"))["client_id"]
    assert (await w.ww.call("POST", f"/applications/{basic}/identities", right)).status_code == 409
    body = {"name": "x", "identities": [right]}
    for wrong in (
        {**body, "auth_method": "client_secret_basic"},
        {**body, "auth_method": "spiffe_jwt"},
        {**body, "auth_method": "spiffe_x509"},
        {**body, "auth_method": "federated_jwt", "identities": [rule(mesh, where("sub", f"{DOMAIN}/a"))]},
        {**body, "auth_method": "federated_jwt", "jwks": GIVEN},
        {**body, "auth_method": "federated_jwt", "secret": "a" * 40},
        {**body, "auth_method": "federated_jwt", "identities": [{**right, "issuer_id": "unknown"}]},
        {**body, "auth_method": "federated_jwt", "identities": [{**right, "rule_id": "mine"}]},
        {**body, "auth_method": "federated_jwt", "identities": [right] * 21},
    ):
        assert (await w.ww.call("POST", "/applications", wrong)).status_code == 400, wrong
    app = await w.app(idp, where("sub", "me"))
    added = (await w.ww.call("GET", f"/applications/{app}")).json()["identities"][0]
    changed = (await w.ww.call("PATCH", f"/applications/{app}", {"auth_method": "client_secret_basic"})).json()
    assert changed["identities"] == []
    back = (await w.ww.call("PATCH", f"/applications/{app}", {"auth_method": "federated_jwt"})).json()
    assert back["identities"] == []
    assert (await w.ww.call("PATCH", f"/applications/{app}", {"identities": []})).status_code == 400
    told = await events(w, "IdentityRuleAdded", "IdentityRuleRemoved")
    assert [(e["event"], e["client_id"], e["rule_id"]) for e in told] == [
        ("IdentityRuleAdded", app, added["rule_id"]),
        ("IdentityRuleRemoved", app, added["rule_id"]),
    ]
    many = [await w.ww.call("POST", f"/applications/{app}/identities", right) for _ in range(21)]
    assert [answer.status_code for answer in many] == [201] * 20 + [400]


async def test_scopes(w: World) -> None:
    """Whoever may see applications could make the tenant believe an issuer of their own."""
    admin = next(a for a in (await w.ww.call("GET", "/apis?name=urn:")).json()["items"])
    reader = await w.ww.application("reader", admin, "applications:read", "keys:read")
    bearer = await w.ww.bearer((reader["client_id"], reader["client_secret"]))
    idp = await trusted(w, "oidc")

    async def status(method: str, path: str, body: Any = None) -> int:
        return (await w.ww.http.request(method, f"{OURS}/api/v1{path}", json=body, headers=bearer)).status_code

    path, right = f"/trusted-issuers/{idp.issuer_id}", rule(idp, where("sub", "me"))
    assert await status("GET", path) == 200
    assert await status("POST", "/trusted-issuers", {"issuer": "https://evil.example", "jwks": GIVEN}) == 403
    assert await status("PATCH", path, {"enabled": False}) == 403
    assert await status("DELETE", path) == 403
    assert await status("POST", f"/applications/{reader['client_id']}/identities", right) == 403
    assert await status("DELETE", f"/applications/{reader['client_id']}/identities/x") == 403
    assert await status("POST", "/identity-rules/dry-run", {"token": idp.statement(w.ww), "rules": [right]}) == 200


async def try_out(w: World, token: str, **more: Any) -> Any:
    """The findings."""
    answer = await w.ww.call("POST", "/identity-rules/dry-run", {"token": token, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_dry_run_says_why(w: World) -> None:
    """A refusal says nothing, so whoever writes a rule would guess; and a dry run that judges otherwise would lie."""
    hub = Foreign(GITHUB_ISSUER, {**GITHUB, "jti": "once"}, RSA)
    await w.trust(hub, kind="github")
    app = await w.app(hub, where("repository_id", "74"), where("environment", "production"))
    rule_id = (await w.ww.call("GET", f"/applications/{app}")).json()["identities"][0]["rule_id"]
    token = hub.statement(w.ww)
    found = await try_out(w, f"\n{token}\n", client_id=app)
    assert (found["proves"], found["statement"], found["issuer"]) == (True, "", GITHUB_ISSUER)
    assert found["issuer_id"] == hub.issuer_id
    assert found["claims"]["repository"] == "acme/payments"
    assert [(r["rule_id"], r["matches"], r["why"]) for r in found["rules"]] == [(rule_id, True, "")]
    assert (await w.send(token, app)).status_code == 200  # a dry run uses nothing up
    wrong = hub.statement(w.ww, environment="staging", repository_id=74)
    found = await try_out(w, wrong, client_id=app)
    assert (found["proves"], found["statement"]) == (False, "")
    assert found["rules"][0]["why"] == "does not hold: repository_id, environment"
    assert [c["why"] for c in found["rules"][0]["conditions"]] == [
        'it is 74; wanted: equals "74"',
        'it is "staging"; wanted: equals "production"',
    ]
    pasted = rule(hub, where("repository_owner_id", "65"), {"claim": "actor", "one_of": ["a", "b"]},
                  {"claim": "ref", "glob": "refs/tags/**"}, {"claim": "repository", "contains": "x"})  # fmt: skip
    conditions = (await try_out(w, token, rules=[pasted]))["rules"][0]["conditions"]
    assert [c["why"] for c in conditions] == [
        "",
        "there is no such claim",
        'it is "refs/heads/main"; wanted: glob "refs/tags/**"',
        'it is "acme/payments"; wanted: contains "x"',
    ]
    assert [c["holds"] for c in conditions] == [True, False, False, False]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"aud": "https://other.example"}, "audience is ['https://other.example'], this API is"),
        ({"aud": [ISSUER, "https://other.example"]}, "aud has another value beside ours"),
        ({"exp": 1_799_999_000}, "expired 1000 s ago by this machine's clock"),
        ({"nbf": 1_800_000_060}, "nbf is 60 s ahead of this machine's clock"),
        ({"exp": 1_800_090_000}, "exp is more than 7200 s ahead"),
        ({"iss": "https://unknown.example"}, "no issuer 'https://unknown.example' is trusted here"),
        ({"sub": None}, "sub is missing"),
    ],
    ids=str,
)
async def test_a_dry_run_says_what_is_wrong_with_the_token(w: World, changed: dict[str, Any], why: str) -> None:
    """The usual mistakes, an audience and a clock, would look like a wrong rule."""
    cluster, app = await w.kubernetes()
    found = await try_out(w, cluster.statement(w.ww, **changed), client_id=app)
    assert found["proves"] is False
    assert found["statement"].startswith(why), found["statement"]


async def test_a_dry_run_of_other_troubles(w: World) -> None:
    """Keys that cannot be had, a stranger's signature and a disabled application would each look like the other."""
    cluster, app = await w.kubernetes()
    second, _ = await w.kubernetes("second")
    token = cluster.statement(w.ww)
    w.server.status = 500
    assert (await try_out(w, token, client_id=app))["statement"].startswith("the issuer's keys cannot be had")
    w.server.status = 200
    w.ww.clock.now += 30
    impostor = PrivateKey.generate(Algorithm.ES256)
    forged = cluster.statement(w.ww, sign=impostor.sign)
    found = await try_out(w, forged, client_id=app)
    assert (found["proves"], found["statement"]) == (False, "the signature fits none of the keys")
    assert found["rules"][0]["matches"] is True  # of what it says, which proves nothing
    found = await try_out(w, second.statement(w.ww), client_id=app)
    assert (found["proves"], found["statement"], found["rules"][0]["why"]) == (
        False, "", "the rule is about another issuer"
    )  # fmt: skip
    assert (await w.ww.call("PATCH", f"/applications/{app}", {"enabled": False})).status_code == 200
    assert (await try_out(w, token, client_id=app))["statement"] == "the application is disabled"
    path = f"/trusted-issuers/{cluster.issuer_id}"
    assert (await w.ww.call("PATCH", path, {"enabled": False})).status_code == 200
    assert "or it is disabled" in (await try_out(w, token, client_id=app))["statement"]
    hub = await w.trust(Foreign(GITHUB_ISSUER, dict(GITHUB), RSA), kind="github")
    found = await try_out(w, hub.statement(w.ww), rules=[rule(hub, where("repository_id", "74"))])
    assert found["statement"] == "jti is missing or not a text"
    mesh = await trusted(w, "spiffe")
    mesh.says["sub"] = f"{DOMAIN}/a"
    found = await try_out(w, mesh.statement(w.ww), rules=[rule(mesh, where("sub", f"{DOMAIN}/a"))])
    assert (found["proves"], found["issuer"]) == (True, DOMAIN)


async def test_a_dry_run_that_is_none(w: World) -> None:
    """A 500, or an answer about something else, would be all that a mistake gets."""
    cluster, app = await w.kubernetes()
    token, right = cluster.statement(w.ww), rule(cluster, where("sub", str(KUBERNETES["sub"])))
    for body, field in (
        ({"token": token}, "client_id"),
        ({"token": token, "client_id": app, "rules": [right]}, "client_id"),
        ({"token": "no.jwt", "client_id": app}, "token"),
        ({"token": "", "client_id": app}, "token"),
        ({"token": token, "rules": [{**right, "issuer_id": "unknown"}]}, "issuer_id"),
    ):
        answer = await w.ww.call("POST", "/identity-rules/dry-run", body)
        assert (answer.status_code, answer.json()["field"]) == (400, field), answer.text
    unknown = await w.ww.call("POST", "/identity-rules/dry-run", {"token": token, "client_id": "unknown"})
    assert unknown.status_code == 404
