"""Our own TLS listener: protocols, suites, whom it asks for a certificate, and how that reaches the application.

Python's ssl has no way to let an unknown certificate through a handshake: what it is shown must lead to one of the
certificates in `client_ca`. Each of them counts by itself there, so that a self-signed certificate of a caller can
stand in the file; whose it is, and whether it is still good, the application judges (decision 0032).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and AEAD (RFC 9325 section 4.2). TLS 1.3 has no others."""
_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME: the application judges times, by its own clock and in its own words."""


def context_factory(client_ca: str, required: bool) -> Callable[..., ssl.SSLContext]:
    """For uvicorn's `ssl_context_factory`."""

    def make(_: uvicorn.Config, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        context = default()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        if client_ca:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
            context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
        return context

    return make


class CertificateProtocol(HttpToolsProtocol):
    """Puts the DER of the caller's certificate into the scope, under the ASGI extension `tls`."""

    _extensions: dict[str, Any] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The handshake is over: the certificate is known for as long as the connection lives."""
        super().connection_made(transport)
        connection = transport.get_extra_info("ssl_object")
        der = connection.getpeercert(binary_form=True) if connection is not None else None
        self._extensions = {"tls": {"client_cert": der}} if der else None

    def on_message_begin(self) -> None:
        """A scope of its own for each request; what one handler puts in is not seen by the next."""
        super().on_message_begin()
        if self._extensions is not None:
            self.scope["extensions"] = {**self._extensions}
