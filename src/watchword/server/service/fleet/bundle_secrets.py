"""Derive secrets of an import or rotation from the caller's bundle key and a server key: a repeat gives the same."""

from __future__ import annotations

import base64
import binascii
import hmac

from ...registry.errors import Invalid


def secret_key(unverified_bundle_key: str | None, bulk_key: bytes, tenant_id: str) -> bytes | None:
    """The key from which the secrets of one bundle in one tenant are derived (decision 0058); None without a bundle.

    `unverified_bundle_key`: 32 bytes in base64url. Raises `Invalid`.
    """
    if unverified_bundle_key is None:
        return None
    try:
        raw = base64.b64decode(unverified_bundle_key + "=" * (-len(unverified_bundle_key) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 32:
        raise Invalid("use exactly 32 random bytes in base64url", field="bundle_key")
    return hmac.digest(bulk_key, raw + tenant_id.encode(), "sha256")


def of_import(key: bytes, serial: str) -> bytes:
    """32 bytes for the secret of an imported device."""
    return hmac.digest(key, serial.encode(), "sha256")


def of_rotation(key: bytes, client_id: str) -> bytes:
    """32 bytes for a device's next secret. Serial numbers contain no NUL, so no import derives the same bytes."""
    return hmac.digest(key, b"rotate\0" + client_id.encode(), "sha256")
