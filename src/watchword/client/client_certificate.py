"""Authenticate with a TLS client certificate (RFC 8705), at the token endpoint and at the APIs that take the token.

The files are checked before each new connection. After a renewal the next connection uses the new certificate, without
a restart. An API refuses a token that was bound to the old certificate once; the client then gets a new token.
"""

from __future__ import annotations

import hmac
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from watchword.client.errors import SecretMissing
from watchword.client.proof import Proven

if TYPE_CHECKING:
    import ssl

    from watchword.client.reloading_context import ReloadingContext

BIGGEST_KEY: Final = 65_536
"""Bytes of a key file."""


class ClientCertificate:
    """For ``ClientCredentials(issuer, client_id, ClientCertificate(cert_file, key_file))``, and for calls to APIs:

    ``httpx.Client(auth=auth, verify=certificate.ssl_context())``,
    ``aiohttp.TCPConnector(ssl=certificate.ssl_context())``,
    ``session.mount("https://", certificate.for_requests())``.

    Args:
        cert_file: the certificate and the intermediate certificates, PEM.
        key_file: its private key, PEM, without a passphrase.
        ca_file: CA bundle (PEM) for verifying servers; None uses the CA certificates of the system.

    Nothing is read before the first connection.
    """

    timed = False

    def __init__(
        self,
        cert_file: str | os.PathLike[str],
        key_file: str | os.PathLike[str],
        *,
        ca_file: str | os.PathLike[str] | None = None,
    ) -> None:
        self._certificate, self._key, self._ca = Path(cert_file), Path(key_file), ca_file
        self._context: ReloadingContext | None = None

    def __repr__(self) -> str:
        return f"ClientCertificate({str(self._certificate)!r})"

    def prove(self, client_id: str, issuer: str, now: float) -> Proven:
        """See `Proof.prove`: the TLS connection authenticates; the form has the ``client_id`` (RFC 8705 section 2)."""
        return Proven(form=(("client_id", client_id),))

    def mac(self, message: bytes) -> bytes:
        """See `Proof.mac`: of the key and the certificate, to which tokens may be bound. Raises `SecretMissing`."""
        try:
            with self._key.open("rb") as file:
                key = file.read(BIGGEST_KEY)
            return hmac.digest(key, self._certificate.read_bytes() + b"\0" + message, "sha256")
        except OSError as error:
            raise SecretMissing(f"{self._key} or {self._certificate} cannot be read ({type(error).__name__})") from None

    def ssl_context(self) -> ssl.SSLContext:
        """A TLS context that reads the files again before each connection. Raises `SecretMissing`."""
        if self._context is None:
            import ssl

            from watchword.client.reloading_context import ReloadingContext

            context = ReloadingContext(ssl.PROTOCOL_TLS_CLIENT)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self._ca is not None:
                context.load_verify_locations(self._ca)
            else:
                context.load_default_certs()
            context.follow(self._certificate, self._key)
            self._context = context
        return self._context

    def for_requests(self) -> Any:
        """A transport adapter for ``session.mount``; needs requests."""
        from watchword.client.adapters.requests import CertificateAdapter

        return CertificateAdapter(self.ssl_context())
