"""A web server with TLS that publishes JWK sets, behind a network and a resolver of the test's own."""

from __future__ import annotations

import asyncio
import datetime
import json
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpcore
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from watchword.jose import PrivateKey

PUBLIC = "93.184.216.34"
HOST = "keys.example"
URI = f"https://{HOST}/jwks"
_PEM = serialization.Encoding.PEM


class Authority:
    """A certificate authority of one test."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.file = folder / "ca.pem"
        self.file.write_bytes(self._sign(self._name, self._key, ca=True).public_bytes(_PEM))

    def _sign(
        self, subject: x509.Name, key: Any, host: str = "", days: int = 30, *, ca: bool = False
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject).issuer_name(self._name).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=60)).not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )  # fmt: skip
        if host:
            made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return made.sign(self._key, hashes.SHA256())

    def context(self, host: str = HOST, days: int = 30) -> ssl.SSLContext:
        """A server's, with a certificate for `host`."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        file = self.folder / f"{host}-{days}.pem"
        plain = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        file.write_bytes(plain + self._sign(subject, key, host, days).public_bytes(_PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


class KeyServer:
    """What it answers can be changed while it runs; what it was asked is kept."""

    def __init__(self) -> None:
        self.status, self.headers, self.body = 200, [], b'{"keys":[]}'  # type: tuple[int, list[str], bytes]
        self.pages: dict[str, bytes] = {}
        """What stands at other paths than that of `body`."""
        self.asked: list[str] = []
        self.reached, self.gate = asyncio.Event(), asyncio.Event()
        self.gate.set()
        self.port = 0

    def publish(self, *keys: PrivateKey) -> None:
        """The public halves."""
        self.status, self.headers = 200, []
        self.body = json.dumps({"keys": [key.public.to_jwk() for key in keys]}).encode()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer."""
        try:
            self.asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
            self.reached.set()
            await self.gate.wait()
            body = self.pages.get(self.asked[-1].split(" ")[1], self.body)
            head = [
                f"HTTP/1.1 {self.status} X",
                f"content-length: {len(body)}",
                "connection: close",
                *self.headers,
            ]
            writer.write("\r\n".join([*head, "", ""]).encode() + body)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def serving(self, context: ssl.SSLContext | None) -> AsyncIterator[KeyServer]:
        """On a port of this machine."""
        server = await asyncio.start_server(self, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self.gate.set()
            server.close()


class Network(httpcore.AsyncNetworkBackend):
    """Every address leads to the key server; where somebody wanted to go is kept."""

    def __init__(self, server: KeyServer) -> None:
        self._server, self._real = server, httpcore.AnyIOBackend()
        self.connected: list[tuple[str, int]] = []
        self.names: dict[str, list[list[str]]] = {HOST: [[PUBLIC]]}
        self.resolved: list[str] = []

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:  # fmt: skip
        """As if the address were the server's."""
        self.connected.append((host, port))
        return await self._real.connect_tcp("127.0.0.1", self._server.port, timeout, local_address, socket_options)

    async def resolve(self, host: str, port: int) -> list[str]:
        """The next answer for the name; the last one stays."""
        self.resolved.append(host)
        answers = self.names.get(host)
        if not answers:
            raise OSError("no such name")
        return answers.pop(0) if len(answers) > 1 else answers[0]
