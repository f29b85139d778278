"""Applications without a secret: another issuer says who they are, and a rule believes it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.assertions import issued, jwks, refused
from tests.support.foreign import BASE, DOMAIN, GITHUB, GITLAB, KUBERNETES, SPIFFE, Foreign, World, where, world
from tests.support.instance import ADMIN_API, ISSUER, node
from tests.support.instance import BASE as OURS

from watchword.jose import Algorithm, PrivateKey
from watchword.server.service.clients import fetched_keys

GITHUB_ISSUER = "https://token.actions.githubusercontent.com"


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    """On SQLite."""
    async with world(tmp_path) as running:
        yield running


def foreign(issuer: str, says: dict[str, Any], algorithm: str = "ES256") -> Foreign:
    """With a fresh key."""
    return Foreign(issuer, dict(says), PrivateKey.generate(Algorithm(algorithm)))


async def github(w: World) -> tuple[Foreign, str]:
    """GitHub, and an application that one repository is."""
    made = await w.trust(foreign(GITHUB_ISSUER, {**GITHUB, "jti": "once"}, "RS256"), kind="github")
    return made, await w.app(made, where("repository_id", "74"), where("environment", "production"))


async def test_a_service_account_of_kubernetes(w: World) -> None:
    """A pod would need a secret, or its token would work once though the kubelet keeps it in a file for an hour."""
    cluster, app = await w.kubernetes()
    statement = cluster.statement(w.ww, header={"typ": None})
    for _ in range(3):
        answer = await w.send(statement, app)
        assert answer.status_code == 200, answer.text
    assert len(w.network.connected) == 1
    event = await w.last_issued()
    rule = (await w.ww.call("GET", f"/applications/{app}")).json()["identities"][0]
    assert (event["actor"], event["identity_id"]) == (app, rule["rule_id"])
    assert event["foreign_subject"] == "system:serviceaccount:payments:charger"
    assert not {"secret_id", "key_id"} & event.keys()


async def test_a_job_of_github(w: World) -> None:
    """A workflow would need a secret, or its token, seen in a log, would work for whoever reads it in time."""
    hub, app = await github(w)
    once = hub.statement(w.ww, header={"x5t": "AAAA"})
    assert (await w.send(once, app)).status_code == 200
    refused(await w.send(once, app))
    assert (await w.send(hub.statement(w.ww, jti="twice"), app)).status_code == 200
    refused(await w.send(hub.statement(w.ww, jti=None), app))
    refused(await w.send(hub.statement(w.ww, jti="three", environment="staging"), app))
    refused(await w.send(hub.statement(w.ww, jti="three", repository_id="75"), app))
    assert (await w.send(hub.statement(w.ww, jti="three"), app)).status_code == 200  # a refusal uses nothing up


async def test_a_job_of_gitlab(w: World) -> None:
    """GitLab hands its token to a job once, so it has to work for each request of the job."""
    lab = await w.trust(foreign("https://gitlab.com", {**GITLAB, "jti": "a"}, "RS256"), kind="gitlab")
    app = await w.app(lab, where("project_id", "22"), where("ref_protected", "true"))
    statement = lab.statement(w.ww)
    assert [(await w.send(statement, app)).status_code for _ in range(2)] == [200, 200]
    refused(await w.send(lab.statement(w.ww, ref_protected="false"), app))
    refused(await w.send(lab.statement(w.ww, ref_protected=True), app))


async def test_a_workload_of_spiffe(w: World) -> None:
    """The draft's request would be refused: no iss, iat or jti, a bundle with its own `use`, and no client_id."""
    key = PrivateKey.generate(Algorithm.ES256)
    spiffe_id = f"{DOMAIN}/ns/payments/sa/charger"
    bundle = {**key.public.to_jwk(), "use": "jwt-svid"}
    del bundle["alg"]
    w.server.pages["/bundle"] = json.dumps({"keys": [bundle], "spiffe_sequence": 1}).encode()
    made = await w.trust(Foreign(DOMAIN, {"sub": spiffe_id}, key), kind="spiffe", jwks_uri=f"{BASE}/bundle")
    named = await w.app(made, where("sub", spiffe_id), client_id=spiffe_id)
    associated = await w.app(made, {"claim": "sub", "glob": f"{DOMAIN}/ns/payments/*/charger"})
    statement = made.statement(w.ww, header={"typ": "JOSE"})
    assert (await w.send(statement, kind=SPIFFE)).status_code == 200
    assert (await w.send(statement, named, kind=SPIFFE)).status_code == 200
    assert (await w.send(statement, associated, kind=SPIFFE)).status_code == 200
    assert (await w.send(made.statement(w.ww, iss="https://oidc.example.org"), kind=SPIFFE)).status_code == 200
    refused(await w.send(made.statement(w.ww, iss=DOMAIN), named))  # a JWT-SVID is no ordinary assertion
    for sub in (
        "spiffe://other.org/ns/payments/sa/charger", f"{DOMAIN}/ns/payments/sa/other", DOMAIN, f"{DOMAIN}/", "charger",
        f"{spiffe_id}/", f"{DOMAIN}/ns/../ns/payments/sa/charger", f"{spiffe_id}?a", f"{spiffe_id}#a", spiffe_id.upper(),
        "spiffe://user@example.org/ns/payments/sa/charger", "spiffe://example.org:80/ns/payments/sa/charger",
    ):  # fmt: skip
        for app in (named, associated):
            refused(await w.send(made.statement(w.ww, sub=sub), app, kind=SPIFFE))
    told = (await w.ww.http.get(f"{ISSUER}/.well-known/oauth-authorization-server")).json()
    assert "spiffe_jwt" in told["token_endpoint_auth_methods_supported"]
    assert "federated_jwt" not in told["token_endpoint_auth_methods_supported"]


async def test_any_issuer_by_discovery(w: World) -> None:
    """An issuer that says itself where its keys are would need somebody to copy that address."""
    idp = foreign(f"{BASE}/idp", {"sub": "robot-7"})
    w.server.pages["/idp/keys"] = json.dumps(jwks(idp.key)).encode()
    told = {"issuer": idp.issuer, "jwks_uri": f"{BASE}/idp/keys"}
    w.server.pages["/idp/.well-known/openid-configuration"] = json.dumps(told).encode()
    await w.trust(idp, jwks_uri=None)
    app = await w.app(idp, where("sub", "robot-7"))
    assert (await w.send(idp.statement(w.ww), app)).status_code == 200
    assert [line.split()[1] for line in w.server.asked] == ["/idp/.well-known/openid-configuration", "/idp/keys"]


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": f"{BASE}/other", "jwks_uri": f"{BASE}/idp/keys"},
        {"issuer": f"{BASE}/idp/", "jwks_uri": f"{BASE}/idp/keys"},
        {"jwks_uri": f"{BASE}/idp/keys"},
        {"issuer": f"{BASE}/idp"},
        {"issuer": f"{BASE}/idp", "jwks_uri": 7},
        {"issuer": f"{BASE}/idp", "jwks_uri": "http://keys.example/idp/keys"},
        {"issuer": f"{BASE}/idp", "jwks_uri": "https://169.254.169.254/keys"},
        {"issuer": f"{BASE}/idp", "jwks_uri": "file:///etc/passwd"},
        [],
    ],
    ids=str,
)
async def test_discovery_that_does_not_count(w: World, document: Any) -> None:
    """Another issuer's keys would verify, or the document lead us where only this machine may go."""
    idp = foreign(f"{BASE}/idp", {"sub": "robot-7"})
    w.server.pages["/idp/keys"] = json.dumps(jwks(idp.key)).encode()
    w.server.pages["/idp/.well-known/openid-configuration"] = json.dumps(document).encode()
    await w.trust(idp, jwks_uri=None)
    refused(await w.send(idp.statement(w.ww), await w.app(idp, where("sub", "robot-7"))))
    assert {host for host, _ in w.network.connected} == {"93.184.216.34"}


NOW = 1_800_000_000
CLAIMS: list[tuple[str, dict[str, Any], str]] = [
    ("addressed to another server", {"aud": "https://other.example"}, "aud"),
    ("addressed to another tenant", {"aud": f"{OURS}/t/other"}, "aud"),
    ("addressed to the token endpoint", {"aud": f"{ISSUER}/token"}, "aud"),
    ("addressed to another server too", {"aud": [ISSUER, "https://other.example"]}, "aud"),
    ("addressed to nobody", {"aud": None}, "aud"),
    ("an empty list of audiences", {"aud": []}, "aud"),
    ("expired", {"exp": NOW - 10}, "exp"),
    ("without an end", {"exp": None}, "exp"),
    ("an end that is a text", {"exp": "soon"}, "exp"),
    ("too long a life", {"exp": NOW + 7_211}, "exp"),
    ("not yet valid", {"nbf": NOW + 11}, "nbf"),
    ("from the future", {"iat": NOW + 11}, "iat"),
    ("too old", {"iat": NOW - 7_211}, "iat"),
    ("without an age", {"iat": None}, "iat"),
    ("about nobody", {"sub": ""}, "sub"),
    ("about a number", {"sub": 7}, ""),
    ("about too much", {"sub": "system:serviceaccount:payments:charger" + "r" * 3_000}, "sub"),
    ("about another account", {"sub": "system:serviceaccount:payments:other"}, "identity"),
    ("about an account in other letters", {"sub": "system:serviceaccount:payments:Charger"}, "identity"),
    ("by an issuer nobody knows", {"iss": f"{BASE}/unknown"}, ""),
    ("by an issuer with a slash too much", {"iss": f"{BASE}/cluster/"}, ""),
    ("by nobody", {"iss": None}, ""),
    ("by a list", {"iss": [f"{BASE}/cluster"]}, ""),
]


@pytest.mark.parametrize(("changed", "rule"), [pytest.param(c, r, id=i) for i, c, r in CLAIMS])
async def test_statements_that_say_no(w: World, changed: dict[str, Any], rule: str) -> None:
    """A statement for another server, of another time or about somebody else would open the door."""
    cluster, app = await w.kubernetes()
    refused(await w.send(cluster.statement(w.ww, **changed), app))
    assert await issued(w.ww) == 0
    await w.ww.services.upkeep.housekeeping.write_sums()
    events = (await w.ww.call("GET", "/audit?limit=500")).json()["items"]
    sums = [event["what"] for event in events if event["event"] == "RequestsRefused"]
    assert sums == [f"invalid_client ({rule})" if rule else "invalid_client"]
    assert (await w.send(cluster.statement(w.ww), app)).status_code == 200


@pytest.mark.parametrize(
    "changed",
    [{"exp": NOW - 9}, {"iat": NOW + 10, "nbf": NOW + 10}, {"exp": NOW + 7_210}, {"iat": NOW - 7_210}, {"nbf": 0}],
    ids=str,
)
async def test_clocks_may_differ_a_little(w: World, changed: dict[str, Any]) -> None:
    """A good workload would fail by its platform's clock alone."""
    cluster, app = await w.kubernetes()
    assert (await w.send(cluster.statement(w.ww, **changed), app)).status_code == 200


def _hs256(key: PrivateKey) -> Any:
    """Signed as if the public key were a secret (CVE-2022-29217)."""
    return lambda data: hmac.digest(key.public.to_pem().encode(), data, hashlib.sha256)


HEADERS: list[tuple[str, dict[str, Any]]] = [
    ("alg none", {"alg": "none"}),
    ("alg none in capitals", {"alg": "NONE"}),
    ("an algorithm that the issuer has not", {"alg": "ES384"}),
    ("a symmetric one", {"alg": "HS256"}),
    ("a key in the header", {"jwk": {"kty": "EC"}}),
    ("the address of a key", {"jku": f"{BASE}/evil"}),
    ("crit", {"crit": ["exp"]}),
    ("an access token", {"typ": "at+jwt"}),
    ("a proof", {"typ": "dpop+jwt"}),
    ("a client assertion of somebody's own", {"typ": "client-authentication+jwt"}),
    ("a key that nobody has", {"kid": "unknown"}),
    ("a kid that is no text", {"kid": 7}),
]


@pytest.mark.parametrize("header", [pytest.param(h, id=i) for i, h in HEADERS])
async def test_headers_that_say_no(w: World, header: dict[str, Any]) -> None:
    """Whoever makes the token would choose how it is verified (RFC 8725 section 3.1)."""
    cluster, app = await w.kubernetes()
    sign = _hs256(cluster.key) if header.get("alg") == "HS256" else None
    refused(await w.send(cluster.statement(w.ww, header=header, sign=sign), app))
    assert await issued(w.ww) == 0


async def test_one_key_has_one_algorithm(w: World) -> None:
    """An RSA key that is published for RS256 would verify PS256, which its owner never meant."""
    made = await w.trust(foreign(f"{BASE}/rsa", {"sub": "me"}, "RS256"), algorithms=["RS256", "PS256"])
    app = await w.app(made, where("sub", "me"))
    assert (await w.send(made.statement(w.ww), app)).status_code == 200
    pss = PrivateKey.from_pkcs8(made.key.to_pkcs8(), Algorithm.PS256)
    refused(await w.send(made.statement(w.ww, header={"alg": "PS256"}, sign=pss.sign), app))


async def test_another_key_of_the_same_name(w: World) -> None:
    """Anybody can write any kid and any iss."""
    cluster, app = await w.kubernetes()
    impostor = PrivateKey.generate(Algorithm.ES256)
    refused(await w.send(cluster.statement(w.ww, sign=impostor.sign), app))
    refused(await w.send("not.a.jwt", app))
    refused(await w.send("", app))
    refused(await w.send(cluster.statement(w.ww)[:-2], app))


async def test_the_same_subject_at_two_issuers_never_mixes(w: World) -> None:
    """Each cluster has a payments:charger; one's would be the other's, also where it has no client_id to say."""
    first, app = await w.kubernetes("first")
    second, other = await w.kubernetes("second")
    third = await w.app(first, where("sub", KUBERNETES["sub"]), client_id=str(KUBERNETES["sub"]))
    assert first.says == second.says
    for cluster, mine, others in ((first, app, other), (second, other, app)):
        assert (await w.send(cluster.statement(w.ww), mine)).status_code == 200
        refused(await w.send(cluster.statement(w.ww), others))
    assert (await w.send(first.statement(w.ww))).status_code == 200
    assert (await w.last_issued())["actor"] == third
    refused(await w.send(second.statement(w.ww)))
    # One signs, and says that it is the other.
    refused(await w.send(first.statement(w.ww, iss=second.issuer), other))
    refused(await w.send(first.statement(w.ww, header={"kid": second.key.kid}, iss=second.issuer), other))


async def test_another_tenant_trusts_nobody_of_ours(w: World) -> None:
    """A tenant would be opened by whom another tenant trusts (CVE-2025-27507)."""
    cluster, app = await w.kubernetes()
    made = (await w.ww.call("POST", "/tenants", {"slug": "other", "name": "other"})).json()
    theirs = made["issuer"]
    bearer = await w.ww.bearer((made["client_id"], made["client_secret"]), theirs)

    async def call(method: str, path: str, body: Any = None) -> Any:
        return await w.ww.http.request(method, f"{OURS}/api/v1{path}", json=body, headers=bearer)

    statement = cluster.statement(w.ww, aud=theirs)
    refused(await w.send(statement, app, issuer=theirs))
    listed = await call("GET", "/trusted-issuers")
    assert listed.json()["items"] == []
    assert (await call("GET", f"/trusted-issuers/{cluster.issuer_id}")).status_code == 404
    assert (await call("PATCH", f"/trusted-issuers/{cluster.issuer_id}", {"enabled": False})).status_code == 404
    assert (await call("DELETE", f"/trusted-issuers/{cluster.issuer_id}")).status_code == 404
    rule = {"issuer_id": cluster.issuer_id, "conditions": [where("sub", KUBERNETES["sub"])]}
    body = {"name": "x", "auth_method": "federated_jwt", "identities": [rule]}
    assert (await call("POST", "/applications", body)).status_code == 400
    assert (await call("POST", f"/applications/{app}/identities", rule)).status_code == 404
    assert (await call("POST", "/identity-rules/dry-run", {"token": statement, "rules": [rule]})).status_code == 400
    assert (await call("POST", "/identity-rules/dry-run", {"token": statement, "client_id": app})).status_code == 404
    # And when it does trust it, for an application of its own, ours stays ours.
    again = await call(
        "POST", "/trusted-issuers", {"issuer": cluster.issuer, "kind": "kubernetes", "jwks": jwks(cluster.key)}
    )
    rule["issuer_id"] = again.json()["issuer_id"]
    mine = (await call("POST", "/applications", body)).json()["client_id"]
    answer = await w.send(statement, mine, issuer=theirs)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")  # proved; it has no API
    refused(await w.send(cluster.statement(w.ww), mine))
    refused(await w.send(cluster.statement(w.ww), app, issuer=theirs))


async def test_the_issuer_is_down(w: World) -> None:
    """An outage of the platform's web server would be an outage of all its workloads at once; or last for ever."""
    cluster, app = await w.kubernetes()
    assert (await w.send(cluster.statement(w.ww), app)).status_code == 200
    w.server.status = 500
    w.ww.clock.now += fetched_keys.CACHED + 1
    for _ in range(3):
        assert (await w.send(cluster.statement(w.ww), app)).status_code == 200
    assert len(w.server.asked) == 2
    w.ww.clock.now += fetched_keys.STALE
    refused(await w.send(cluster.statement(w.ww), app))
    w.server.status = 200
    w.ww.clock.now += fetched_keys.COOL_DOWN
    assert (await w.send(cluster.statement(w.ww), app)).status_code == 200


@pytest.mark.parametrize("page", [b'{"keys":[]}', None], ids=["an empty set", "410"])
async def test_the_issuer_takes_its_keys_away(w: World, page: bytes | None) -> None:
    """Whoever stole a platform's key would be each of its workloads for an hour more."""
    cluster, app = await w.kubernetes()
    assert (await w.send(cluster.statement(w.ww), app)).status_code == 200
    if page is None:
        w.server.status = 410
    else:
        w.server.pages["/cluster/jwks"] = page
    w.ww.clock.now += fetched_keys.CACHED + 1
    refused(await w.send(cluster.statement(w.ww), app))


async def test_the_issuer_rotates_its_key(w: World) -> None:
    """A platform that rotates would lock its workloads out until a cache ends, or the old key be good for ever."""
    cluster, app = await w.kubernetes()
    assert (await w.send(cluster.statement(w.ww), app)).status_code == 200
    old, new = cluster.key, PrivateKey.generate(Algorithm.ES256)
    w.server.pages["/cluster/jwks"] = json.dumps(jwks(new)).encode()
    w.ww.clock.now += fetched_keys.COOL_DOWN
    cluster.key = new
    assert (await w.send(cluster.statement(w.ww), app)).status_code == 200
    cluster.key = old
    refused(await w.send(cluster.statement(w.ww), app))


async def test_unknown_kids_do_not_make_us_fetch(w: World) -> None:
    """Anybody could make us hammer a platform, or empty the cache of its good keys (CVE-2026-48524)."""
    cluster, app = await w.kubernetes()
    assert (await w.send(cluster.statement(w.ww), app)).status_code == 200
    for second in range(60):
        refused(await w.send(cluster.statement(w.ww, header={"kid": f"random {second}"}), app))
        w.ww.clock.now += 1
    assert 1 < len(w.server.asked) <= 1 + 60 / fetched_keys.COOL_DOWN
    assert (await w.send(cluster.statement(w.ww), app)).status_code == 200


async def test_strangers_make_us_ask_nobody(w: World) -> None:
    """Whoever knows the address of the token endpoint could have us fetch for no application at all."""
    cluster, app = await w.kubernetes()
    other = (await w.ww.application("secret", w.api, "a:read"))["client_id"]
    for client_id in ("nobody", other, "", "\u0000"):
        refused(await w.send(cluster.statement(w.ww), client_id))
    assert w.network.connected == []
    assert (await w.send(cluster.statement(w.ww), app)).status_code == 200


async def test_one_fetch_for_all_who_wait(w: World) -> None:
    """A deployment that starts a hundred pods would be a hundred fetches."""
    cluster, app = await w.kubernetes()
    w.server.gate.clear()
    waiting = [asyncio.ensure_future(w.send(cluster.statement(w.ww), app)) for _ in range(50)]
    await w.server.reached.wait()
    w.server.gate.set()
    assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [200] * 50
    assert len(w.network.connected) == 1


async def test_trust_ends_at_once_and_does_not_come_back(w: World) -> None:
    """An administrator who learns that a platform is broken into would have to find every application that it is."""
    cluster, app = await w.kubernetes()
    path = f"/trusted-issuers/{cluster.issuer_id}"
    async with node(w.ww.services.settings, w.ww.clock, w.ww.admin, w.ww.services.world) as second:
        assert (await w.send(cluster.statement(w.ww), app, ww=second)).status_code == 200
        assert (await w.ww.call("PATCH", path, {"enabled": False})).json()["enabled"] is False
        refused(await w.send(cluster.statement(w.ww), app))
        refused(await w.send(cluster.statement(w.ww), app, ww=second))  # judged again inside its commit
        assert (await w.ww.call("PATCH", path, {"enabled": True})).status_code == 200
        await second.services.view.refresh()
        assert (await w.send(cluster.statement(w.ww), app, ww=second)).status_code == 200
        assert (await w.ww.call("DELETE", path)).status_code == 204
        refused(await w.send(cluster.statement(w.ww), app, ww=second))
    refused(await w.send(cluster.statement(w.ww), app))
    await w.trust(cluster, kind="kubernetes")
    refused(await w.send(cluster.statement(w.ww), app))
    # What gives nothing blocks no change, and goes with it.
    changed = await w.ww.call("PATCH", f"/applications/{app}", {"name": "renamed"})
    assert (changed.status_code, changed.json()["identities"]) == (200, [])


async def test_an_algorithm_is_taken_away(w: World) -> None:
    """Statements under an algorithm that is not believed any more would go on working from a cache."""
    cluster, app = await w.kubernetes()
    assert (await w.send(cluster.statement(w.ww), app)).status_code == 200
    path = f"/trusted-issuers/{cluster.issuer_id}"
    assert (await w.ww.call("PATCH", path, {"algorithms": ["RS256"]})).status_code == 200
    refused(await w.send(cluster.statement(w.ww), app))


async def test_a_disabled_application(w: World) -> None:
    """Whom an administrator turned off would come in by the platform's door (CVE-2024-47000)."""
    cluster, app = await w.kubernetes()
    assert (await w.ww.call("PATCH", f"/applications/{app}", {"enabled": False})).status_code == 200
    refused(await w.send(cluster.statement(w.ww), app))
    assert (await w.ww.call("PATCH", f"/applications/{app}", {"enabled": True})).status_code == 200
    assert (await w.send(cluster.statement(w.ww), app)).status_code == 200
    assert (await w.ww.call("DELETE", f"/applications/{app}")).status_code == 204
    refused(await w.send(cluster.statement(w.ww), app))


async def test_one_method_for_each_application(w: World) -> None:
    """A second way in would be one that nobody watches (CVE-2026-16093)."""
    cluster, app = await w.kubernetes()
    statement = cluster.statement(w.ww)
    basic = await w.ww.application("secret", w.api, "a:read")
    refused(await w.send(statement, basic["client_id"]))
    two = await w.send(statement, app, client_secret=basic["client_secret"])
    assert (two.status_code, two.json()["error"]) == (400, "invalid_request")
    refused(await w.send(statement, app, kind=SPIFFE))
    refused(await w.send(statement, app, kind="urn:ietf:params:oauth:client-assertion-type:saml2-bearer"))
    # An application cannot say of itself who it is, with the issuer's name or with its own.
    refused(await w.send(cluster.statement(w.ww, iss=app, sub=app), app))
    answer = await w.ww.http.post(
        f"{ISSUER}/token", data={"grant_type": "client_credentials"}, auth=(app, basic["client_secret"])
    )
    refused(answer)


async def test_at_the_other_endpoints(w: World) -> None:
    """A workload without a secret could get tokens, and neither look at one nor give one back."""
    hub, app = await github(w)
    token = (await w.send(hub.statement(w.ww), app)).json()["access_token"]
    assert (await w.ww.call("PATCH", f"/apis/{w.api['api_id']}", {"introspectors": [app]})).status_code == 200
    asked = await w.send(hub.statement(w.ww, jti="2"), app, at="introspect", token=token)
    assert asked.json()["active"] is True
    refused(await w.send(hub.statement(w.ww, jti="2"), app, at="introspect", token=token))
    assert (await w.send(hub.statement(w.ww, jti="3"), app, at="revoke", token=token)).status_code == 200
    asked = await w.send(hub.statement(w.ww, jti="4"), app, at="introspect", token=token)
    assert asked.json() == {"active": False}


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_fifty_at_once(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A single-use statement would be used by each node once, or by each request that comes in the same moment."""
    url = request.getfixturevalue("postgres_dsn") if database == "postgres" else ""
    async with world(tmp_path, url) as w:
        hub, app = await github(w)
        once = hub.statement(w.ww)
        async with node(w.ww.services.settings, w.ww.clock, w.ww.admin, w.ww.services.world) as second:
            answers = await asyncio.gather(*(w.send(once, app, ww=(w.ww, second)[n % 2]) for n in range(50)))
        assert sorted(answer.status_code for answer in answers) == [200] + [401] * 49
        assert await issued(w.ww) == 1
        # Another application that the same statement would prove: it has been used.
        twin = await w.app(hub, where("repository_owner_id", "65"))
        refused(await w.send(once, twin))


async def test_other_audiences(w: World) -> None:
    """A platform that writes an audience of its own could not be used; or ours would still be taken beside it."""
    hub = await w.trust(foreign(f"{BASE}/idp", {"sub": "me"}), audiences=["https://github.com/acme"])
    app = await w.app(hub, where("sub", "me"))
    assert (await w.send(hub.statement(w.ww, aud="https://github.com/acme"), app)).status_code == 200
    refused(await w.send(hub.statement(w.ww), app))
    refused(await w.send(hub.statement(w.ww, aud=["https://github.com/acme", ISSUER]), app))


async def test_any_rule_is_enough(w: World) -> None:
    """An application that runs on two platforms would need to be two; and the audit would not say as which it came."""
    cluster, app = await w.kubernetes()
    second, _ = await w.kubernetes("second")
    rule = {"issuer_id": second.issuer_id, "conditions": [{"claim": "sub", "one_of": ["a", "b"]}]}
    too_wide = await w.ww.call("POST", f"/applications/{app}/identities", rule)
    assert (too_wide.status_code, too_wide.json()["field"]) == (400, "conditions")
    rule["conditions"] = [
        where("/kubernetes.io/namespace", "payments"),
        where("/kubernetes.io/serviceaccount/name", "charger"),
    ]
    added = await w.ww.call("POST", f"/applications/{app}/identities", rule)
    assert added.status_code == 201, added.text
    assert (await w.send(cluster.statement(w.ww), app)).status_code == 200
    assert (await w.send(second.statement(w.ww), app)).status_code == 200
    assert (await w.last_issued())["identity_id"] == added.json()["rule_id"]
    path = f"/applications/{app}/identities/{added.json()['rule_id']}"
    assert (await w.ww.call("DELETE", path)).status_code == 204
    assert (await w.ww.call("DELETE", path)).status_code == 404
    refused(await w.send(second.statement(w.ww), app))
    assert (await w.send(cluster.statement(w.ww), app)).status_code == 200


async def test_an_administrator_without_a_secret(w: World) -> None:
    """The last secret of an installation would be the one that opens everything."""
    cluster, _ = await w.kubernetes()
    apis = (await w.ww.call("GET", "/apis?name=urn:")).json()["items"]
    admin = next(api for api in apis if api["identifier"] == ADMIN_API)
    grants = [{"api_id": admin["api_id"], "scopes": ["applications:read"]}]
    app = await w.app(cluster, where("sub", KUBERNETES["sub"]), grants=grants)
    token = (await w.send(cluster.statement(w.ww), app)).json()["access_token"]
    listed = await w.ww.http.get(f"{OURS}/api/v1/applications", headers={"authorization": f"Bearer {token}"})
    assert listed.status_code == 200
