"""The record of an expected device: a serial number, a public key, or both, listed before the device enrols."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from ....jose import PublicKey
from ..client_keys import read_public
from ..errors import Invalid
from .enrolment import check_serial

_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")
"""SHA-256 in base64url (RFC 7638 section 3)."""


class ExpectedDevice(Struct, frozen=True, kw_only=True):
    """Has a serial number or a key, each at most once in a tenant. Enrolling the device removes it from the list."""

    tenant_id: str
    group_id: str
    serial: str | None = None
    key: str | None = None
    """The RFC 7638 thumbprint of its public key."""

    @property
    def entry(self) -> str:
        """Its key in the list."""
        return f"serial:{self.serial}" if self.serial is not None else f"key:{self.key}"


def read_expected(
    serial: str | None, jwk: Mapping[str, Any] | None, thumbprint: str | None
) -> tuple[str | None, str | None]:
    """The serial number and the key's thumbprint of a row. Raises `Invalid`."""
    if jwk is not None and thumbprint is not None:
        raise Invalid("give the key or its thumbprint, not both", field="thumbprint")
    if jwk is not None:
        thumbprint = read_public(jwk).thumbprint()
    if serial is None and thumbprint is None:
        raise Invalid("say a serial number, a key, or both", field="serial")
    if serial is not None:
        check_serial(serial)
    if thumbprint is not None and not _THUMBPRINT.fullmatch(thumbprint):
        raise Invalid("not a thumbprint as RFC 7638 makes it with SHA-256: 43 characters", field="thumbprint")
    return serial, thumbprint


def key_thumbprint(jwk: Mapping[str, Any]) -> str:
    """The thumbprint of a checked public JWK (RFC 7638)."""
    return PublicKey.from_jwk(jwk).thumbprint()
