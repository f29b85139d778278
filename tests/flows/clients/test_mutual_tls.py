"""Mutual TLS (RFC 8705), case by case (`cases/mtl.yaml`): the certificate comes from a trusted proxy's header here,

in `test_mutual_tls_cases.py` and `test_mutual_tls_listener.py` from our own TLS handshake.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from tests.support.certificates import DAY, Held, authority, cn, issue
from tests.support.instance import BASE, ISSUER, Instance, credentials_of, instance
from tests.support.keyserver import URI, Authority, KeyServer, Network
from tests.support.tokens import claims_of

from watchword.jose import Algorithm, PrivateKey
from watchword.jose.certificates import Certificate, certificate_thumbprint

PROXY = {"client_cert_header": "client-cert", "trusted_proxies": ("127.0.0.1",)}


@dataclass
class World:
    """The fixtures of the catalogue."""

    ww: Instance
    api: dict[str, Any]
    ca: Held
    now: float
    c_mtls: str = ""
    c_mtls2: str = ""
    certificate: Held = field(init=False)
    certificate2: Held = field(init=False)

    async def app(self, name: str, **more: Any) -> str:
        """An application of tls_client_auth."""
        body = {"auth_method": "tls_client_auth", **more}
        return str((await self.ww.application(name, self.api, "a:read", **body))["client_id"])

    async def token(self, client_id: str, *shown: Held, **more: Any) -> httpx.Response:
        """POST /token as the proxy passes it on: the leaf, then its chain."""
        headers = dict(more.pop("headers", {}))
        if shown:
            headers["client-cert"] = shown[0].rfc9440
        if shown[1:]:
            headers["client-cert-chain"] = ", ".join(one.rfc9440 for one in shown[1:])
        form = {"grant_type": "client_credentials", "client_id": client_id, **more.pop("form", {})}
        return await self.ww.http.post(f"{ISSUER}/token", data=form, headers=headers)

    def leaf(self, name: x509.Name | str, by: Held | None = None, **more: Any) -> Held:
        """Of our authority, unless another one is named."""
        return issue(cn(name) if isinstance(name, str) else name, self.now, by or self.ca, **more)


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    """c_mtls and c_mtls2, by subject, behind a proxy that speaks RFC 9440."""
    async with instance(tmp_path, **PROXY) as ww:
        world = World(ww, await ww.api("https://rs1.example/", "a:read"), authority("CA", ww.clock.now), ww.clock.now)
        added = await ww.call("POST", "/trust-anchors", {"pem": world.ca.pem})
        assert added.status_code == 201, added.text
        world.c_mtls = await world.app("c_mtls", tls_client_auth={"subject_dn": "CN=c_mtls"})
        world.c_mtls2 = await world.app("c_mtls2", tls_client_auth={"subject_dn": "CN=c_mtls2"})
        world.certificate, world.certificate2 = world.leaf("c_mtls"), world.leaf("c_mtls2")
        yield world


def refused(answer: httpx.Response) -> None:
    """One and the same answer for every failure."""
    assert answer.status_code == 401, answer.text
    assert answer.json() == {"error": "invalid_client", "error_description": "client authentication failed"}
    assert "www-authenticate" not in answer.headers


async def test_the_happy_path(w: World) -> None:
    """Section 2.1: a client of a company's own PKI gets its token; the audit log says with which certificate."""
    claims = claims_of(await w.token(w.c_mtls, w.certificate))
    assert claims["sub"] == w.c_mtls
    assert "cnf" not in claims
    events = (await w.ww.call("GET", "/audit")).json()["items"]
    issued = next(event for event in events if event["event"] == "TokenIssued" and event["actor"] == w.c_mtls)
    assert issued["key_id"] == certificate_thumbprint(w.certificate.der)


@pytest.mark.parametrize("how", ["x5c", "x5t#S256", "key"])
async def test_self_signed(w: World, how: str) -> None:
    """MTL-002, MTL-012: a device without a PKI proves itself by the certificate that is registered, and no other does."""
    held = issue(cn("device"), w.now)
    jwk: dict[str, Any] = {**Certificate(held.der).to_jwk(), "alg": "ES256"}
    del jwk["x5t#S256"]
    if how == "x5c":
        jwk["x5c"] = [base64.b64encode(held.der).decode()]
    elif how == "x5t#S256":
        jwk["x5t#S256"] = certificate_thumbprint(held.der)
    c_self = await w.app("c_self", auth_method="self_signed_tls_client_auth", jwks={"keys": [jwk]})
    assert (await w.token(c_self, held)).status_code == 200
    again = issue(cn("device"), w.now, key=held.key)
    answer = await w.token(c_self, again)  # the same key in a new certificate
    if how == "key":
        assert answer.status_code == 200
    else:
        refused(answer)
    refused(await w.token(c_self, issue(cn("device"), w.now)))
    refused(await w.token(c_self, w.certificate))
    refused(await w.token(w.c_mtls, held))
    w.ww.clock.now += 31 * 86_400
    refused(await w.token(c_self, held))


async def test_self_signed_by_address(tmp_path: Path) -> None:
    """MTL-002: a renewed certificate would be refused until the fetched set is old, or a stranger's fetch without end."""
    trusted, server = Authority(tmp_path), KeyServer()
    first, second = PrivateKey.generate(Algorithm.ES256), PrivateKey.generate(Algorithm.ES256)
    server.publish(first)
    network = Network(server)
    outside = {"network": network, "resolve": network.resolve}
    settings = {**PROXY, "fetch_ca_file": str(trusted.file)}
    async with server.serving(trusted.context()), instance(tmp_path, world_of=outside, **settings) as ww:
        world = World(ww, await ww.api("https://rs1.example/", "a:read"), authority("CA", ww.clock.now), ww.clock.now)
        c_self = await world.app("c_self", auth_method="self_signed_tls_client_auth", jwks_uri=URI)
        assert (await world.token(c_self, _held_by(first, ww.clock.now))).status_code == 200
        server.publish(second)
        for _ in range(3):  # the first unknown key after an ordinary fetch is fetched for at once
            assert (await world.token(c_self, _held_by(second, ww.clock.now))).status_code == 200
            refused(await world.token(c_self, _held_by(first, ww.clock.now)))
        assert len(network.connected) == 2


def _held_by(key: PrivateKey, now: float) -> Held:
    own = serialization.load_der_private_key(key.to_pkcs8(), None)
    assert isinstance(own, ec.EllipticCurvePrivateKey)
    return issue(cn("device"), now, key=own)


async def test_another_tenants_authority(w: World) -> None:
    """A tenant's operator could otherwise give himself certificates for every other tenant's applications."""
    made = (await w.ww.call("POST", "/tenants", {"slug": "acme", "name": "Acme"})).json()
    headers = await w.ww.bearer((made["client_id"], made["client_secret"]), made["issuer"])
    body = {"name": "x", "auth_method": "tls_client_auth", "tls_client_auth": {"subject_dn": "CN=c_mtls"}}
    answer = await w.ww.http.post(f"{BASE}/api/v1/applications", json=body, headers=headers)
    form = {"grant_type": "client_credentials", "client_id": answer.json()["client_id"]}
    shown = {"client-cert": w.certificate.rfc9440}
    refused(await w.ww.http.post(f"{made['issuer']}/token", data=form, headers=shown))
    assert (await w.ww.http.get(f"{BASE}/api/v1/trust-anchors", headers=headers)).json()["items"] == []
    theirs = {"pem": w.ca.pem}
    assert (await w.ww.http.post(f"{BASE}/api/v1/trust-anchors", json=theirs, headers=headers)).status_code == 201
    answer = await w.ww.http.post(f"{made['issuer']}/token", data=form, headers=shown)
    assert answer.json()["error"] == "invalid_target"  # it is known now, and nothing is granted to it


async def test_no_certificate_and_no_client_id(w: World) -> None:
    """MTL-003, MTL-004: nothing proves nothing, and who it is, is never guessed from a certificate."""
    refused(await w.token(w.c_mtls))
    answer = await w.ww.http.post(
        f"{ISSUER}/token", data={"grant_type": "client_credentials"}, headers={"client-cert": w.certificate.rfc9440}
    )
    refused(answer)


async def test_another_clients_certificate(w: World) -> None:
    """MTL-005, MTL-009: a good certificate is one client's, and a victim's certificate in the chain is nobody's proof."""
    refused(await w.token(w.c_mtls, w.certificate2))
    refused(await w.token(w.c_mtls, w.certificate2, w.certificate))
    refused(await w.token("11111111-1111-1111-1111-111111111111", w.certificate))
    assert (await w.token(w.c_mtls2, w.certificate2, w.certificate)).status_code == 200


async def test_spellings_of_a_name(w: World) -> None:
    """MTL-006: a name written another way is the same name; one that only looks alike when printed is not."""
    attribute, kind = x509.NameAttribute, x509.name._ASN1Type
    registered = await w.app("dn", tls_client_auth={"subject_dn": r"CN=a\,b+OU=x, O=Acme".replace(", ", ",")})
    for string_type in (kind.UTF8String, kind.PrintableString):
        name = x509.Name(
            [
                x509.RelativeDistinguishedName([attribute(NameOID.ORGANIZATION_NAME, "Acme", string_type)]),
                x509.RelativeDistinguishedName(
                    [
                        attribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "x", string_type),
                        attribute(NameOID.COMMON_NAME, "a,b", string_type),
                    ]
                ),
            ]
        )
        assert (await w.token(registered, w.leaf(name))).status_code == 200
        refused(await w.token(registered, w.leaf(x509.Name(list(reversed(name.rdns))))))
    injected = await w.app("injected", tls_client_auth={"subject_dn": "CN=a,O=b"})
    refused(await w.token(injected, w.leaf("a,O=b")))
    refused(await w.token(w.c_mtls, w.leaf("C_MTLS")))


@pytest.mark.parametrize(
    ("member", "value", "right", "wrong"),
    [
        ("san_dns", "App.example", x509.DNSName("app.EXAMPLE"), x509.DNSName("*.example")),
        ("san_uri", "spiffe://a/b", x509.UniformResourceIdentifier("spiffe://a/b"), x509.DNSName("spiffe://a/b")),
        ("san_ip", "2001:DB8::1", x509.IPAddress(ipaddress.ip_address("2001:db8::1")), x509.DNSName("2001:db8::1")),
        ("san_email", "a@Example.org", x509.RFC822Name("a@example.org"), x509.RFC822Name("A@example.org")),
    ],
)
async def test_alternative_names(w: World, member: str, value: str, right: Any, wrong: Any) -> None:
    """Section 2.1.2: RFC 8705 names four kinds besides the subject; each compares by its own rules, and never across kinds."""
    app = await w.app("san", tls_client_auth={member: value})
    other = x509.DNSName("other.example")
    assert (await w.token(app, w.leaf("x", names=[other, right]))).status_code == 200
    refused(await w.token(app, w.leaf("x", names=[other, wrong])))
    refused(await w.token(app, w.leaf(value)))


async def test_authorities(w: World) -> None:
    """An authority that the tenant does not trust vouches for nobody, whatever its name is."""
    namesake = authority("CA", w.now)
    refused(await w.token(w.c_mtls, w.leaf("c_mtls", namesake)))
    refused(await w.token(w.c_mtls, w.leaf("c_mtls", namesake), namesake))
    assert (await w.ww.call("POST", "/trust-anchors", {"pem": namesake.pem})).status_code == 201
    assert (await w.token(w.c_mtls, w.leaf("c_mtls", namesake))).status_code == 200
    assert (await w.token(w.c_mtls, w.certificate)).status_code == 200
    thumbprint = certificate_thumbprint(w.ca.der)
    assert (await w.ww.call("DELETE", f"/trust-anchors/{thumbprint}")).status_code == 204
    refused(await w.token(w.c_mtls, w.certificate))
    assert (await w.ww.call("DELETE", f"/trust-anchors/{thumbprint}")).status_code == 404
    seen = [event["event"] for event in (await w.ww.call("GET", "/audit")).json()["items"]]
    assert (seen.count("TrustAnchorAdded"), seen.count("TrustAnchorRemoved")) == (2, 1)


async def test_intermediates(w: World) -> None:
    """MTL-011: a path may have an intermediate when it comes along, and no longer than the authority allows."""
    between = authority("between", w.now, w.ca)
    assert (await w.token(w.c_mtls, w.leaf("c_mtls", between), between)).status_code == 200
    refused(await w.token(w.c_mtls, w.leaf("c_mtls", between)))
    short = authority("short", w.now, w.ca, path_length=0)
    below = authority("below", w.now, short)
    refused(await w.token(w.c_mtls, w.leaf("c_mtls", below), below, short))
    not_ca = w.leaf("not a CA")
    refused(await w.token(w.c_mtls, w.leaf("c_mtls", not_ca), not_ca))


@pytest.mark.parametrize(
    "wrong",
    [
        {"purposes": [ExtendedKeyUsageOID.SERVER_AUTH]},
        {"authority": True},
        {"signs": False},
        {"ends": -DAY / 2},
        {"begins": DAY},
        {"key": rsa.generate_private_key(65537, 1024)},
        {"key": ec.generate_private_key(ec.SECP224R1())},
    ],
    ids=["MTL-011 no clientAuth", "MTL-011 CA as leaf", "MTL-011 no digitalSignature", "expired",
         "not yet", "RSA 1024", "P-224"],
)  # fmt: skip
async def test_a_certificate_that_is_not_good(w: World, wrong: dict[str, Any]) -> None:
    """An authority's signature is not enough: a web server's, an expired or a weak certificate authenticates nobody."""
    refused(await w.token(w.c_mtls, w.leaf("c_mtls", **wrong)))


@pytest.mark.parametrize(
    "headers",
    [
        [("client-cert", "twice"), ("client-cert", "twice")],
        [("client-cert", ":" + "A" * 100_000 + ":")],
        [("client-cert", ":AAAA:")],
        [("client-cert", "-----BEGIN CERTIFICATE-----")],
        [("client-cert", "%2D%2D%2D")],
        [("client-cert", "{}")],
        [("client-cert-chain", "{}")],
        [("client-cert", ":"), ("client-cert-chain", ":")],
    ],
)
async def test_a_header_that_cannot_be_read(w: World, headers: list[tuple[str, str]]) -> None:
    """MTL-015: a proxy that is set up wrongly is refused like a wrong certificate, never with a 500."""
    good = w.certificate.rfc9440
    sent = [(name, good if value == "twice" else value.replace("{}", good[1:])) for name, value in headers]
    form = {"grant_type": "client_credentials", "client_id": w.c_mtls}
    refused(await w.ww.http.post(f"{ISSUER}/token", data=form, headers=sent))
    assert (await w.token(w.c_mtls, w.certificate)).status_code == 200


async def test_the_header_of_anybody_else(tmp_path: Path) -> None:
    """Who can reach the port could otherwise be any client by writing a header."""
    async with instance(tmp_path, client_cert_header="client-cert", trusted_proxies=("10.0.0.9",)) as ww:
        api, ca = await ww.api("https://rs1.example/", "a:read"), authority("CA", ww.clock.now)
        await ww.call("POST", "/trust-anchors", {"pem": ca.pem})
        more = {"auth_method": "tls_client_auth", "tls_client_auth": {"subject_dn": "CN=x"}}
        client_id = (await ww.application("x", api, "a:read", **more))["client_id"]
        headers = {"client-cert": issue(cn("x"), ww.clock.now, ca).rfc9440, "x-forwarded-for": "10.0.0.9"}
        form = {"grant_type": "client_credentials", "client_id": client_id}
        refused(await ww.http.post(f"{ISSUER}/token", data=form, headers=headers))


async def test_only_the_header_that_was_switched_on(w: World) -> None:
    """A proxy that sets one header passes the other one on from whoever wrote it."""
    refused(await w.token(w.c_mtls, headers={"x-forwarded-client-cert": w.certificate.envoy}))


async def test_envoys_header(tmp_path: Path) -> None:
    """Behind Envoy, or nginx with the same header, there would be no mutual TLS."""
    settings = {"client_cert_header": "x-forwarded-client-cert", "trusted_proxies": ("127.0.0.0/8",)}
    async with instance(tmp_path, **settings) as ww:
        api, ca = await ww.api("https://rs1.example/", "a:read"), authority("CA", ww.clock.now)
        await ww.call("POST", "/trust-anchors", {"pem": ca.pem})
        more = {"auth_method": "tls_client_auth", "tls_client_auth": {"subject_dn": "CN=x"}}
        client_id = (await ww.application("x", api, "a:read", **more))["client_id"]
        held = issue(cn("x"), ww.clock.now, ca)

        async def send(value: str) -> httpx.Response:
            form = {"grant_type": "client_credentials", "client_id": client_id}
            return await ww.http.post(f"{ISSUER}/token", data=form, headers={"x-forwarded-client-cert": value})

        envoy = f'By=spiffe://a;Hash=ab;{held.envoy};Subject="CN=\\"x\\",O=y";URI=;DNS=a;DNS=b'
        assert (await send(envoy)).status_code == 200
        assert (await send(held.envoy)).status_code == 200
        for wrong in (
            f"{held.envoy},{held.envoy}",
            f"{held.envoy};{held.envoy}",
            "Hash=ab",
            'Cert=""',
            "Cert=%ZZ",
            "x",
        ):
            refused(await send(wrong))


async def test_a_bound_token(w: World) -> None:
    """MTL-019: a renewed certificate gets tokens of its own; what becomes of a stolen one is in `test_mutual_tls_cases.py`."""
    assert (await w.ww.call("PATCH", f"/applications/{w.c_mtls}", {"require_bound": True})).status_code == 200
    first = claims_of(await w.token(w.c_mtls, w.certificate))
    assert first["cnf"] == {"x5t#S256": certificate_thumbprint(w.certificate.der)}
    renewed = w.leaf("c_mtls")
    second = claims_of(await w.token(w.c_mtls, renewed))
    assert second["cnf"] == {"x5t#S256": certificate_thumbprint(renewed.der)}
    assert second["cnf"] != first["cnf"]


@pytest.mark.parametrize("format", ["jwt", "opaque"])
async def test_an_api_that_wants_bound_tokens(w: World, format: str) -> None:
    """A secret's holder needs a certificate, too, before an API of this kind: else one thief of two would do."""
    wanted = {"identifier": "https://bound.example/", "name": "bound", "scopes": [{"name": "b:read"}]}
    wanted |= {"require_bound": True, "tokens": {"format": format}}
    api = (await w.ww.call("POST", "/apis", wanted)).json()
    assert api["require_bound"] is True
    caller = credentials_of(await w.ww.application("caller", api, "b:read"))
    bare = await w.ww.token(caller)
    assert (bare.status_code, bare.json()["error"]) == (400, "invalid_dpop_proof")
    form = {"grant_type": "client_credentials"}
    held = issue(cn("anybody"), w.now)
    answer = await w.ww.http.post(f"{ISSUER}/token", data=form, auth=caller, headers={"client-cert": held.rfc9440})
    assert answer.status_code == 200, answer.text
    await w.ww.call("PATCH", f"/apis/{api['api_id']}", {"introspectors": [caller[0]]})
    said = await w.ww.introspect(caller, answer.json()["access_token"])
    assert said["active"] is True
    assert said["cnf"] == {"x5t#S256": certificate_thumbprint(held.der)}


async def test_bound_tokens_at_our_own_doors(w: World) -> None:
    """The admin API is an API, too: a bound administrator's token that leaked would open it."""
    listed = (await w.ww.call("GET", "/apis")).json()["items"]
    admin = next(api for api in listed if api["identifier"] == "urn:watchword:admin")
    body = {"name": "bound admin", "auth_method": "tls_client_auth", "tls_client_auth": {"subject_dn": "CN=admin"}}
    body |= {
        "require_bound": True,
        "grants": [{"api_id": admin["api_id"], "scopes": ["apis:read", "tokens:introspect"]}],
    }
    client_id = (await w.ww.call("POST", "/applications", body)).json()["client_id"]
    held = w.leaf("admin")
    bearer = {"authorization": f"Bearer {(await w.token(client_id, held)).json()['access_token']}"}
    for shown, status in (
        ({"client-cert": held.rfc9440}, 200),
        ({}, 401),
        ({"client-cert": w.certificate.rfc9440}, 401),
    ):
        assert (await w.ww.http.get(f"{BASE}/api/v1/apis", headers={**bearer, **shown})).status_code == status
        asked = await w.ww.http.post(f"{ISSUER}/introspect", data={"token": "x"}, headers={**bearer, **shown})
        assert asked.status_code == status, asked.text


async def test_app_id_gives_no_unbound_token(w: World) -> None:
    """The second surface would otherwise be the way around the setting."""
    body = {"name": "c", "require_bound": True, "grants": [{"api_id": w.api["api_id"], "scopes": ["a:read"]}]}
    caller = credentials_of((await w.ww.call("POST", "/applications", body)).json())
    form = {"grant_type": "client_credentials"}
    answer = await w.ww.http.post(f"{BASE}/oauth/v4/default/token", data=form, auth=caller)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_one_method_for_one_application(w: World) -> None:
    """A certificate does not open an application of secrets, and a secret none of certificates."""
    secret = await w.ww.application("secret", w.api, "a:read")
    refused(await w.token(secret["client_id"], w.leaf(secret["client_id"])))
    answer = await w.ww.token((w.c_mtls, "wwsec_none"))
    assert answer.status_code == 401
    both = await w.token(w.c_mtls, w.certificate, form={"client_secret": "x"})
    refused(both)


async def test_a_secret_beside_a_certificate(w: World) -> None:
    """CAU-024: where every connection shows a certificate, those who have a secret would be locked out; it binds nothing
    that nobody asked to be bound.
    """
    caller = credentials_of(await w.ww.application("secret", w.api, "a:read"))
    form, shown = {"grant_type": "client_credentials"}, {"client-cert": w.certificate.rfc9440}
    answer = await w.ww.http.post(f"{ISSUER}/token", data=form, auth=caller, headers=shown)
    assert "cnf" not in claims_of(answer)


async def test_endpoint_aliases(tmp_path: Path, w: World) -> None:
    """MTL-020: a client would not find the endpoint that asks for its certificate, or be told of one that is not there."""
    document = (await w.ww.http.get(f"{ISSUER}/.well-known/oauth-authorization-server")).json()
    assert document["tls_client_certificate_bound_access_tokens"] is True
    assert {"tls_client_auth", "self_signed_tls_client_auth"} <= set(document["token_endpoint_auth_methods_supported"])
    assert "mtls_endpoint_aliases" not in document
    for name, settings in (("plain", {}), ("aliased", {"mtls_url": "https://mtls.id.example/"})):
        folder = tmp_path / name
        folder.mkdir()
        async with instance(folder, **settings) as ww:
            found = (await ww.http.get(f"{ISSUER}/.well-known/oauth-authorization-server")).json()
        if name == "plain":
            assert "tls_client_auth" not in found["token_endpoint_auth_methods_supported"]
            assert not {"mtls_endpoint_aliases", "tls_client_certificate_bound_access_tokens"} & found.keys()
        else:
            base = "https://mtls.id.example/t/default"
            assert found["token_endpoint"] == f"{ISSUER}/token"
            assert found["mtls_endpoint_aliases"] == {
                "token_endpoint": f"{base}/token",
                "introspection_endpoint": f"{base}/introspect",
                "revocation_endpoint": f"{base}/revoke",
                "enrolment_endpoint": f"{base}/enrol",
            }


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"auth_method": "tls_client_auth"}, "tls_client_auth"),
        ({"auth_method": "tls_client_auth", "tls_client_auth": {}}, "tls_client_auth"),
        ({"auth_method": "tls_client_auth", "tls_client_auth": {"san_dns": "a", "san_ip": "::1"}}, "tls_client_auth"),
        (
            {"auth_method": "tls_client_auth", "tls_client_auth": {"subject_dn": "no name"}},
            "tls_client_auth.subject_dn",
        ),
        ({"auth_method": "tls_client_auth", "tls_client_auth": {"san_ip": "x"}}, "tls_client_auth.san_ip"),
        ({"auth_method": "tls_client_auth", "tls_client_auth": {"san_dns": "*.a"}}, "tls_client_auth.san_dns"),
        ({"tls_client_auth": {"san_dns": "a"}}, "tls_client_auth"),
        ({"auth_method": "self_signed_tls_client_auth"}, "jwks"),
    ],
)
async def test_what_cannot_be_registered(w: World, body: dict[str, Any], field: str) -> None:
    """A registration that no certificate can fit, or that several can, is found by the operator and not by a caller."""
    answer = await w.ww.call("POST", "/applications", {"name": "x", **body})
    assert answer.status_code == 400, answer.text
    assert answer.json()["field"] == field


async def test_what_cannot_be_an_anchor(w: World) -> None:
    """A caller's certificate, or an expired authority, as an anchor would be a mistake that nobody notices."""
    old = issue(cn("old"), w.now, authority=True, begins=-9 * DAY, ends=-DAY)
    for pem in ("", "x", w.certificate.pem, old.pem, w.ca.pem + w.certificate.pem):
        answer = await w.ww.call("POST", "/trust-anchors", {"pem": pem})
        assert (answer.status_code, answer.json()["field"]) == (400, "pem")
    assert len((await w.ww.call("GET", "/trust-anchors")).json()["items"]) == 1


async def test_one_authority_for_one_application(w: World) -> None:
    """The holder of a certificate of any trusted CA could name any application (issue 13, B6)."""
    other = authority("other CA", w.now)
    assert (await w.ww.call("POST", "/trust-anchors", {"pem": other.pem})).status_code == 201
    ours, theirs = certificate_thumbprint(w.ca.der), certificate_thumbprint(other.der)
    bound = await w.app("bound", tls_client_auth={"subject_dn": "CN=bound", "anchor": ours})
    assert (await w.token(bound, w.leaf("bound"))).status_code == 200
    refused(await w.token(bound, w.leaf("bound", other)))
    assert (await w.token(w.c_mtls, w.leaf("c_mtls", other))).status_code == 200
    moved = {"tls_client_auth": {"subject_dn": "CN=bound", "anchor": theirs}}
    assert (await w.ww.call("PATCH", f"/applications/{bound}", moved)).json()["tls_client_auth"]["anchor"] == theirs
    refused(await w.token(bound, w.leaf("bound")))
    assert (await w.token(bound, w.leaf("bound", other))).status_code == 200
    assert (await w.ww.call("DELETE", f"/trust-anchors/{theirs}")).status_code == 204
    refused(await w.token(bound, w.leaf("bound", other)))
    assert (await w.ww.call("PATCH", f"/applications/{bound}", {"description": "later"})).status_code == 200
    for body in (moved, {"tls_client_auth": {"subject_dn": "CN=x", "anchor": "x"}}):
        unknown = {**body, "tls_client_auth": {**body["tls_client_auth"], "subject_dn": "CN=x"}}
        answer = await w.ww.call("PATCH", f"/applications/{bound}", unknown)
        assert (answer.status_code, answer.json()["field"]) == (400, "tls_client_auth.anchor"), answer.text
    alone = await w.ww.call("POST", "/applications", {
        "name": "x", "auth_method": "tls_client_auth", "tls_client_auth": {"anchor": ours},
    })  # fmt: skip
    assert alone.status_code == 400
