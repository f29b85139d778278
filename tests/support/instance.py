"""A whole Watchword in this process behind its own TLS listener: a throwaway database, a clock that tests move."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from tests.support.first_start import Open, first_start
from tests.support.listening import Door, free_socket, listening
from tests.support.witness import Witness, witness_of

from watchword.jose.development_ca import development_certificate
from watchword.server.app import Application
from watchword.server.composition.foundation import World
from watchword.server.composition.services import Services
from watchword.server.config import Settings

BASE = "https://127.0.0.1:8480"
ISSUER = f"{BASE}/t/default"
ADMIN_API = "urn:watchword:admin"


class Clock:
    """Wall and monotonic time, moved by hand."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Instance:
    """An HTTP client in front of the application, with the administrator's token."""

    def __init__(self, http: httpx.AsyncClient, services: Services, clock: Clock, admin: tuple[str, str]) -> None:
        self.http, self.services, self.clock, self.admin = http, services, clock, admin

    @property
    def door(self) -> Door:
        """The way to this node, for whoever brings no client of their own; `app` is what stands behind the listener."""
        door = self.http._transport
        assert isinstance(door, Door)
        return door

    @property
    def witness(self) -> Witness:
        """What watches every request of this test."""
        return self.door.witness

    async def token(self, credentials: tuple[str, str], issuer: str = ISSUER, **form: str) -> httpx.Response:
        """POST /token with Basic."""
        return await self.http.post(
            f"{issuer}/token", data={"grant_type": "client_credentials", **form}, auth=credentials
        )

    async def bearer(self, credentials: tuple[str, str] | None = None, issuer: str = ISSUER) -> dict[str, str]:
        """The administrator's Authorization header."""
        answer = await self.token(credentials or self.admin, issuer, resource=ADMIN_API)
        assert answer.status_code == 200, answer.text
        return {"authorization": f"Bearer {answer.json()['access_token']}"}

    async def call(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """An admin API call as the administrator."""
        headers = {**await self.bearer(), **options.pop("headers", {})}
        return await self.http.request(method, f"{BASE}/api/v1{path}", json=body, headers=headers, **options)

    async def api(self, identifier: str, *scopes: str, **tokens: Any) -> dict[str, Any]:
        """Create an API."""
        body = {"identifier": identifier, "name": identifier, "scopes": [{"name": s} for s in scopes], "tokens": tokens}
        answer = await self.call("POST", "/apis", body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def application(self, name: str, api: dict[str, Any], *scopes: str, **more: Any) -> dict[str, Any]:
        """Register an application with one grant."""
        body = {"name": name, "grants": [{"api_id": api["api_id"], "scopes": scopes}], **more}
        answer = await self.call("POST", "/applications", body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def introspect(self, credentials: tuple[str, str], token: str, issuer: str = ISSUER) -> dict[str, Any]:
        """What introspection says."""
        return dict((await self.http.post(f"{issuer}/introspect", data={"token": token}, auth=credentials)).json())


def credentials_of(application: dict[str, Any]) -> tuple[str, str]:
    """Client id and secret of a creation answer."""
    return application["client_id"], application["client_secret"]


@asynccontextmanager
async def instance(
    folder: Path, database_url: str = "", world_of: dict[str, Any] | None = None, **settings: Any
) -> AsyncIterator[Instance]:
    """A running instance; its database is SQLite in `folder` unless a URL is given."""
    clock = Clock()
    _, certificate, key = development_certificate(folder / "dev-tls", time.time())
    made = Settings(
        database_url=database_url or f"sqlite:///{folder / 'watchword.db'}",
        master_key_file=str(folder / "watchword.key"),
        tls_cert=str(certificate),
        tls_key=str(key),
        **{"wrong_proofs": 1_000_000, **settings},  # one address asks for everybody here
    )
    with Open(), witness_of(made.database_url) as witness:
        world = _world(clock, witness, **(world_of or {}))
        first = await first_start(made, world)
        async with node(made, clock, (first.client_id, first.client_secret), world) as running:
            yield running
            await witness.end(running.services, await running.http.get(f"{made.base_url}/metrics"))


def _world(clock: Clock, witness: Witness, **brought: Any) -> World:
    """Nobody is out there, unless the test brings somebody."""
    outside = {"network": witness.outside, "resolve": witness.outside.resolve, **brought}
    return World(clock=clock, monotonic=clock, random_bytes=os.urandom, **outside)


@asynccontextmanager
async def node(
    settings: Settings, clock: Clock, admin: tuple[str, str], world: World | None = None
) -> AsyncIterator[Instance]:
    """One more worker on a database that exists, or the same one after a restart."""
    with witness_of(settings.database_url) as witness:
        application = Application(settings, world or _world(clock, witness))
        async with application.running() as services, behind_tls(application) as http:
            yield Instance(http, services, clock, admin)


@asynccontextmanager
async def behind_tls(application: Application) -> AsyncIterator[httpx.AsyncClient]:
    """A client that trusts the certificate, in front of the listener."""
    assert application.services is not None
    settings, bound = application.services.settings, free_socket()
    with witness_of(settings.database_url) as witness:
        door = Door(application, bound.getsockname()[1], Path(settings.tls_cert).with_name("ca.pem"), witness)
        async with (
            listening(application, bound, settings.tls_cert, settings.tls_key),
            httpx.AsyncClient(transport=door) as http,
        ):
            yield http
