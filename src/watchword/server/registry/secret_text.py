"""Generate client secrets, recognize them offline by their checksum, and compute the HMAC that is stored.

`wwsec_` + 43 base62 characters (256 random bits) + 6 base62 characters (CRC-32 of what stands
before). Only `[A-Za-z0-9_]`: percent-encoding cannot change it, and a scanner or a person finds a
leak or a typo without asking the server.
"""

from __future__ import annotations

import hashlib
import hmac
import zlib

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PREFIX = "wwsec_"
OPAQUE_PREFIX = "wwtok_"
INITIAL_PREFIX, REGISTRATION_PREFIX = "wwiat_", "wwrat_"
ENROLMENT_PREFIX = "wwenr_"
TICKET_PREFIX = "wwtkt_"
_BODY, _CHECK = 43, 6
_MAX_HASHED = 1024


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, remainder = divmod(number, 62)
        digits.append(_ALPHABET[remainder])
    return "".join(reversed(digits))


def generate(random_bytes: bytes, prefix: str = PREFIX) -> str:
    """A new text from 32 random bytes."""
    if len(random_bytes) != 32:
        raise ValueError("a secret is made of exactly 32 random bytes")
    body = prefix + _base62(int.from_bytes(random_bytes, "big"), _BODY)
    return body + _base62(zlib.crc32(body.encode()), _CHECK)


def well_formed(text: str, prefix: str = PREFIX) -> bool:
    """Whether prefix, length and checksum fit: a typo check for people, never an access decision."""
    if not text.startswith(prefix) or len(text) != len(prefix) + _BODY + _CHECK or not text.isascii():
        return False
    body, check = text[:-_CHECK], text[-_CHECK:]
    return _base62(zlib.crc32(body.encode()), _CHECK) == check


def digest(pepper: bytes, unverified_secret: bytes) -> str:
    """The HMAC-SHA-256 of a secret, under a key that is not in the database: all that is stored.

    Oversized input is hashed as its first kilobyte and its length, so that a long secret costs no
    more CPU time, and still never equals a short one.
    """
    if len(unverified_secret) > _MAX_HASHED:
        unverified_secret = unverified_secret[:_MAX_HASHED] + b"\0%d" % len(unverified_secret)
    return "hmac:" + hmac.digest(pepper, unverified_secret, "sha256").hex()


def opaque_hash(unverified_token: str) -> str:
    """The database key of an opaque token: a plain hash is enough for 256 random bits."""
    return hashlib.sha256(unverified_token.encode("utf-8", "surrogateescape")).hexdigest()


def sealed_place(tenant_id: str, client_id: str, secret_id: str) -> str:
    """The context of an encrypted client secret: it cannot be decrypted as another application's secret."""
    return f"client_secret/{tenant_id}/{client_id}/{secret_id}"
