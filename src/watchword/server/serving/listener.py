"""Our own TLS listener: protocols, suites, and whom it asks for a certificate (`connection.py` hands it on).

Python's ssl has no way to let an unknown certificate through a handshake: what it is shown must lead to one of the
certificates in `client_ca`. Each of them counts by itself there, so that a self-signed certificate of a caller can
stand in the file; whose it is, and whether it is still good, the application judges (decision 0032).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable

import uvicorn

CIPHERS = "ECDHE+AESGCM"
"""For TLS 1.2: the four suites of RFC 9325 section 4.2, and no others (decision 0044). TLS 1.3 has ChaCha20 as well."""
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
