"""Mutual TLS as a TLS client meets it: `watchword serve --client-ca` on a real socket, curl and openssl as callers."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.certificates import Held, authority, cn, issue
from tests.support.served import serving_tls, watchword

from watchword.jose.certificates import Certificate, certificate_thumbprint


@dataclass
class Served:
    """A listener that asks for certificates, a PKI client and a self-signed one."""

    folder: Path
    base: str
    ca: Held
    client: Held
    device: Held
    client_id: str
    device_id: str

    def curl(self, client_id: str, *more: str) -> tuple[int, dict[str, Any], int]:
        """Status, JSON body and exit code of `curl`."""
        command = ["curl", "-s", "--cacert", str(self.folder / "dev-tls" / "ca.pem"), "-w", "\n%{http_code}", *more]
        command += ["-d", f"grant_type=client_credentials&client_id={client_id}", f"{self.base}/t/default/token"]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        body, _, status = ran.stdout.rpartition("\n")
        return int(status), json.loads(body or "{}"), ran.returncode

    def showing(self, held: Held, name: str) -> list[str]:
        """curl's options for a certificate."""
        certificate, key = held.files(self.folder, name)
        return ["--cert", certificate, "--key", key]


def ran(folder: Path, *arguments: str) -> dict[str, Any]:
    done = watchword(folder, *arguments, "--json", SSL_CERT_FILE=str(folder / "dev-tls" / "ca.pem"))
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The operator's way, from the command line."""
    folder, now = tmp_path_factory.mktemp("mtls"), time.time()
    ca = authority("company CA", now)
    client, device = issue(cn("c_mtls"), now, ca), issue(cn("device"), now)
    (folder / "clients.pem").write_text(ca.pem + device.pem)
    (folder / "ca.pem").write_text(ca.pem)
    (folder / "device.pem").write_text(device.pem)
    with serving_tls(folder, "serve", "--client-ca", "clients.pem") as base:
        ran(folder, "tenant", "anchors", "add", "ca.pem")
        ran(folder, "api", "create", "https://rs1.example/", "--scope", "a:read")
        granted = ("--grant", "https://rs1.example/=a:read", "--require-bound")
        made = ran(folder, "app", "create", "c_mtls", "--auth", "tls_client_auth", "--dn", "CN=c_mtls", *granted)
        self_signed = ("--auth", "self_signed_tls_client_auth", "--certificate", "device.pem")
        own = ran(folder, "app", "create", "device", *self_signed, *granted)
        yield Served(folder, base, ca, client, device, made["client_id"], own["client_id"])


def test_a_token_over_real_tls(served: Served) -> None:
    """MTL-002: both methods from curl; the certificate of the handshake is the one that the token names."""
    for held, name, client_id in ((served.client, "c", served.client_id), (served.device, "d", served.device_id)):
        status, body, _ = served.curl(client_id, *served.showing(held, name))
        assert status == 200, body
        payload = body["access_token"].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        assert claims["cnf"] == {"x5t#S256": certificate_thumbprint(held.der)}


def test_refused_over_real_tls(served: Served) -> None:
    """MTL-003, MTL-005, MTL-012: whoever gets through the handshake and is not the client is told so in HTTP."""
    now = time.time()
    shown = served.showing(served.client, "c")
    expired = issue(cn("c_mtls"), now - 90 * 86_400, served.ca)
    assert served.curl(served.client_id)[0] == 401
    assert served.curl(served.device_id, *shown)[0] == 401
    assert served.curl(served.client_id, *served.showing(served.device, "d"))[0] == 401
    assert served.curl(served.client_id, *served.showing(issue(cn("other"), now, served.ca), "o"))[0] == 401
    assert served.curl(served.client_id, *served.showing(expired, "e"))[:2] == (
        401,
        {"error": "invalid_client", "error_description": "client authentication failed"},
    )
    stranger = issue(cn("c_mtls"), now, authority("company CA", now))
    status, _, left = served.curl(served.client_id, *served.showing(stranger, "s"))
    assert (status, left != 0) == (0, True)  # nobody in --client-ca vouches for it: a TLS alert
    assert served.curl(served.client_id, *shown)[0] == 200


@pytest.mark.parametrize(
    ("options", "accepted"),
    [
        (["-tls1"], False),
        (["-tls1_1"], False),
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES128-SHA256:AES128-SHA"], False),
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], True),
        (["-tls1_3"], True),
        ([], True),
    ],
)
def test_the_floor(served: Served, options: list[str], accepted: bool) -> None:
    """MTL-021: an old version or a CBC suite that is on offer is one that an attacker talks both sides into."""
    address = served.base.removeprefix("https://")
    command = ["openssl", "s_client", "-connect", address, "-brief", *options]
    said = subprocess.run(command, input="", capture_output=True, text=True, check=False)
    assert ("CONNECTION ESTABLISHED" in said.stderr) is accepted, said.stderr
    if not options:
        assert "TLSv1.3" in said.stderr


def test_required_and_the_plain_listener(served: Served) -> None:
    """MTL-020: where certificates are required nobody talks without one; the plain listener asks nobody for one."""
    trusting = ssl.create_default_context(cafile=str(served.folder / "dev-tls" / "ca.pem"))
    with serving_tls(served.folder, "required", "--client-ca", "clients.pem", "--client-cert", "required") as base:
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"{base}/health/live", verify=trusting)
        certificate, key = served.client.files(served.folder, "c")
        trusting.load_cert_chain(certificate, key)
        assert httpx.get(f"{base}/health/live", verify=trusting).status_code == 200
    with serving_tls(served.folder, "plain", "--mtls-url", served.base) as base:
        address = base.removeprefix("https://")
        said = subprocess.run(
            ["openssl", "s_client", "-connect", address], input="", capture_output=True, text=True, check=False
        )
        assert "No client certificate CA names sent" in said.stdout
        assert "Requested Signature Algorithms" not in said.stdout
        found = httpx.get(f"{base}/t/default/.well-known/oauth-authorization-server", verify=trusting).json()
        assert found["mtls_endpoint_aliases"]["token_endpoint"] == f"{served.base}/t/default/token"


def test_the_certificate_command_registers_what_is_in_the_file(served: Served) -> None:
    """A fingerprint that is typed by hand is one that is typed wrongly."""
    shown = ran(served.folder, "app", "show", served.device_id)
    assert shown["jwks"]["keys"][0]["x5t#S256"] == Certificate(served.device.der).thumbprint
    assert [anchor["subject"] for anchor in ran_list(served.folder)] == ["CN=company CA"]


def ran_list(folder: Path) -> list[dict[str, Any]]:
    trusted = str(folder / "dev-tls" / "ca.pem")
    done = watchword(folder, "tenant", "anchors", "list", "--json", SSL_CERT_FILE=trusted)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


@pytest.mark.parametrize(
    "arguments",
    [
        ("--client-ca", "x.pem"),
        ("--dev-tls", "--client-cert", "required"),
        ("--client-cert-header", "client-cert"),
        ("--client-cert-header", "client-cert", "--trusted-proxy", "*"),
        ("--client-cert-header", "x-ssl-cert", "--trusted-proxy", "127.0.0.1"),
        ("--mtls-url", "http://mtls.id.example"),
    ],
)
def test_settings_that_would_not_hold(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """A listener that asks for nothing, or a header that anybody may write, looks like mutual TLS and is none."""
    refused = watchword(tmp_path, "serve", *arguments)
    assert refused.returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_doctor(served: Served) -> None:
    """An operator who set up anchors and no listener would wait for tokens that nobody can get."""
    reach = {"WATCHWORD_CLIENT_CERT_HEADER": "client-cert", "WATCHWORD_TRUSTED_PROXIES": "127.0.0.1"}
    for settings, good in (({}, False), (reach, True)):
        done = watchword(served.folder, "doctor", "--json", **settings)
        found = {check["check"]: check for check in json.loads(done.stdout)}
        assert found["trust anchors"]["good"] is good, found
        assert (done.returncode == 0) is good
