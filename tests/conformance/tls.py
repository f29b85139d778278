"""What the suite asks of TLS on an endpoint (RFC 9325): versions, suites, and which of them is preferred."""

from __future__ import annotations

import socket
import ssl
import warnings
from urllib.parse import urlsplit

BCP195 = {
    "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
}  # fmt: skip
"""RFC 9325 section 4.2."""
_EVERY = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"


def check(url: str) -> None:
    """In the suite's order."""
    assert _speaks(url, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2, ":".join(sorted(BCP195))) == "TLSv1.2"
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        assert _speaks(url, version, version, _EVERY) == ""
    assert _speaks(url, ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    assert _speaks(url, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    others = [name for name in offered() if name not in BCP195]
    assert len(others) > 20
    assert _speaks(url, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2, ":".join(others) + ":@SECLEVEL=0") == ""


def offered() -> list[str]:
    """Every suite of TLS 1.2 and before that this machine's OpenSSL knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers(_EVERY)
    return [one["name"] for one in context.get_ciphers() if one["protocol"] != "TLSv1.3"]


def client(lowest: ssl.TLSVersion, highest: ssl.TLSVersion, ciphers: str = "") -> ssl.SSLContext:
    """Trusts anybody: it asks for nothing but the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if ciphers:
        context.set_ciphers(ciphers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that they are old is the point
        context.maximum_version, context.minimum_version = highest, lowest
    return context


def _speaks(url: str, lowest: ssl.TLSVersion, highest: ssl.TLSVersion, ciphers: str = "") -> str:
    """The version that was agreed on; empty when none was."""
    at = urlsplit(url)
    with socket.create_connection((at.hostname or "", at.port or 443), 10) as plain:
        try:
            with client(lowest, highest, ciphers).wrap_socket(plain, server_hostname=at.hostname) as spoken:
                return spoken.version() or ""
        except (ssl.SSLError, ConnectionError):
            return ""
