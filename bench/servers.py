"""The servers that are measured: ours on both databases, the floor, and npm's oidc-provider."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from watchword.server.composition.services import open_services
from watchword.server.config import load
from watchword.server.protocol.access import Access
from watchword.server.protocol.claims import access_token_claims, encode, token_id
from watchword.server.registry.model import TokenSettings

from .load import FORM, Target, free_port, pinned

HERE = Path(__file__).parent
GRANT = "grant_type=client_credentials"


def basic(client_id: str, secret: str) -> dict[str, str]:
    """A form by client_secret_basic."""
    return {**FORM, "Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


@dataclass(frozen=True)
class Ours:
    """A running Watchword with one API and one application an algorithm; the administrator may introspect."""

    folder: Path
    base: str
    pid: int
    admin: tuple[str, str]
    callers: dict[str, tuple[str, str]]
    environment: dict[str, str]

    def command(self, *arguments: str) -> dict[str, str]:
        """One command's JSON."""
        return _run(self.folder, self.environment, *arguments)

    def tokens(self, algorithm: str) -> Target:
        """POST /token."""
        return Target(f"tokens, {algorithm}", f"{self.base}/token", GRANT, basic(*self.callers[algorithm]))

    def keys(self) -> Target:
        """GET /jwks."""
        return Target("key sets", f"{self.base}/jwks")

    def introspections(self) -> Target:
        """One token, again and again."""
        target = self.tokens("ES256")
        answer = httpx.post(target.url, content=GRANT, headers=dict(target.headers)).json()
        body = f"token={answer['access_token']}"
        return Target("introspections, seen before", f"{self.base}/introspect", body, basic(*self.admin))

    def first_introspections(self, count: int, part: int) -> Target:
        """Each token once; signed as the server signs, with its own key."""
        file = self.folder / f"tokens-{part}"
        file.write_text("".join(f"token={token}\n" for token in asyncio.run(self._minted(count))))
        return Target("introspections, new tokens", f"{self.base}/introspect", headers=basic(*self.admin), bodies=file)

    async def _minted(self, count: int) -> list[str]:
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            services = await open_services(load({}))
        finally:
            os.chdir(before)
        try:
            tenant = await services.view.tenant("default")
            assert tenant is not None
            from watchword.server.service.tokens.signers import signer

            sign = signer(tenant, "ES256", "at+jwt").sign
            access = Access(self.callers["ES256"][0], ("https://es256.example/",), ("a:read",), TokenSettings())
            now = time.time()
            return [
                sign(encode(access_token_claims(access, self.base, int(now), token_id(now, os.urandom(10).hex()))))
                for _ in range(count)
            ]
        finally:
            await services.storage.close()


@contextmanager
def watchword(folder: Path, *algorithms: str, database: str = "", **settings: str) -> Iterator[Ours]:
    """`watchword serve` with one worker."""
    folder.mkdir()
    port = free_port()
    environment = {"WATCHWORD_PROFILE": str(folder / "profile.toml"), "WATCHWORD_PORT": str(port), **settings}
    if database:
        environment["WATCHWORD_DATABASE_URL"] = database
    base = f"http://127.0.0.1:{port}/t/default"
    with pinned([sys.executable, "-m", "watchword.cli", "serve"], folder, f"{base}/jwks", **environment) as child:
        lines = (folder / "profile.toml").read_text().splitlines()
        first = {name: value.strip('"') for name, value in (line.split(" = ") for line in lines)}
        admin = (first["client_id"], first["client_secret"])
        callers = {each: _caller(folder, environment, each, admin[0]) for each in algorithms}
        yield Ours(folder, base, child.pid, admin, callers, environment)


def _caller(folder: Path, environment: dict[str, str], algorithm: str, admin: str) -> tuple[str, str]:
    api = f"https://{algorithm.lower()}.example/"
    scope = ("--scope", "a:read", "--algorithm", algorithm, "--introspector", admin)
    _run(folder, environment, "api", "create", api, *scope)
    made = _run(folder, environment, "app", "create", algorithm, "--grant", f"{api}=a:read")
    return made["client_id"], made["client_secret"]


def _run(folder: Path, environment: dict[str, str], *arguments: str) -> dict[str, str]:
    command = [sys.executable, "-m", "watchword.cli", *arguments, "--json"]
    told = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return dict(json.loads(told.stdout))


@contextmanager
def floor(folder: Path, algorithm: str) -> Iterator[Target]:
    """The same cryptography and nothing else."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/token"
    with pinned([sys.executable, str(HERE / "floor.py"), str(port), algorithm], folder, url):
        yield Target(f"floor, {algorithm}", url, GRANT, FORM)


@dataclass(frozen=True)
class Rival:
    """npm's oidc-provider, in memory."""

    base: str
    algorithm: str

    @property
    def _headers(self) -> dict[str, str]:
        return basic("caller", "x" * 43)

    def tokens(self) -> Target:
        """POST /token, a JWT."""
        return Target(f"oidc-provider, tokens, {self.algorithm}", f"{self.base}/token", GRANT, self._headers)

    def keys(self) -> Target:
        """GET /jwks."""
        return Target("oidc-provider, key sets", f"{self.base}/jwks")

    def introspections(self) -> Target:
        """One opaque token, again and again: it does not introspect its JWTs."""
        body = f"{GRANT}&resource=urn:opaque"
        answer = httpx.post(f"{self.base}/token", content=body, headers=self._headers)
        assert answer.status_code == 200, answer.text
        token = f"token={answer.json()['access_token']}"
        url = f"{self.base}/token/introspection"
        assert httpx.post(url, content=token, headers=self._headers).json()["active"] is True
        return Target("oidc-provider, introspections", url, token, self._headers)


@contextmanager
def rival(folder: Path, project: Path, algorithm: str, *clients: Mapping[str, object]) -> Iterator[Rival]:
    """One process of it, with a client that has a secret and these."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    command = ["node", str(project / "provider.mjs"), str(port), algorithm]
    caller = {
        "client_id": "caller", "client_secret": "x" * 43, "grant_types": ["client_credentials"], "redirect_uris": [],
        "response_types": [], "token_endpoint_auth_method": "client_secret_basic",
    }  # fmt: skip
    with pinned(command, folder, f"{base}/jwks", json.dumps([caller, *clients]), NODE_ENV="production"):
        yield Rival(base, algorithm)


def installed_rival(folder: Path) -> Path:
    """What the committed lock names, as `npm ci` installs it."""
    project = folder / "rival"
    shutil.copytree(HERE / "rival", project, ignore=shutil.ignore_patterns("node_modules"))
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"npm ci: {done.stderr}")
    return project
