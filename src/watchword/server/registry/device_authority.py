"""A tenant's own authority for the certificates of its devices."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

AUTHORITY_LIFE = 10 * 366 * 86_400
"""Seconds. An authority that would end before a certificate of it signs no more: a new one takes its place."""
MIN_CERTIFICATE_LIFE = 3_600
MAX_CERTIFICATE_LIFE = 2 * 366 * 86_400
CERTIFICATE_LIFE = 90 * 86_400


class DeviceAuthority(Struct, frozen=True, kw_only=True):
    """`active` signs; what a `retired` one signed counts until it expires, or until the authority is removed."""

    tenant_id: str
    authority_id: str
    """Its certificate's `x5t#S256`."""
    state: Literal["active", "retired"]
    pem: str
    sealed: bytes
    """The private key, sealed under the master key; empty for one that signs no more."""
    created_at: int
    expires_at: int
    version: int = 1

    def __repr__(self) -> str:
        return f"DeviceAuthority({self.authority_id}, {self.state})"

    def signs(self, until: float) -> bool:
        """Whether a certificate that ends then may be signed by it."""
        return self.state == "active" and until <= self.expires_at


def common_name(client_id: str) -> str:
    """Whom the certificate of a device names, as `tls_client_auth` has it (RFC 8705 section 2.1.2)."""
    return f"CN={client_id}"
