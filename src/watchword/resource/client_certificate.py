"""Read the caller's TLS client certificate: from the connection, or from the header of a trusted reverse proxy."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from watchword.jose.certificate_header import HeaderKind, read_headers
from watchword.jose.certificates import UnacceptableCertificate
from watchword.resource.errors import TokenInvalid

_NAMES: dict[HeaderKind, tuple[str, ...]] = {
    "client-cert": ("client-cert", "client-cert-chain"),
    "x-forwarded-client-cert": ("x-forwarded-client-cert",),
}


class TrustedProxy:
    """Reverse proxies that terminate TLS for this API and pass on the caller's certificate in a header.

    Args:
        header: ``client-cert`` (RFC 9440) or ``x-forwarded-client-cert`` (Envoy; nginx can write it). The proxy
            must set it on every request, so that callers cannot set it themselves.
        addresses: IP addresses or networks of the proxies, as the connection has them: no middleware may replace them
            by ``X-Forwarded-For``. The header is ignored on connections from other addresses.

    Raises:
        ValueError: another header, no address, or a malformed one.
    """

    def __init__(self, header: HeaderKind, addresses: Sequence[str]) -> None:
        if header not in _NAMES or not addresses or isinstance(addresses, str):
            raise ValueError("name the header, client-cert or x-forwarded-client-cert, and the proxies' addresses")
        self._header: HeaderKind = header
        self._networks = [ipaddress.ip_network(address) for address in addresses]

    def names(self) -> tuple[str, ...]:
        """The headers that are read, in lower case."""
        return _NAMES[self._header]

    def trusts(self, peer: str | None) -> bool:
        """Whether ``peer`` is the address of a trusted proxy."""
        try:
            address = ipaddress.ip_address(peer or "")
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    def certificate(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
        """The certificate in the headers, DER. Raises `TokenInvalid` for a header that cannot be read."""
        try:
            shown = read_headers(self._header, headers)
        except UnacceptableCertificate as error:
            raise TokenInvalid(f"the client certificate's header: {error.rule}") from None
        return None if shown is None else shown.certificate


def of_scope(scope: Mapping[str, Any], proxy: TrustedProxy | None) -> bytes | None:
    """From an ASGI scope, DER: its `tls` extension, or the proxy's header."""
    client = scope.get("client")
    if proxy is not None and proxy.trusts(client[0] if client else None):
        return proxy.certificate(scope["headers"])
    tls = (scope.get("extensions") or {}).get("tls") or {}
    if tls.get("client_cert"):
        return bytes(tls["client_cert"])
    for pem in tls.get("client_cert_chain") or ():
        return ssl.PEM_cert_to_DER_cert(pem)
    return None


def of_environ(environ: Mapping[str, Any], proxy: TrustedProxy | None) -> bytes | None:
    """From a WSGI environment, DER: the proxy's header; WSGI itself has no place for a certificate."""
    if proxy is None or not proxy.trusts(environ.get("REMOTE_ADDR")):
        return None
    keys = {name: "HTTP_" + name.upper().replace("-", "_") for name in proxy.names()}
    found = [(name, environ[key]) for name, key in keys.items() if key in environ]
    return proxy.certificate((name.encode(), value.encode("latin-1", "replace")) for name, value in found)
