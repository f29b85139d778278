"""Our own TLS listener as an operator runs it: with several workers, with certificates that are renewed, and signals."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.adapters.pages import wait_for
from tests.support.certificates import authority, cn, issue
from tests.support.served import COMMAND, environment, free_port

from watchword.jose.development_ca import development_certificate

PATIENCE = 60.0


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A server with the certificate that is in the folder; its port."""
    port, said = free_port(), folder / "serve.log"
    with said.open("w") as file:
        command = [*COMMAND, "serve", "--port", str(port), "--tls-cert", "c.pem", "--tls-key", "c.key", *arguments]
        child = subprocess.Popen(command, cwd=folder, env=environment(folder), stdout=file, stderr=file)
    try:
        wait_for(port, child, said)
        yield port, child
    finally:
        child.terminate()
        child.wait(20)


def certified(folder: Path, name: str) -> None:
    """A new certificate in the folder, as a renewal puts it there: each file at once."""
    ca, certificate, key = development_certificate(folder / name, time.time())
    for source, target in ((certificate, "c.pem"), (key, "c.key"), (ca, f"{name}.ca")):
        shutil.copy(source, folder / "new")
        os.replace(folder / "new", folder / target)


def trusted(folder: Path, name: str, port: int, held: tuple[str, str] | None = None) -> bool:
    """Whether the server shows a certificate of that authority, and answers."""
    context = ssl.create_default_context(cafile=str(folder / f"{name}.ca"))
    if held is not None:
        context.load_cert_chain(*held)
    try:
        with (
            socket.create_connection(("127.0.0.1", port), 20) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            secure.sendall(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")
            return secure.recv(12) == b"HTTP/1.1 200"
    except OSError:
        return False


def comes(folder: Path, name: str, port: int, held: tuple[str, str] | None = None) -> bool:
    """Whether it does before long; each try looks at the files anew."""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        if trusted(folder, name, port, held):
            return True
    return False


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_renewed_certificate_is_picked_up(tmp_path: Path, workers: str) -> None:
    """Two workers under TLS did not start, a renewal needed a restart, and the signal for it ended the server."""
    certified(tmp_path, "first")
    with served(tmp_path, "--workers", workers) as (port, child):
        assert comes(tmp_path, "first", port)
        child.send_signal(signal.SIGHUP)
        certified(tmp_path, "second")
        assert comes(tmp_path, "second", port)
        assert child.poll() is None
        if workers == "1":  # of several, one that starts now has no certificate before this one
            (tmp_path / "c.pem").write_text("half a file")
            assert trusted(tmp_path, "second", port)


def test_a_renewed_client_ca_is_picked_up(tmp_path: Path) -> None:
    """Callers of a new authority would be locked out until somebody restarts the server."""
    now = time.time()
    certified(tmp_path, "first")
    old, new = authority("old", now), authority("new", now)
    (tmp_path / "clients.pem").write_text(old.pem)
    with served(tmp_path, "--client-ca", "clients.pem", "--client-cert", "required") as (port, _):
        by_old = issue(cn("a"), now, old).files(tmp_path, "by-old")
        by_new = issue(cn("a"), now, new).files(tmp_path, "by-new")
        assert comes(tmp_path, "first", port, by_old)
        assert not trusted(tmp_path, "first", port, by_new)
        (tmp_path / "clients.pem").write_text(new.pem)
        assert comes(tmp_path, "first", port, by_new)
        assert not trusted(tmp_path, "first", port, by_old)


def test_a_handshake_has_a_deadline(tmp_path: Path) -> None:
    """Some hundred callers who connect and say nothing took every file of the process for a minute."""
    certified(tmp_path, "first")
    with served(tmp_path) as (port, _), socket.create_connection(("127.0.0.1", port), 30) as silent:
        assert silent.recv(1) == b""
        assert trusted(tmp_path, "first", port)
