"""One Watchword for all brokers: a real server on https, with a clock that tests move.

It runs in a thread of this process and not as `watchword serve`, because the shortest token lives a minute: an
expired one, or one that expires in three seconds, is asked for while the server's clock is behind.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from tests.flows.cli.test_command_line import COMMAND, environment, free_port

from watchword.client import ClientCredentials, Network
from watchword.jose.development_ca import development_certificate
from watchword.server.app import Application, initialise
from watchword.server.composition.foundation import World
from watchword.server.config import Settings

ADMIN_API = "urn:watchword:admin"
LIFETIME = 60


@dataclass(frozen=True)
class Registered:
    """An application that was made for a test."""

    client_id: str
    secret: str
    audience: str


class Issuer:
    """What tests ask of the server, as an operator and as its applications would."""

    def __init__(self, url: str, folder: Path, ca: Path, admin: tuple[str, str]) -> None:
        self.url, self.folder, self.ca, self.admin = url, folder, ca, admin
        self.offset = 0.0
        self.trust = ssl.create_default_context(cafile=str(ca))
        self.http = httpx.Client(verify=self.trust, timeout=20)
        self.apis: dict[str, str] = {}

    def clock(self) -> float:
        """The server's idea of now."""
        return time.time() + self.offset

    def api(self, identifier: str, *scopes: str, **body: Any) -> None:
        """Define an API."""
        tokens = {"lifetime": LIFETIME, **body.pop("tokens", {})}
        listed = [{"name": scope} for scope in scopes]
        made = self._call(
            "POST", "/apis", {"identifier": identifier, "name": identifier, "scopes": listed, "tokens": tokens, **body}
        )
        self.apis[identifier] = made["api_id"]

    def may_introspect(self, identifier: str, client_id: str) -> None:
        """Let an application introspect tokens for an API."""
        self._call("PATCH", f"/apis/{self.apis[identifier]}", {"introspectors": [client_id]})

    def application(self, identifier: str, *scopes: str, **body: Any) -> Registered:
        """Register an application with one grant."""
        grants = [{"api_id": self.apis[identifier], "scopes": scopes}]
        made = self._call("POST", "/applications", {"name": "a test's", "kind": "device", "grants": grants, **body})
        return Registered(made["client_id"], made["client_secret"], identifier)

    def disable(self, app: Registered) -> None:
        """No more tokens for it."""
        self._call("PATCH", f"/applications/{app.client_id}", {"enabled": False})

    def token(self, app: Registered, scope: str | None = None, *, lives: float = LIFETIME) -> str:
        """A token that expires in `lives` seconds: the server's clock is moved while it is issued."""
        self.offset = lives - LIFETIME
        try:
            form = {"grant_type": "client_credentials", "audience": app.audience, **({"scope": scope} if scope else {})}
            answer = self.http.post(f"{self.url}/token", data=form, auth=(app.client_id, app.secret))
        finally:
            self.offset = 0.0
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def revoke(self, app: Registered, token: str) -> None:
        """RFC 7009."""
        done = self.http.post(f"{self.url}/revoke", data={"token": token}, auth=(app.client_id, app.secret))
        assert done.status_code == 200, done.text

    def credentials(self, app: Registered, *, loop: bool = False) -> ClientCredentials:
        """Our client library, as the application uses it; for threads or for an event loop."""
        transport = httpx.AsyncHTTPTransport(verify=self.trust) if loop else httpx.HTTPTransport(verify=self.trust)
        return ClientCredentials(
            self.url, app.client_id, app.secret, audience=app.audience, network=Network(transport=transport)
        )

    def watchword(self, *arguments: str) -> str:
        """One command to its end; what it printed."""
        settings = {"SSL_CERT_FILE": str(self.ca)}
        done = subprocess.run(
            [*COMMAND, *arguments, "--issuer", self.url], cwd=self.folder, env=environment(self.folder, **settings),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _call(self, method: str, path: str, body: Any) -> Any:
        form = {"grant_type": "client_credentials", "resource": ADMIN_API}
        token = self.http.post(f"{self.url}/token", data=form, auth=self.admin).json()["access_token"]
        base = self.url.rpartition("/t/")[0]
        header = {"authorization": f"Bearer {token}"}
        answer = self.http.request(method, f"{base}/api/v1{path}", json=body, headers=header)
        assert answer.is_success, answer.text
        return answer.json()


@contextmanager
def issuer(folder: Path) -> Iterator[Issuer]:
    """The server until the end of the session."""
    port = free_port()
    base = f"https://localhost:{port}"
    ca, certificate, key = development_certificate(folder / "dev-tls", time.time())
    settings = Settings(
        port=port, public_url=base, database_url=f"sqlite:///{folder / 'watchword.db'}",
        master_key_file=str(folder / "watchword.key"), tls_cert=str(certificate), tls_key=str(key),
    )  # fmt: skip
    first = asyncio.run(initialise(settings))
    assert first is not None
    made = Issuer(f"{base}/t/default", folder, ca, (first.client_id, first.client_secret))
    world = World(clock=made.clock, monotonic=time.monotonic, random_bytes=os.urandom)
    config = uvicorn.Config(
        Application(settings, world), host="127.0.0.1", port=port, log_level="error",  # type: ignore[arg-type]
        ssl_certfile=str(certificate), ssl_keyfile=str(key), loop="asyncio",
        timeout_graceful_shutdown=2,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        _wait_for(made.http, f"{base}/health/ready", thread)
        yield made
    finally:
        made.http.close()
        server.should_exit = True
        thread.join(15)


def _wait_for(http: httpx.Client, url: str, thread: threading.Thread) -> None:
    for _ in range(400):
        try:
            if http.get(url).status_code == 200:
                return
        except httpx.HTTPError:
            thread.join(0.05)
            assert thread.is_alive(), "the server ended while it started"
    raise AssertionError("the server did not become ready")
