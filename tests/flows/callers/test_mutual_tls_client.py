"""The client library by mutual TLS, against `watchword serve` and an API that knows the caller by its certificate."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import aiohttp
import httpx
import pytest
import requests
from tests.flows.serving.test_mutual_tls_listener import ran
from tests.support.certificates import Held, authority, cn, issue
from tests.support.served import free_port, serving_tls

from watchword.client import ClientCertificate, ClientCredentials, SecretMissing
from watchword.resource import Fetch, Issuer, TokenInvalid, Verifier


@contextmanager
def api(folder: Path, trusted: str, judge: Verifier) -> Iterator[str]:
    """https, by the same development certificate; 200 for a token and the certificate that it is bound to."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown = self.connection.getpeercert(binary_form=True)  # type: ignore[attr-defined]
            try:
                judge.verify(self.headers["Authorization"].removeprefix("Bearer "), certificate=shown)
                self.send_response(200)
            except TokenInvalid:
                self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing is said."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "dev-tls" / "server.pem", folder / "dev-tls" / "server.key")
    context.load_verify_locations(trusted)
    context.verify_mode = ssl.CERT_OPTIONAL
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_caller_with_a_certificate(tmp_path: Path) -> None:
    """MTL-019, MTL-020: the token endpoint is found by its alias, every library shows the certificate, a renewal too."""
    folder, now = tmp_path, time.time()
    ca = authority("company CA", now)
    (folder / "clients.pem").write_text(ca.pem)

    def install(held: Held) -> None:
        held.files(folder, "client")

    install(issue(cn("caller"), now, ca))
    port = free_port()
    public = f"https://127.0.0.1:{port}"
    with (
        serving_tls(folder, "mtls", "--client-ca", "clients.pem", "--public-url", public) as mtls,
        serving_tls(folder, "plain", "--mtls-url", mtls, port=port) as base,
    ):
        trusted = str(folder / "dev-tls" / "ca.pem")
        ran(folder, "tenant", "anchors", "add", "clients.pem")
        ran(folder, "api", "create", "https://rs1.example/", "--scope", "a:read", "--require-bound")
        made = ran(folder, "app", "create", "caller", "--auth", "tls_client_auth", "--dn", "CN=caller",
                   "--grant", "https://rs1.example/=a:read")  # fmt: skip
        certificate = ClientCertificate(folder / "client.pem", folder / "client.key", ca_file=trusted)
        issuer = f"{base}/t/default"
        auth = ClientCredentials(issuer, made["client_id"], certificate, resource="https://rs1.example/")
        trusting = ssl.create_default_context(cafile=trusted)
        keys = httpx.get(f"{issuer}/jwks", verify=trusting).json()
        judge = Verifier(
            Issuer(issuer, jwks_uri=f"{issuer}/jwks"),
            audience="https://rs1.example/",
            fetch=Fetch(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=keys))),
        )
        with api(folder, str(folder / "clients.pem"), judge) as url:
            with httpx.Client(auth=auth, verify=certificate.ssl_context()) as client:
                assert client.get(url).status_code == 200
            with requests.Session() as session:
                session.mount("https://", certificate.for_requests())
                assert session.get(url, auth=auth.for_requests(), timeout=10).status_code == 200
            assert asyncio.run(by_aiohttp(auth, certificate, url)) == 200
            with httpx.Client(auth=auth, verify=trusting) as client:
                assert client.get(url).status_code == 401  # the token without its certificate

            before = auth.token().value
            install(issue(cn("caller"), now, ca))
            with httpx.Client(auth=auth, verify=certificate.ssl_context()) as client:
                assert client.get(url).status_code == 200
            assert auth.token().value != before


async def by_aiohttp(auth: ClientCredentials, certificate: ClientCertificate, url: str) -> int:
    connector = aiohttp.TCPConnector(ssl=certificate.ssl_context())
    async with aiohttp.ClientSession(connector=connector, middlewares=[auth.for_aiohttp(url)]) as session:
        return (await session.get(url)).status


def test_files_that_are_not_there(tmp_path: Path) -> None:
    """The caller is told which file, and not that OpenSSL failed."""
    with pytest.raises(SecretMissing, match=r"client\.pem"):
        ClientCertificate(tmp_path / "client.pem", tmp_path / "client.key").ssl_context()
    held, other = issue(cn("a"), time.time()), issue(cn("b"), time.time())
    certificate, _ = held.files(tmp_path, "a")
    _, key = other.files(tmp_path, "b")
    with pytest.raises(SecretMissing):
        ClientCertificate(certificate, key).ssl_context()


def test_half_a_renewal(tmp_path: Path) -> None:
    """Between the new certificate and its key a connection still needs a pair that fits."""
    now = time.time()
    held = issue(cn("a"), now)
    certificate, key = held.files(tmp_path, "a")
    context = ClientCertificate(certificate, key).ssl_context()
    Path(certificate).write_text(issue(cn("a"), now).pem)
    assert context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="x") is not None
