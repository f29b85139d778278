"""The profile `fapi2` of a tenant: what it refuses, what it lets pass, and how it is switched on (decision 0044).

The fourteen modules of the certification suite are in `tests/conformance`, over real TLS.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace
from tests.support.assertions import TYPE, compose, jwks, refused
from tests.support.certificates import Held, authority, cn, issue
from tests.support.instance import BASE, Instance, credentials_of, instance, node
from tests.support.proofs import proof_of
from tests.support.tokens import claims_of

from watchword.jose import Algorithm, PrivateKey

PROXY = {"client_cert_header": "client-cert", "trusted_proxies": ("127.0.0.1",)}
ISSUER = f"{BASE}/t/bank"
URL = f"{ISSUER}/token"


@dataclass
class Bank:
    """A tenant in the profile: c_pkj by key, c_mtls and its administrator by certificate."""

    ww: Instance
    key: PrivateKey
    ca: Held
    c_pkj: str
    c_mtls: str
    admin: str

    def held(self, name: str) -> Held:
        """A certificate of the tenant's authority."""
        return issue(cn(name), self.ww.clock.now, self.ca)

    def assertion(self, key: PrivateKey | None = None, **changed: Any) -> dict[str, str]:
        """The form's part of client authentication."""
        now, used = int(self.ww.clock.now), key or self.key
        right = {
            "iss": self.c_pkj,
            "sub": self.c_pkj,
            "aud": ISSUER,
            "iat": now,
            "exp": now + 60,
            "jti": str(uuid.uuid4()),
        }
        claims = {name: value for name, value in {**right, **changed}.items() if value is not None}
        made = compose({"alg": used.algorithm.value, "kid": used.kid}, json.dumps(claims).encode(), used.sign)
        return {"client_assertion_type": TYPE, "client_assertion": made}

    def proof(self, **changed: Any) -> dict[str, str]:
        """The DPoP header."""
        return {"dpop": proof_of(PrivateKey.generate(Algorithm.ES256), URL, self.ww.clock.now, **changed)}

    async def token(self, form: dict[str, str], headers: dict[str, str] | None = None) -> httpx.Response:
        """POST /token."""
        return await self.ww.http.post(URL, data={"grant_type": "client_credentials", **form}, headers=headers)

    async def call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """The tenant's own admin API, by its administrator's certificate."""
        shown = {"client-cert": self.held("admin").rfc9440}
        answer = await self.token({"client_id": self.admin, "resource": "urn:watchword:admin"}, shown)
        bearer = {"authorization": f"Bearer {answer.json()['access_token']}", **shown}
        return await self.ww.http.request(method, f"{BASE}/api/v1{path}", json=body, headers=bearer)


async def switch(ww: Instance, profile: str, slug: str = "bank") -> httpx.Response:
    """By the default tenant's administrator."""
    return await ww.call("PATCH", f"/tenants/{slug}", {"profile": profile})


@pytest.fixture
async def bank(tmp_path: Path) -> AsyncIterator[Bank]:
    """As the guide says: an administrator with a certificate first, then the one with a secret goes, then the switch."""
    async with instance(tmp_path, **PROXY) as ww:
        made = (await ww.call("POST", "/tenants", {"slug": "bank", "name": "Bank"})).json()
        first = await ww.bearer((made["client_id"], made["client_secret"]), ISSUER)

        async def post(path: str, body: Any) -> dict[str, Any]:
            answer = await ww.http.post(f"{BASE}/api/v1{path}", json=body, headers=first)
            assert answer.status_code == 201, answer.text
            return dict(answer.json())

        ca, key = authority("Bank CA", ww.clock.now), PrivateKey.generate(Algorithm.ES256)
        await post("/trust-anchors", {"pem": ca.pem})
        listed = (await ww.http.get(f"{BASE}/api/v1/apis", headers=first)).json()["items"]
        everything = {"api_id": listed[0]["api_id"], "scopes": [scope["name"] for scope in listed[0]["scopes"]]}
        api = await post("/apis", {"identifier": "https://rs1.example/", "name": "rs1", "scopes": [{"name": "a:read"}]})
        grants = [{"api_id": api["api_id"], "scopes": ["a:read"]}]
        by_name = {"auth_method": "tls_client_auth"}
        admin = await post(
            "/applications",
            {"name": "admin", **by_name, "tls_client_auth": {"subject_dn": "CN=admin"}, "grants": [everything]},
        )
        c_mtls = await post(
            "/applications",
            {"name": "c_mtls", **by_name, "tls_client_auth": {"subject_dn": "CN=c_mtls"}, "grants": grants},
        )
        c_pkj = await post(
            "/applications", {"name": "c_pkj", "auth_method": "private_key_jwt", "jwks": jwks(key), "grants": grants}
        )
        it = Bank(ww, key, ca, c_pkj["client_id"], c_mtls["client_id"], admin["client_id"])
        refusal = await switch(ww, "fapi2")
        assert refusal.status_code == 409
        assert refusal.json()["field"] == "profile"
        assert f"application administrator {made['client_id']} (client_secret_basic" in refusal.json()["detail"]
        assert admin["client_id"] not in refusal.text
        assert (await it.call("DELETE", f"/applications/{made['client_id']}")).status_code == 204
        answer = await switch(ww, "fapi2")
        assert (answer.status_code, answer.json()["profile"]) == (200, "fapi2"), answer.text
        yield it


async def test_what_it_lets_pass(bank: Bank) -> None:
    """A profile that refuses everything would be as safe, and of no use."""
    shown = {"client-cert": bank.held("c_mtls").rfc9440}
    for form, headers, kind in (
        (bank.assertion(jti="1"), bank.proof(), "jkt"),
        (bank.assertion(jti="2"), shown, "x5t#S256"),
        ({"client_id": bank.c_mtls}, {**shown, **bank.proof()}, "jkt"),
        ({"client_id": bank.c_mtls}, shown, "x5t#S256"),
    ):
        answer = await bank.token(form, headers)
        assert answer.status_code == 200, answer.text
        assert answer.json()["token_type"] == ("DPoP" if kind == "jkt" else "Bearer")
        assert answer.json()["expires_in"] == 600
        assert claims_of(answer)["cnf"].keys() == {kind}


async def test_no_token_without_a_key(bank: Bank) -> None:
    """5.3.2.1, no. 4: a bearer token works for whoever finds it."""
    answer = await bank.token(bank.assertion(jti="bare"))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert (await bank.token(bank.assertion(jti="bare"), bank.proof())).status_code == 200  # nothing was used up
    surface = await bank.ww.http.post(
        f"{BASE}/oauth/v4/bank/token", data={"grant_type": "client_credentials", "client_id": bank.c_mtls},
        headers={"client-cert": bank.held("c_mtls").rfc9440},
    )  # fmt: skip
    assert surface.status_code == 401, surface.text  # it knows secrets alone


async def test_an_application_that_is_bound_by_dpop(bank: Bank) -> None:
    """RFC 9449 section 5.2: where it says so, a certificate beside the request does not do in place of a proof."""
    wanted = {"require_dpop": True}
    changed = await bank.call("PATCH", f"/applications/{bank.c_mtls}", wanted)
    assert changed.json()["require_dpop"] is True
    shown = {"client-cert": bank.held("c_mtls").rfc9440}
    answer = await bank.token({"client_id": bank.c_mtls}, shown)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof")
    assert claims_of(await bank.token({"client_id": bank.c_mtls}, {**shown, **bank.proof()}))["cnf"].keys() == {"jkt"}
    ww, body = bank.ww, {"name": "secret", "require_dpop": True}
    api = await ww.api("https://elsewhere.example/", "a:read")
    secret = credentials_of(await ww.application(api=api, **body))  # type: ignore[arg-type]
    bare = await ww.token(secret)
    assert (bare.status_code, bare.json()["error"]) == (400, "invalid_dpop_proof")
    form = {"grant_type": "client_credentials"}
    surface = await ww.http.post(f"{BASE}/oauth/v4/default/token", data=form, auth=secret)
    assert (surface.status_code, surface.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "EdDSA", "RS256"])
async def test_algorithms(bank: Bank, algorithm: str) -> None:
    """5.4.1: RS256 is let pass everywhere else, and would be here, by a set of keys that has one of each."""
    key = PrivateKey.generate(Algorithm(algorithm))
    both = {"jwks": jwks(bank.key, key)}
    assert (await bank.call("PATCH", f"/applications/{bank.c_pkj}", both)).status_code == 200
    answer = await bank.token(bank.assertion(key), bank.proof())
    if algorithm == "RS256":
        refused(answer)
    else:
        assert answer.status_code == 200, answer.text
    wrong = bank.proof(header={"typ": "dpop+jwt", "alg": "RS256", "jwk": {}})
    assert (await bank.token(bank.assertion(jti="p"), wrong)).json()["error"] == "invalid_dpop_proof"


async def test_the_audience_is_a_text(bank: Bank) -> None:
    """5.3.2.1, no. 8: an array of one passes elsewhere."""
    refused(await bank.token(bank.assertion(aud=[ISSUER]), bank.proof()))
    refused(await bank.token(bank.assertion(aud=URL), bank.proof()))
    assert (await bank.token(bank.assertion(), bank.proof())).status_code == 200


@pytest.mark.parametrize("tolerance", [0.0, 10.0, 300.0])
async def test_clocks(bank: Bank, tmp_path: Path, tolerance: float) -> None:
    """5.3.2.1, no. 13: ten seconds ahead pass and more than sixty do not, whatever the setting says."""
    settings = replace(bank.ww.services.settings, clock_tolerance=tolerance)
    async with node(settings, bank.ww.clock, bank.ww.admin) as other:
        it = Bank(other, bank.key, bank.ca, bank.c_pkj, bank.c_mtls, bank.admin)
        now = int(bank.ww.clock.now)
        for ahead, passes in ((10, True), (61, False)):
            for name in ("iat", "nbf"):
                answer = await it.token(it.assertion(jti=f"{name}{ahead}", **{name: now + ahead}), it.proof())
                assert (answer.status_code == 200) is passes, (ahead, name, answer.text)
            answer = await it.token(it.assertion(jti=f"p{ahead}"), it.proof(iat=now + ahead))
            assert (answer.status_code == 200) is passes, (ahead, answer.text)


async def test_metadata(bank: Bank) -> None:
    """A client that chooses from the metadata would choose what is refused."""
    told = (await bank.ww.http.get(f"{ISSUER}/.well-known/oauth-authorization-server")).json()
    methods = ["private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth"]
    for endpoint in ("token", "introspection", "revocation"):
        assert told[f"{endpoint}_endpoint_auth_methods_supported"] == methods
        assert set(told[f"{endpoint}_endpoint_auth_signing_alg_values_supported"]) == {"PS256", "ES256", "EdDSA"}
    assert set(told["dpop_signing_alg_values_supported"]) == {"PS256", "ES256", "EdDSA"}
    assert set(told["introspection_signing_alg_values_supported"]) <= {"PS256", "ES256", "EdDSA"}
    other = (await bank.ww.http.get(f"{BASE}/t/default/.well-known/oauth-authorization-server")).json()
    assert "client_secret_basic" in other["token_endpoint_auth_methods_supported"]


async def test_nothing_comes_in_that_would_not_work(bank: Bank) -> None:
    """An application with a secret would be registered and never get a token; its operator would look elsewhere."""
    for method in ("client_secret_basic", "client_secret_post", "client_secret_jwt"):
        answer = await bank.call("POST", "/applications", {"name": method, "auth_method": method})
        assert (answer.status_code, answer.json()["field"]) == (400, "auth_method"), answer.text
        answer = await bank.call("PATCH", f"/applications/{bank.c_pkj}", {"auth_method": method})
        assert (answer.status_code, answer.json()["field"]) == (400, "auth_method"), answer.text
    only = {"name": "rs", "auth_method": "private_key_jwt", "jwks": jwks(PrivateKey.generate(Algorithm.RS256))}
    assert (await bank.call("POST", "/applications", only)).status_code == 400
    answers = {"introspection_signed_response_alg": "RS256"}
    assert (await bank.call("PATCH", f"/applications/{bank.c_pkj}", answers)).status_code == 400
    api = {"identifier": "urn:rs", "name": "rs", "scopes": [], "tokens": {"algorithm": "RS256"}}
    answer = await bank.call("POST", "/apis", api)
    assert (answer.status_code, answer.json()["field"]) == (400, "tokens.algorithm")
    opaque = {**api, "tokens": {"algorithm": "RS256", "format": "opaque"}}
    assert (await bank.call("POST", "/apis", opaque)).status_code == 201


async def test_a_secret_that_is_there_all_the_same(bank: Bank) -> None:
    """5.3.2.1, no. 6: records come by other ways, too: an import, an older release. The endpoint judges by itself."""
    ww, name = bank.ww, "https://rs1.example/"
    assert (await switch(ww, "")).status_code == 200
    caller = (await bank.call("POST", "/applications", {"name": "secret"})).json()
    view = await ww.services.view.tenant("bank")
    assert view is not None
    async with ww.services.storage.store.transaction() as tx:
        record = await tx.tenants.get("", view.tenant.tenant_id)
        assert record is not None
        await tx.tenants.replace(replace(record, profile="fapi2", version=record.version + 1))
        api = next(api for api in await tx.apis.page(record.tenant_id, None, 9) if api.identifier == name)
        await tx.apis.replace(replace(api, tokens=replace(api.tokens, algorithm="RS256"), version=api.version + 1))
    credentials = (caller["client_id"], caller["client_secret"])
    answer = await ww.http.post(URL, data={"grant_type": "client_credentials"}, headers=bank.proof(), auth=credentials)
    refused_by_header(answer)
    asked = await ww.http.post(f"{ISSUER}/introspect", data={"token": "x"}, auth=credentials)
    refused_by_header(asked)
    answer = await bank.token(bank.assertion(), bank.proof())
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")


def refused_by_header(answer: httpx.Response) -> None:
    """As any wrong secret is."""
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert answer.json()["error_description"] == "client authentication failed"


async def test_the_switch(bank: Bank) -> None:
    """It would be turned by another tenant, unseen, or to a word that means nothing."""
    ww = bank.ww
    assert (await bank.call("PATCH", "/tenants/bank", {"profile": ""})).status_code == 403
    assert (await switch(ww, "fapi3")).status_code == 400
    assert (await switch(ww, "fapi2", "nobody")).status_code == 404
    refusal = await switch(ww, "fapi2", "default")
    assert refusal.status_code == 409
    assert ww.admin[0] in refusal.json()["detail"]
    events = (await bank.call("GET", "/audit?limit=50")).json()["items"]
    changed = [event for event in events if event["event"] == "TenantUpdated"]
    assert [event["fields"] for event in changed] == [["profile"]]
    assert all(event.get("actor", "system") == "system" for event in changed)
    listed = {one["slug"]: one["profile"] for one in (await ww.call("GET", "/tenants")).json()["items"]}
    assert listed == {"bank": "fapi2", "default": ""}
    rival = await ww.call("PATCH", "/tenants/bank", {"profile": ""}, headers={"if-match": '"1"'})
    assert rival.status_code == 412


async def test_many_in_the_way(tmp_path: Path) -> None:
    """A refusal that lists a million applications helps nobody; what is disabled is in nobody's way."""
    async with instance(tmp_path) as ww:
        for n in range(22):
            assert (await ww.call("POST", "/applications", {"name": f"app {n:02}"})).status_code == 201
        off = (await ww.call("POST", "/applications", {"name": "aaa"})).json()
        assert (await ww.call("PATCH", f"/applications/{off['client_id']}", {"enabled": False})).status_code == 200
        detail = (await switch(ww, "fapi2", "default")).json()["detail"]
        assert detail.count("client_secret_basic") == 20
        assert detail.endswith("; and more")
        assert off["client_id"] not in detail
