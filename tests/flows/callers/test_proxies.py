"""Proxies of the environment: a client secret or a token never passes one in the clear."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.support.served import environment, serving, watchword

from watchword.client.wire import may_use_proxy

CALLER = """
import asyncio, sys
from watchword.client import ClientCredentials
from watchword.resource import Verifier
issuer, client_id, secret = sys.argv[1:4]
auth = ClientCredentials(issuer, client_id, secret, resource="urn:watchword:admin")
token = auth.token().value
asyncio.run(ClientCredentials(issuer, client_id, secret, resource="urn:watchword:admin", scope="apis:read").atoken())
Verifier(issuer, audience="urn:watchword:admin").verify(token)
asyncio.run(Verifier(issuer, audience="urn:watchword:admin").averify(token))
"""


@contextmanager
def proxy() -> Iterator[tuple[str, list[str]]]:
    """A proxy that keeps what it is asked and answers 502."""
    heard: list[str] = []

    class Listening(BaseHTTPRequestHandler):
        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            heard.append(f"{self.requestline} {self.headers} {body!r}")
            self.send_error(502)

        do_GET = do_POST = do_CONNECT = _any

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Listening)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", heard
    finally:
        server.shutdown()
        server.server_close()


def test_loopback_is_never_reached_through_a_proxy(tmp_path: Path) -> None:
    """With HTTP_PROXY set, the client secret would go to the proxy in the clear."""
    with serving(tmp_path) as base, proxy() as (address, heard):
        proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"), address)
        known = json.loads(watchword(tmp_path, "app", "create", "caller", "--json", **proxies).stdout or "{}")
        assert "client_secret" in known, heard
        profile = {
            line.partition(" = ")[0]: line.partition(" = ")[2].strip('"')
            for line in (tmp_path / "profile.toml").read_text().splitlines()
        }
        command = [sys.executable, "-c", CALLER, f"{base}/t/default", profile["client_id"], profile["client_secret"]]
        ended = subprocess.run(
            command, env=environment(tmp_path, **proxies), capture_output=True, text=True, check=False, timeout=120
        )
        assert ended.returncode == 0, ended.stderr
        called = ["curl", "--", "--silent", "--fail", f"{base}/api/v1/apis"]
        assert watchword(tmp_path, *called, **proxies).returncode == 0
        exported = watchword(tmp_path, "key", "export", "--format", "jwks", "--out", "keys", **proxies)
        assert "Traceback" not in exported.stderr
    assert heard == []


@pytest.mark.parametrize(
    ("url", "may"),
    [
        ("https://id.example/t/a", True),
        ("http://id.example/t/a", False),
        ("https://127.0.0.1/t/a", False),
        ("https://localhost:8480/", False),
        ("https://[::1]/", False),
        ("http://127.0.0.1/", False),
    ],
)
def test_which_requests_may_use_a_proxy(url: str, may: bool) -> None:
    """Plain http would be read by the proxy, and loopback would leave the machine."""
    assert may_use_proxy(url) is may


def test_https_elsewhere_uses_the_proxy(tmp_path: Path) -> None:
    """Behind a company's proxy no token could be had at all."""
    with proxy() as (address, heard):
        known = {
            "WATCHWORD_ISSUER": "https://id.invalid/t/default",
            "WATCHWORD_CLIENT_ID": "an-id",
            "WATCHWORD_CLIENT_SECRET": "a-secret",
            "HTTPS_PROXY": address,
        }
        assert watchword(tmp_path, "token", "--no-cache", **known).returncode != 0
    assert any(line.startswith("CONNECT id.invalid:443") for line in heard)
    assert not any("a-secret" in line for line in heard)
