"""What is tested: `watchword serve` with a tenant in the profile `fapi2`, and an API of `watchword.resource`, over TLS."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
import tomllib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import product
from pathlib import Path
from typing import Any, Literal

import httpx
import uvicorn
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.adapters.pages import wait_for
from tests.support.assertions import jwks
from tests.support.certificates import Held, authority, cn, issue
from tests.support.served import COMMAND, environment, free_port

from watchword.jose import Algorithm, PrivateKey
from watchword.jose.certificates import Certificate
from watchword.resource import Dpop, Fetch, Verifier
from watchword.resource.asgi import RequireToken
from watchword.server.serving.listener import Certificates, Listener

AUDIENCE = "https://rs1.example/"
Auth = Literal["private_key_jwt", "mtls"]
Constrain = Literal["dpop", "mtls"]
Variant = tuple[Auth, Constrain]
VARIANTS: list[Variant] = list(product(("private_key_jwt", "mtls"), ("dpop", "mtls")))
SELF_SIGNED = "mtls-mtls-2"
"""The client whose certificate no authority signed; all others of `mtls` have one of the tenant's."""


@dataclass(frozen=True)
class Client:
    """A client of the suite's configuration."""

    client_id: str
    method: str
    key: PrivateKey
    held: Held
    dpop: PrivateKey
    context: ssl.SSLContext
    """Trusts the servers, and shows this client's certificate."""


@dataclass(frozen=True)
class Subject:
    """Where everything is."""

    folder: Path
    issuer: str
    api: str
    plain: ssl.SSLContext
    """Trusts the servers, and shows no certificate."""
    clients: dict[Variant, tuple[Client, Client]]
    """Two for each variant."""
    admin_id: str
    """The tenant's administrator, whose certificate and key are `admin.pem` and `admin.key` in the folder."""


@contextmanager
def subject(folder: Path) -> Iterator[Subject]:
    """Set up as docs/fapi2.md says, until the end of the block."""
    now = time.time()
    server_ca, client_ca = authority("servers", now), authority("Bank CA", now)
    (folder / "servers.pem").write_text(server_ca.pem)
    here: list[x509.GeneralName] = [x509.IPAddress(ip_address("127.0.0.1"))]
    tls = issue(cn("127.0.0.1"), now, server_ca, names=here, purposes=[ExtendedKeyUsageOID.SERVER_AUTH])
    certificate, key = tls.files(folder, "server")
    device = issue(cn("device"), now)
    (folder / "clients.pem").write_text(client_ca.pem + device.pem)
    port, log = free_port(), folder / "serve.log"
    given = ["--tls-cert", certificate, "--tls-key", key, "--client-ca", "clients.pem"]
    with log.open("w") as said:
        command = [*COMMAND, "serve", "--port", str(port), *given]
        child = subprocess.Popen(command, cwd=folder, env=environment(folder), stdout=said, stderr=said)
    try:
        wait_for(port, child, log)
        base, plain = f"https://127.0.0.1:{port}", _trusting(folder)
        clients, admin_id = _registered(folder, base, client_ca, device)
        with _api(folder, f"{base}/t/bank", certificate, key) as api:
            yield Subject(folder, f"{base}/t/bank", api, plain, clients, admin_id)
    finally:
        child.terminate()
        child.wait(15)


def _trusting(folder: Path, held: Held | None = None, name: str = "") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "servers.pem"))
    if held is not None:
        context.load_cert_chain(*held.files(folder, name))
    return context


def _registered(folder: Path, base: str, ca: Held, device: Held) -> tuple[dict[Variant, tuple[Client, Client]], str]:
    """A tenant with two clients a method; its administrator has a certificate, and the one with the secret goes."""
    first = tomllib.loads((folder / "profile.toml").read_text())
    issuer, now = f"{base}/t/bank", time.time()
    admin_form = {"grant_type": "client_credentials", "resource": "urn:watchword:admin"}

    def make(name: str, method: str, held: Held, about: dict[str, Any], grants: list[Any]) -> Client:
        wanted = {"name": name, "auth_method": method, "grants": grants, **about}
        made = _ok(http.post(f"{base}/api/v1/applications", json=wanted, headers=bearer))
        context = _trusting(folder, held, name)
        return Client(made["client_id"], method, keys[name], held, PrivateKey.generate(Algorithm.PS256), context)

    with httpx.Client(verify=_trusting(folder)) as http:

        def token(of: str, client_id: str, secret: str) -> dict[str, str]:
            answer = _ok(http.post(f"{base}/t/{of}/token", data=admin_form, auth=(client_id, secret)))
            return {"authorization": f"Bearer {answer['access_token']}"}

        operator = token("default", first["client_id"], first["client_secret"])
        bank = _ok(http.post(f"{base}/api/v1/tenants", json={"slug": "bank", "name": "Bank"}, headers=operator))
        bearer = token("bank", bank["client_id"], bank["client_secret"])
        _ok(http.post(f"{base}/api/v1/trust-anchors", json={"pem": ca.pem}, headers=bearer))
        wanted = {"identifier": AUDIENCE, "name": "rs1", "scopes": [{"name": "a:read"}]}
        api = _ok(http.post(f"{base}/api/v1/apis", json=wanted, headers=bearer))
        grants = [{"api_id": api["api_id"], "scopes": ["a:read"]}]
        listed = _ok(http.get(f"{base}/api/v1/apis", headers=bearer))["items"]
        own = next(one for one in listed if one["identifier"] == "urn:watchword:admin")
        everything = [{"api_id": own["api_id"], "scopes": [scope["name"] for scope in own["scopes"]]}]
        names = [f"{auth}-{constrain}-{n}" for auth, constrain in VARIANTS for n in (1, 2)]
        keys = {name: PrivateKey.generate(Algorithm.PS256) for name in (*names, "admin")}
        held = {name: issue(cn(name), now, ca) for name in keys} | {SELF_SIGNED: device}
        found: dict[str, Client] = {}
        for name in names:
            auth, constrain, _ = name.split("-")
            about: dict[str, Any] = {"require_dpop": constrain == "dpop"}
            method = "private_key_jwt" if auth == "private_key_jwt" else "tls_client_auth"
            if name == SELF_SIGNED:
                method = "self_signed_tls_client_auth"
                about["jwks"] = {"keys": [Certificate(device.der).to_jwk()]}
            elif auth == "mtls":
                about["tls_client_auth"] = {"subject_dn": f"CN={name}"}
            else:
                about["jwks"] = jwks(keys[name])
            found[name] = make(name, method, held[name], about, grants)
        by_name = {"tls_client_auth": {"subject_dn": "CN=admin"}}
        admin = make("admin", "tls_client_auth", held["admin"], by_name, everything)
        with httpx.Client(verify=admin.context) as by_certificate:
            answer = _ok(by_certificate.post(f"{issuer}/token", data={**admin_form, "client_id": admin.client_id}))
            bearer = {"authorization": f"Bearer {answer['access_token']}"}
            gone = by_certificate.delete(f"{base}/api/v1/applications/{bank['client_id']}", headers=bearer)
            assert gone.status_code == 204, gone.text
        _ok(http.patch(f"{base}/api/v1/tenants/bank", json={"profile": "fapi2"}, headers=operator))
    pairs = {pair: (found[f"{pair[0]}-{pair[1]}-1"], found[f"{pair[0]}-{pair[1]}-2"]) for pair in VARIANTS}
    return pairs, admin.client_id


def _ok(answer: httpx.Response) -> dict[str, Any]:
    assert answer.is_success, answer.text
    return dict(answer.json())


@contextmanager
def _api(folder: Path, issuer: str, certificate: str, key: str) -> Iterator[str]:
    """An API that takes bound tokens only, and asks for certificates; its URL."""
    port = free_port()
    base = f"https://127.0.0.1:{port}"
    verifier = Verifier(
        issuer,
        audience=AUDIENCE,
        dpop=Dpop(base_url=base),
        require_bound=True,
        fetch=Fetch(transport=_Trusting(folder)),
    )

    async def accounts(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"[]"})

    config = uvicorn.Config(
        RequireToken(accounts, verifier, scope="a:read"), port=port, lifespan="off", log_config=None, ws="none",
        http=Listener(Certificates(certificate, key, str(folder / "clients.pem"))),  # type: ignore[arg-type]
        loop="asyncio",
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for_thread(port, thread)
        yield f"{base}/accounts"
    finally:
        server.should_exit = True
        thread.join()


class _Trusting(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """The network, trusting the servers' authority; a connection a request."""

    def __init__(self, folder: Path) -> None:
        self._context = _trusting(folder)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        async with httpx.AsyncClient(verify=self._context) as client:
            answer = await client.send(httpx.Request(request.method, request.url))
            return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


def wait_for_thread(port: int, thread: threading.Thread) -> None:
    """Until somebody listens."""
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            thread.join(0.05)
            assert thread.is_alive(), "the API ended"
    raise AssertionError("the API does not listen")


def fresh() -> str:
    """A `jti`."""
    return str(uuid.uuid4())
