"""DPoP (RFC 9449): sign each request with a key that the token is bound to, so that a stolen token is useless."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from watchword.jose import PrivateKey

ORIGINS: Final = 256
"""Servers whose latest nonce is remembered."""


class DpopKey:
    """For ``ClientCredentials(..., dpop=DpopKey.generate())``.

    Args:
        key: ES256, PS256 or EdDSA; kept for DPoP alone.
        new_id: makes each proof's ``jti``.

    A generated key lives as long as the process, and so do tokens that are bound to it; with `from_pem` a token
    from a `DiskCache` can be used on. May be shared among `ClientCredentials`, threads and event loops.
    """

    __slots__ = ("_new_id", "_nonces", "_signer", "jkt")

    def __init__(self, key: PrivateKey, *, new_id: Callable[[], str] = lambda: secrets.token_urlsafe(16)) -> None:
        from watchword.jose.dpop import ProofSigner

        self._signer, self._new_id = ProofSigner(key), new_id
        self._nonces: dict[str, str] = {}
        self.jkt = self._signer.jkt
        """The thumbprint that tokens are bound to (RFC 7638)."""

    @classmethod
    def generate(cls) -> Self:
        """A new ES256 key, known to this process only."""
        from watchword.jose import Algorithm, PrivateKey

        return cls(PrivateKey.generate(Algorithm.ES256))

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """A key that is kept, without a passphrase. Raises `JoseError`."""
        from watchword.jose import PrivateKey

        return cls(PrivateKey.from_pem(pem))

    def __repr__(self) -> str:
        return f"DpopKey({self.jkt!r})"

    def proof(self, method: str, url: str, now: float, token: str | None = None) -> str:
        """The value of the ``DPoP`` header of one request; ``token`` goes beside it, None at a token endpoint.

        ``now`` is Unix seconds by the server's clock. Raises ValueError for a URL that is none.
        """
        from watchword.jose.dpop import ProofTarget

        nonce = self._nonces.get(_origin(url))
        return self._signer.sign(ProofTarget(method, url, token), now=now, jti=self._new_id(), nonce=nonce)

    def note_nonce(self, url: str, nonce: str | None) -> bool:
        """Remember the ``DPoP-Nonce`` of an answer (section 8.2). True if it is a new one."""
        origin = _origin(url)
        if not nonce or len(nonce) > 1024 or self._nonces.get(origin) == nonce:
            return False
        if len(self._nonces) >= ORIGINS:
            self._nonces = {}
        self._nonces[origin] = nonce
        return True


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()
