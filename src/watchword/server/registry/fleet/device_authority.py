"""The record of a tenant's certificate authority (CA) for its devices."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

AUTHORITY_LIFE = 10 * 366 * 86_400
"""Seconds. A CA that would expire before a certificate that it is to sign is replaced by a new one."""
MIN_CERTIFICATE_LIFE = 3_600
MAX_CERTIFICATE_LIFE = 2 * 366 * 86_400
CERTIFICATE_LIFE = 90 * 86_400


class DeviceAuthority(Struct, frozen=True, kw_only=True):
    """An `active` CA signs. Certificates of a `retired` CA are accepted until they expire or the CA is removed."""

    tenant_id: str
    authority_id: str
    """Its certificate's `x5t#S256`."""
    state: Literal["active", "retired"]
    pem: str
    sealed: bytes
    """The private key, encrypted under the master key; empty for a retired CA."""
    created_at: int
    expires_at: int
    version: int = 1

    def __repr__(self) -> str:
        return f"DeviceAuthority({self.authority_id}, {self.state})"

    def signs(self, until: float) -> bool:
        """Whether it may sign a certificate that expires then."""
        return self.state == "active" and until <= self.expires_at


def common_name(client_id: str) -> str:
    """The subject name of a device's certificate, for `tls_client_auth` (RFC 8705 section 2.1.2)."""
    return f"CN={client_id}"
