"""The caller's certificate: from our own TLS handshake, or from a proxy that we trust; one place decides which.

Its headers count only from the proxies named in the settings and only the kind that is switched on; from anybody else
they are not read. Behind such a proxy the certificate of the connection is the proxy's own and nobody else's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container

from ...jose.certificate_header import HeaderKind, Presented, read_headers
from ...jose.certificates import UnacceptableCertificate
from ..protocol.errors import InvalidClient, without_frames
from .wire import Receive, Scope, Send

Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]
_PLACE = "watchword.client_certificate"
_NAMES = frozenset({b"client-cert", b"client-cert-chain", b"x-forwarded-client-cert"})


class ClientCertificates:
    """ASGI, before everything that changes who the peer is."""

    def __init__(self, application: Asgi, header: HeaderKind | None, trusted_proxies: Container[str]) -> None:
        self._application, self._header, self._trusted = application, header, trusted_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http":
            self._note(scope)
        await self._application(scope, receive, send)

    def _note(self, scope: Scope) -> None:
        peer = scope.get("client")
        if self._header is None or peer is None or peer[0] not in self._trusted:
            der = scope.get("extensions", {}).get("tls", {}).get("client_cert")
            if der:
                scope[_PLACE] = Presented(der)
            return
        raw = scope["headers"]
        scope["headers"] = [pair for pair in raw if pair[0] not in _NAMES]
        try:
            scope[_PLACE] = read_headers(self._header, raw)
        except UnacceptableCertificate as error:
            scope[_PLACE] = without_frames(error)


def certificate_of(scope: Scope) -> Presented | None:
    """The certificate whose key the caller holds. Raises `InvalidClient` for one that nobody can read."""
    found = scope.get(_PLACE)
    if found is None or isinstance(found, Presented):
        return found
    raise InvalidClient(detail=f"client certificate: {found.rule}")
