"""X.509-SVIDs (draft-ietf-oauth-spiffe-client-auth section 3.2): only their own trust domain vouches for them."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from tests.support.assertions import refused
from tests.support.certificates import DAY, Held, authority, issue
from tests.support.foreign import BASE, DOMAIN, SPIFFE, Foreign, World, where, world
from tests.support.instance import ISSUER

from watchword.jose import Algorithm, PrivateKey
from watchword.jose.certificates import Certificate, certificate_thumbprint
from watchword.server.service.clients import fetched_keys

ID = f"{DOMAIN}/ns/payments/sa/charger"
OTHER = "spiffe://other.org"


def bundle(*authorities: Held) -> dict[str, Any]:
    """As a bundle endpoint writes it, with a key for JWT-SVIDs."""
    keys = [
        {**Certificate(one.der).to_jwk(), "use": "x509-svid", "x5c": [base64.b64encode(one.der).decode()]}
        for one in authorities
    ]
    for key in keys:
        del key["kid"], key["x5t#S256"]
    jwt = {**PrivateKey.generate(Algorithm.ES256).public.to_jwk(), "use": "jwt-svid"}
    return {"keys": [*keys, jwt], "spiffe_sequence": 7, "spiffe_refresh_hint": 300}


@dataclass
class Mesh:
    """An instance behind a proxy that passes certificates on; two trust domains, each with an authority."""

    w: World
    ca: Held
    other: Held
    issuer_id: str

    def svid(self, *names: str, by: Held | None = None, **more: Any) -> Held:
        """A workload's certificate: no subject, one URI."""
        uris: list[x509.GeneralName] = [x509.UniformResourceIdentifier(name) for name in names]
        return issue(x509.Name([]), self.w.ww.clock.now, by or self.ca, names=uris, **more)

    async def token(self, client_id: str, shown: Held | None, *chain: Held) -> httpx.Response:
        """POST /token."""
        headers = {"client-cert": shown.rfc9440} if shown is not None else {}
        if chain:
            headers["client-cert-chain"] = ", ".join(one.rfc9440 for one in chain)
        form = {"grant_type": "client_credentials", "client_id": client_id}
        return await self.w.ww.http.post(f"{ISSUER}/token", data=form, headers=headers)

    async def app(self, *conditions: dict[str, Any], **more: Any) -> str:
        """An application of spiffe_x509."""
        rules = [{"issuer_id": self.issuer_id, "conditions": conditions}]
        made = await self.w.ww.application(
            "svid", self.w.api, "a:read", auth_method="spiffe_x509", identities=rules, **more
        )
        return str(made["client_id"])


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    """example.org is fetched from its bundle endpoint, other.org given by value."""
    async with world(tmp_path, client_cert_header="client-cert", trusted_proxies=("127.0.0.1",)) as w:
        ca, other = authority("example.org", w.ww.clock.now), authority("other.org", w.ww.clock.now)
        w.server.pages["/bundle"] = json.dumps(bundle(ca)).encode()
        body = {"issuer": DOMAIN, "kind": "spiffe", "jwks_uri": f"{BASE}/bundle"}
        made = await w.ww.call("POST", "/trusted-issuers", body)
        theirs = await w.ww.call("POST", "/trusted-issuers", {"issuer": OTHER, "kind": "spiffe", "jwks": bundle(other)})
        assert (made.status_code, theirs.status_code) == (201, 201), theirs.text
        assert theirs.json()["authorities"] == [other.pem]
        yield Mesh(w, ca, other, made.json()["issuer_id"])


async def test_the_happy_path(mesh: Mesh) -> None:
    """A workload with a certificate of its mesh would need another credential; nobody would see which it was."""
    named = await mesh.app(where("sub", ID), client_id=ID)
    associated = await mesh.app({"claim": "sub", "glob": f"{DOMAIN}/ns/payments/**"})
    svid = mesh.svid(ID)
    for client_id in (named, associated):
        answer = await mesh.token(client_id, svid)
        assert answer.status_code == 200, answer.text
    event = await mesh.w.last_issued()
    assert (event["foreign_subject"], event["key_id"]) == (ID, certificate_thumbprint(svid.der))
    between = authority("between", mesh.w.ww.clock.now, mesh.ca)
    assert (await mesh.token(named, mesh.svid(ID, by=between), between)).status_code == 200
    told = (await mesh.w.ww.http.get(f"{ISSUER}/.well-known/oauth-authorization-server")).json()
    assert "spiffe_x509" in told["token_endpoint_auth_methods_supported"]
    asked = await mesh.w.ww.http.post(
        f"{ISSUER}/introspect", data={"client_id": named, "token": "x"}, headers={"client-cert": svid.rfc9440}
    )
    assert asked.json() == {"active": False}


async def test_one_domain_vouches_for_no_other(mesh: Mesh) -> None:
    """The authority of one mesh could make the ids of another (section 6 of the draft), or any anchor of the tenant."""
    app = await mesh.app(where("sub", ID))
    assert (await mesh.token(app, mesh.svid(ID))).status_code == 200
    refused(await mesh.token(app, mesh.svid(ID, by=mesh.other)))
    refused(await mesh.token(app, mesh.svid(f"{OTHER}/ns/payments/sa/charger", by=mesh.other)))
    assert (await mesh.w.ww.call("POST", "/trust-anchors", {"pem": mesh.other.pem})).status_code == 201
    refused(await mesh.token(app, mesh.svid(ID, by=mesh.other)))
    # Nor do the authorities of a mesh vouch for names of the tenant's own PKI.
    pki = await mesh.w.ww.application(
        "pki", mesh.w.api, "a:read", auth_method="tls_client_auth", tls_client_auth={"san_uri": ID}
    )
    refused(await mesh.token(pki["client_id"], mesh.svid(ID)))
    assert (await mesh.token(pki["client_id"], mesh.svid(ID, by=mesh.other))).status_code == 200


async def test_certificates_that_are_no_svid(mesh: Mesh) -> None:
    """Two names would be whichever is wanted; an authority's certificate is nobody's; and time goes by."""
    app, named = await mesh.app(where("sub", ID)), await mesh.app(where("sub", f"{ID}-2"), client_id=ID)
    refused(await mesh.token(app, None))
    refused(await mesh.token(app, mesh.svid()))
    refused(await mesh.token(app, mesh.svid(ID, f"{ID}-2")))
    refused(await mesh.token(app, mesh.svid(f"{ID}-2")))
    refused(await mesh.token(named, mesh.svid(f"{ID}-2")))  # the client_id is a SPIFFE id, and not this one
    refused(await mesh.token(app, mesh.svid(DOMAIN)))
    refused(await mesh.token(app, mesh.svid("https://example.org/ns/payments/sa/charger")))
    refused(await mesh.token(app, mesh.svid(ID, authority=True)))
    refused(await mesh.token(app, mesh.svid(ID, signs=False)))
    refused(await mesh.token(app, mesh.svid(ID, ends=-DAY / 2)))
    refused(await mesh.token(app, mesh.svid(ID, begins=DAY)))
    refused(
        await mesh.token(app, issue(x509.Name([]), mesh.w.ww.clock.now, names=[x509.UniformResourceIdentifier(ID)]))
    )
    assert (await mesh.token(app, mesh.svid(ID))).status_code == 200


async def test_a_jwt_is_no_certificate(mesh: Mesh) -> None:
    """One method for each application: a JWT-SVID that was seen in a log is not its certificate's key."""
    app = await mesh.app(where("sub", ID))
    key = PrivateKey.generate(Algorithm.ES256)
    path = f"/trusted-issuers/{mesh.issuer_id}"
    keys = {"keys": [*bundle(mesh.ca)["keys"], {**key.public.to_jwk(), "use": "jwt-svid"}]}
    assert (await mesh.w.ww.call("PATCH", path, {"jwks": keys})).json()["jwks_uri"] is None
    statement = Foreign(DOMAIN, {"sub": ID}, key, spiffe=True).statement(mesh.w.ww)
    refused(await mesh.w.send(statement, app, kind=SPIFFE))
    assert (await mesh.token(app, mesh.svid(ID))).status_code == 200
    jwt_only = await mesh.w.ww.application(
        "jwt", mesh.w.api, "a:read", auth_method="spiffe_jwt",
        identities=[{"issuer_id": mesh.issuer_id, "conditions": [where("sub", ID)]}],
    )  # fmt: skip
    assert (await mesh.w.send(statement, jwt_only["client_id"], kind=SPIFFE)).status_code == 200
    refused(await mesh.token(jwt_only["client_id"], mesh.svid(ID)))


async def test_the_mesh_changes_its_authority(mesh: Mesh) -> None:
    """Every workload would be locked out when a mesh turns to its next authority, or an old one stay good for ever."""
    app, following = await mesh.app(where("sub", ID)), authority("example.org", mesh.w.ww.clock.now)
    assert (await mesh.token(app, mesh.svid(ID))).status_code == 200
    mesh.w.server.pages["/bundle"] = json.dumps(bundle(mesh.ca, following)).encode()
    mesh.w.ww.clock.now += fetched_keys.CACHED + 1
    assert (await mesh.token(app, mesh.svid(ID, by=following))).status_code == 200
    assert (await mesh.token(app, mesh.svid(ID))).status_code == 200
    mesh.w.server.pages["/bundle"] = json.dumps(bundle(following)).encode()
    mesh.w.ww.clock.now += fetched_keys.CACHED + 1
    refused(await mesh.token(app, mesh.svid(ID)))
    assert (await mesh.w.ww.call("DELETE", f"/trusted-issuers/{mesh.issuer_id}")).status_code == 204
    refused(await mesh.token(app, mesh.svid(ID, by=following)))


@pytest.mark.parametrize(
    "x5c", [None, [], ["AAAA"], ["no base64"], "text", ["", ""], [7], "the leaf's"], ids=lambda x: f"x5c {x}"
)
async def test_bundles_that_are_none(mesh: Mesh, x5c: Any) -> None:
    """A bundle that is half read would leave out the authority that is to go, or let a workload's certificate sign."""
    shown = [base64.b64encode(mesh.svid(ID).der).decode()] if x5c == "the leaf's" else x5c
    given = bundle(mesh.ca)
    given["keys"].append({"kty": "EC", "use": "x509-svid", "x5c": shown})
    answer = await mesh.w.ww.call(
        "POST", "/trusted-issuers", {"issuer": "spiffe://third.org", "kind": "spiffe", "jwks": given}
    )
    assert (answer.status_code, answer.json()["field"]) == (400, "jwks")
    app = await mesh.app(where("sub", ID))
    mesh.w.server.pages["/bundle"] = json.dumps(given).encode()
    refused(await mesh.token(app, mesh.svid(ID)))
