"""`serve --dev-tls` as a TLS client meets it."""

from __future__ import annotations

import re
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.adapters.pages import wait_for
from tests.flows.cli.test_command_line import COMMAND, environment, free_port, watchword


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[str]:
    """https on a free port; the base URL."""
    port, log = free_port(), folder / "serve.log"
    with log.open("w") as file:
        command = [*COMMAND, "serve", "--port", str(port), "--dev-tls", *arguments]
        child = subprocess.Popen(command, cwd=folder, env=environment(folder), stdout=file, stderr=file)
    try:
        wait_for(port, child, log)
        yield f"https://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait(15)


def test_https_by_the_development_ca(tmp_path: Path) -> None:
    """Dovecot, RabbitMQ and libpq take no http issuer: without this, nobody tries them on a laptop."""
    with serving(tmp_path) as base:
        printed = re.search(r"SSL_CERT_FILE=(\S+)", (tmp_path / "serve.log").read_text())
        assert printed is not None
        ca = Path(printed[1])
        assert ca == tmp_path / "dev-tls" / "ca.pem"
        trusting = ssl.create_default_context(cafile=str(ca))
        for host in (base, base.replace("127.0.0.1", "localhost")):
            metadata = httpx.get(f"{host}/t/default/.well-known/openid-configuration", verify=trusting)
            assert metadata.json()["issuer"] == f"{base}/t/default"
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(f"{base}/health/live", verify=ssl.create_default_context())
        made = watchword(tmp_path, "api", "create", "https://rs1.example/", "--scope", "a:read", SSL_CERT_FILE=str(ca))
        assert made.returncode == 0, made.stderr
        plain = base.replace("https", "http")
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"{plain}/health/live")
    kept = ca.read_bytes()
    with serving(tmp_path) as base:
        assert httpx.get(f"{base}/health/live", verify=trusting).status_code == 200
    assert ca.read_bytes() == kept


def test_openssl_accepts_the_chain(tmp_path: Path) -> None:
    """Another TLS library reads the constraints its own way."""
    with serving(tmp_path) as base:
        address = base.removeprefix("https://")
        command = ["openssl", "s_client", "-connect", address, "-CAfile", str(tmp_path / "dev-tls" / "ca.pem")]
        options = ["-verify_return_error", "-verify_ip", "127.0.0.1"]
        said = subprocess.run([*command, *options], input="", capture_output=True, text=True, check=False)
        assert "Verify return code: 0 (ok)" in said.stdout, said.stdout + said.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--host", "0.0.0.0"),
        ("--host", "192.0.2.1"),
        ("--tls-cert", "a", "--tls-key", "b"),
        ("--behind-proxy", "--trusted-proxy", "127.0.0.1"),
    ],
)
def test_beyond_loopback_it_does_not_start(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """A development certificate before the world teaches its clients not to look."""
    refused = watchword(tmp_path, "serve", "--dev-tls", *arguments)
    assert refused.returncode == 2
    assert "loopback" in refused.stderr
    assert list(tmp_path.iterdir()) == []
