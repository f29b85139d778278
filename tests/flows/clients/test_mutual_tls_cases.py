"""The cases of `cases/mtl.yaml`, each over a real TLS handshake with `watchword serve`, on both databases.

What stands in a chain, in a name or in an extension reaches the application as OpenSSL passes it on; the tests of
`test_mutual_tls.py` hand it over in a header and see the finer shades.
"""

from __future__ import annotations

import base64
import json
import ssl
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from tests.conformance import tls
from tests.flows.callers.test_mutual_tls_client import api
from tests.support.certificates import Held, authority, cn, issue
from tests.support.postgres import Postgres
from tests.support.served import serving_tls

from watchword.jose.certificates import Certificate, certificate_thumbprint
from watchword.resource import Fetch, Issuer, Verifier

RS1 = "https://rs1.example/"
BAD = {"error": "invalid_client", "error_description": "client authentication failed"}


@dataclass
class Bank:
    """A listener that asks for certificates, and whoever calls it."""

    folder: Path
    database: str
    base: str
    ca: Held
    first: Held
    second: Held
    device: Held
    ids: dict[str, str]

    def context(self, *shown: Held) -> ssl.SSLContext:
        """Trusts the server; shows a leaf, and sends the others behind it."""
        context = ssl.create_default_context(cafile=str(self.folder / "dev-tls" / "ca.pem"))
        if shown:
            certificate, key = shown[0].files(self.folder, f"shown-{shown[0].certificate.serial_number:x}")
            Path(certificate).write_text("".join(held.pem for held in shown))
            context.load_cert_chain(certificate, key)
        return context

    def leaf(self, name: x509.Name | str, by: Held | None = None, **more: Any) -> Held:
        """Of the tenant's authority, unless another is named."""
        return issue(cn(name) if isinstance(name, str) else name, time.time(), by or self.ca, **more)

    def ask(self, name: str | None, *shown: Held, base: str = "", headers: Any = None) -> httpx.Response:
        """POST /token as an application of that name, over a connection that shows these certificates."""
        form = {"grant_type": "client_credentials"} | ({} if name is None else {"client_id": self.ids[name]})
        with httpx.Client(verify=self.context(*shown)) as http:
            return http.post(f"{base or self.base}/t/default/token", data=form, headers=headers)

    def no(self, name: str | None, *shown: Held, **more: Any) -> None:
        """401 invalid_client, and nothing in the log but that it was refused."""
        answer = self.ask(name, *shown, **more)
        assert (answer.status_code, answer.json()) == (401, BAD), answer.text
        assert answer.headers["cache-control"] == "no-store"
        assert "www-authenticate" not in answer.headers

    def no_handshake(self, name: str, *shown: Held) -> None:
        """OpenSSL refuses such a certificate before a byte of HTTP is read (decision 0032)."""
        with pytest.raises(httpx.TransportError, match=r"alert|reset|closed|disconnected|EOF|certificate"):
            self.ask(name, *shown)

    def token(self, name: str, *shown: Held) -> str:
        """A bound one, by the certificate that was shown."""
        answer = self.ask(name, *shown)
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["access_token"]
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        assert claims["sub"] == self.ids[name]
        assert claims["cnf"] == {"x5t#S256": certificate_thumbprint(shown[0].der)}
        return token


NAMES: dict[str, dict[str, str]] = {
    "c_mtls": {"subject_dn": "CN=c_mtls"},
    "c_mtls2": {"subject_dn": "CN=c_mtls2"},
    "spelled": {"subject_dn": r"CN=a\,b+OU=x,O=Acme"},
    "injected": {"subject_dn": "CN=a,O=b"},
}


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def bank(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    folder, now = tmp_path_factory.mktemp("mtl"), time.time()
    database = "sqlite:///watchword.db"
    if request.param == "postgres":
        postgres: Postgres = request.getfixturevalue("postgres")
        database = postgres.fresh_database()
    ca, device = authority("company CA", now), issue(cn("device"), now)
    (folder / "clients.pem").write_text(ca.pem + device.pem)
    with serving_tls(folder, "serve", "--client-ca", "clients.pem", "--database", database) as base:
        made = Bank(folder, database, base, ca, issue(cn("c_mtls"), now, ca), issue(cn("c_mtls2"), now, ca), device, {})
        _register(made)
        yield made


def _register(bank: Bank) -> None:
    admin = tomllib.loads((bank.folder / "profile.toml").read_text())
    with httpx.Client(verify=bank.context(), base_url=bank.base) as http:
        form = {"grant_type": "client_credentials", "resource": "urn:watchword:admin"}
        credentials = (admin["client_id"], admin["client_secret"])
        given = http.post("/t/default/token", data=form, auth=credentials).json()["access_token"]

        def post(path: str, body: Any) -> Any:
            answer = http.post(f"/api/v1{path}", json=body, headers={"authorization": f"Bearer {given}"})
            assert answer.status_code == 201, answer.text
            return answer.json()

        post("/trust-anchors", {"pem": bank.ca.pem})
        made = post("/apis", {"identifier": RS1, "name": "rs1", "scopes": [{"name": "a:read"}], "require_bound": True})
        grants = [{"api_id": made["api_id"], "scopes": ["a:read"]}]
        for name, named in NAMES.items():
            wanted = {"name": name, "auth_method": "tls_client_auth", "tls_client_auth": named, "grants": grants}
            bank.ids[name] = post("/applications", wanted)["client_id"]
        keys = {"keys": [Certificate(bank.device.der).to_jwk()]}
        wanted = {"name": "c_self", "auth_method": "self_signed_tls_client_auth", "jwks": keys, "grants": grants}
        bank.ids["c_self"] = post("/applications", wanted)["client_id"]


def test_mtl_002_self_signed(bank: Bank) -> None:
    """MTL-002: a device without a PKI would have no way in."""
    bank.token("c_self", bank.device)


def test_mtl_003_no_certificate(bank: Bank) -> None:
    """MTL-003: a client id is no secret; alone it would be enough."""
    bank.no("c_mtls")
    bank.no("c_self")


def test_mtl_004_no_client_id(bank: Bank) -> None:
    """MTL-004: who it is would be guessed from a certificate, and one certificate be several clients."""
    bank.no(None, bank.first)


def test_mtl_005_another_clients_certificate(bank: Bank) -> None:
    """MTL-005: everybody with a certificate of the company would be every client."""
    bank.no("c_mtls", bank.second)
    bank.no("c_self", bank.first)
    bank.no("c_mtls", bank.device)
    bank.token("c_mtls2", bank.second)


def test_mtl_006_spellings_of_a_name(bank: Bank) -> None:
    """MTL-006: a name written another way would lock its owner out; one that only prints alike would let in."""
    attribute, kinds = x509.NameAttribute, x509.name._ASN1Type
    for kind in (kinds.UTF8String, kinds.PrintableString):
        parts = [attribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "x", kind), attribute(NameOID.COMMON_NAME, "a,b", kind)]
        acme = x509.RelativeDistinguishedName([attribute(NameOID.ORGANIZATION_NAME, "Acme", kind)])
        bank.token("spelled", bank.leaf(x509.Name([acme, x509.RelativeDistinguishedName(parts)])))
        bank.no("spelled", bank.leaf(x509.Name([x509.RelativeDistinguishedName(parts), acme])))
    bank.no("injected", bank.leaf("a,O=b"))
    bank.no("c_mtls", bank.leaf("C_MTLS"))


def test_mtl_009_the_victims_certificate_in_the_chain(bank: Bank) -> None:
    """MTL-009: a certificate is public; whoever sends another's behind his own would be the other (CVE-2023-2422)."""
    bank.no("c_mtls", bank.second, bank.first)
    bank.token("c_mtls2", bank.second, bank.first)


def test_mtl_011_not_a_clients_certificate(bank: Bank) -> None:
    """MTL-011: a web server's certificate, an authority's, or a path that its authority forbids would be a client's."""
    between = authority("between", time.time(), bank.ca)
    bank.no("c_mtls", bank.leaf("c_mtls", between), between)  # our listener hands on the leaf alone (decision 0032)
    bank.no_handshake("c_mtls", bank.leaf("c_mtls", purposes=[ExtendedKeyUsageOID.SERVER_AUTH]))
    short = authority("short", time.time(), bank.ca, path_length=0)
    below = authority("below", time.time(), short)
    bank.no_handshake("c_mtls", bank.leaf("c_mtls", below), below, short)
    not_ca = bank.leaf("not a CA")
    bank.no_handshake("c_mtls", bank.leaf("c_mtls", not_ca), not_ca)
    bank.no_handshake("c_mtls", bank.leaf("c_mtls", authority=True))


def test_mtl_012_a_certificate_that_is_not_registered(bank: Bank) -> None:
    """MTL-012: anybody can sign a certificate of that name for himself."""
    bank.no_handshake("c_self", issue(cn("device"), time.time()))
    bank.no("c_self", bank.leaf("device"))


def test_mtl_015_a_header_that_cannot_be_read(bank: Bank) -> None:
    """MTL-015: a proxy that is set up wrongly would meet a 500, or a parser that guesses."""
    good = bank.first.rfc9440
    flags = ("--client-cert-header", "client-cert", "--trusted-proxy", "127.0.0.1", "--database", bank.database)
    with serving_tls(bank.folder, "behind", *flags) as behind:
        assert bank.ask("c_mtls", base=behind, headers={"client-cert": good}).status_code == 200
        for wrong in (
            [("client-cert", good), ("client-cert", good)],
            [("client-cert", ":" + "A" * 100_000 + ":")],
            [("client-cert", "-----BEGIN CERTIFICATE-----")],
            [("client-cert", good.replace(":", "%3A"))],
            [("client-cert-chain", good)],
        ):
            answer = bank.ask("c_mtls", base=behind, headers=wrong)
            assert answer.status_code in ({401, 431} if len(wrong[0][1]) > 65_536 else {401}), answer.text
            assert "access_token" not in answer.text
    bank.no("c_mtls", headers={"client-cert": good})  # no proxy is trusted here: nobody reads it
    bank.no("c_mtls", bank.second, headers={"client-cert": good})


@pytest.fixture(scope="module")
def resource(bank: Bank) -> Iterator[str]:
    """An API with a listener of its own, which takes bound tokens only; its URL."""
    keys = httpx.get(f"{bank.base}/t/default/jwks", verify=bank.context()).json()
    judge = Verifier(
        Issuer(f"{bank.base}/t/default", jwks_uri=f"{bank.base}/t/default/jwks"),
        audience=RS1,
        require_bound=True,
        fetch=Fetch(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=keys))),
    )
    with api(bank.folder, str(bank.folder / "clients.pem"), judge) as url:
        yield url


def called(bank: Bank, url: str, token: str, *shown: Held) -> int:
    """What the API says: 401 is the verifier's `TokenInvalid`."""
    bearer = {"authorization": f"Bearer {token}"}
    return httpx.get(url, headers=bearer, verify=bank.context(*shown)).status_code


def test_mtl_016_another_certificate_at_the_resource(bank: Bank, resource: str) -> None:
    """MTL-016: a stolen token would be good for whoever has any certificate."""
    token = bank.token("c_mtls", bank.first)
    assert called(bank, resource, token, bank.first) == 200
    for other in (bank.second, bank.device):
        assert called(bank, resource, token, other) == 401
    assert called(bank, resource, token, bank.first) == 200


def test_mtl_017_no_certificate_at_the_resource(bank: Bank, resource: str) -> None:
    """MTL-017: a stolen token would be good for whoever shows nothing at all."""
    assert called(bank, resource, bank.token("c_mtls", bank.first)) == 401


def test_mtl_019_a_renewed_certificate(bank: Bank, resource: str) -> None:
    """MTL-019: a renewal would be an outage, or an old token be good with the new certificate."""
    renewed = bank.leaf("c_mtls")
    old, new = bank.token("c_mtls", bank.first), bank.token("c_mtls", renewed)
    assert called(bank, resource, new, renewed) == 200
    assert called(bank, resource, new, bank.first) == 401
    assert called(bank, resource, old, renewed) == 401
    assert called(bank, resource, old, bank.first) == 200


def test_mtl_020_aliases(bank: Bank) -> None:
    """MTL-020: a browser or a secret's holder would be asked for a certificate that it does not have."""
    flags = ("--mtls-url", bank.base, "--database", bank.database)
    with serving_tls(bank.folder, "plain", *flags) as plain:
        place = f"{plain}/t/default/.well-known/oauth-authorization-server"
        told = httpx.get(place, verify=bank.context()).json()
        assert told["token_endpoint"] == f"{plain}/t/default/token"
        alias = told["mtls_endpoint_aliases"]["token_endpoint"]
        assert alias == f"{bank.base}/t/default/token"
        bank.no("c_mtls", bank.first, base=plain)  # it is not asked for there, and so not shown


def test_mtl_021_the_floor(bank: Bank) -> None:
    """MTL-021: a version or suite that is on offer is one that an attacker talks both sides into."""
    tls.check(bank.base)
