"""The DPoP header (RFC 9449 section 4.1), and the URL that its proof has to name."""

from __future__ import annotations

from urllib.parse import urlsplit

from ...jose.dpop import ProofTarget
from ..protocol.dpop import PresentedProof
from ..protocol.errors import InvalidDpopProof
from .wire import Headers, Scope


class Addresses:
    """Under which bases callers reach us: the public one, and the one that asks for certificates.

    `Host` chooses between these two, and nothing else follows from it: what a stranger writes there is never a
    part of the URL that a proof is compared with.
    """

    def __init__(self, base_url: str, mtls_url: str = "") -> None:
        self._base, self._path = base_url, urlsplit(base_url).path
        self._alias, alias = mtls_url.rstrip("/"), urlsplit(mtls_url).netloc.lower()
        own = urlsplit(base_url).netloc.lower()
        self._alias_hosts = {alias, f"{alias}:443"} - {own, f"{own}:443"} if alias else set()

    def url_of(self, scope: Scope) -> str:
        """Where this request went, without its query."""
        path: str = scope["raw_path"].decode("latin-1")
        if self._alias_hosts and _host(scope) in self._alias_hosts:
            return self._alias + path[len(self._path) :]
        return self._base + path[len(self._path) :]


def proof_of(headers: Headers, scope: Scope, addresses: Addresses, token: str | None = None) -> PresentedProof | None:
    """The proof beside a request; `token` is the access token that it has to be of. Raises `InvalidDpopProof`."""
    if headers.dpop is None:
        return None
    if headers.dpops > 1:
        raise InvalidDpopProof("send one DPoP header")
    target = ProofTarget(scope["method"], addresses.url_of(scope), token)
    return PresentedProof(headers.dpop.decode("latin-1"), target)


def _host(scope: Scope) -> str:
    return next((value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"host"), "")
