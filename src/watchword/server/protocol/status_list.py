"""Token Status Lists (draft-ietf-oauth-status-list-21): names of lists, indexes in them, and their bits.

A list's name has its tenant, its start time and its algorithm, under a MAC: with the key our lists are recognized
without storing their names (decision 0042).
"""

from __future__ import annotations

import hmac
import zlib
from array import array
from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

from ...jose import MalformedToken
from ...jose.encoding import b64url, unb64url
from ..registry.model import MAX_LIFETIME, SigningAlgorithm

TYPE: Final = "statuslist+jwt"
PATH: Final = "statuslists/"
HALF: Final = 10
SIZE: Final = 1 << 2 * HALF
"""Tokens of one list: 128 KiB of bits, compressed to about 150 bytes when no token was revoked."""
ROUNDS: Final = 4
CHANCE: Final = ROUNDS * 2 * (1 << HALF)
"""Random bytes for a `Scatter`."""
USE: Final = 3_600
"""Seconds for which a worker assigns indexes of one list."""
KEPT: Final = USE + MAX_LIFETIME + 3_600
"""Seconds for which a list is served: until its last token has expired, and a verifier's leeway."""
_ALGORITHMS: Final[tuple[SigningAlgorithm, ...]] = (
    "ES256", "RS256", "PS256", "EdDSA", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87",
)  # fmt: skip
"""Their positions are part of names: append only."""
_MADE_AT, _RANDOM, _MAC = 5, 10, 16
RANDOM: Final = _RANDOM


class ListName(Struct, frozen=True):
    """The content of a list's name: its start time (seconds), its algorithm, and random bytes."""

    made_at: int
    algorithm: SigningAlgorithm
    random: bytes

    def write(self, key: bytes, tenant_id: str) -> str:
        """The last part of its URI: 43 characters."""
        place = _ALGORITHMS.index(self.algorithm)
        plain = bytes([place]) + self.made_at.to_bytes(_MADE_AT, "big") + self.random
        return b64url(plain + _mac(key, tenant_id, plain)).decode()

    @property
    def ends_at(self) -> int:
        """When the list is not needed any more, in seconds since the epoch."""
        return self.made_at + KEPT


def read_name(unverified_name: str, key: bytes, tenant_id: str) -> ListName | None:
    """The name, if it was written under this key for this tenant."""
    try:
        raw = unb64url(unverified_name.encode("ascii"))
    except (MalformedToken, UnicodeEncodeError):
        return None
    plain, mac = raw[:-_MAC], raw[-_MAC:]
    if len(raw) != 1 + _MADE_AT + _RANDOM + _MAC or not hmac.compare_digest(mac, _mac(key, tenant_id, plain)):
        return None
    made_at = int.from_bytes(plain[1 : 1 + _MADE_AT], "big")
    return ListName(made_at, _ALGORITHMS[plain[0]], plain[1 + _MADE_AT :])


def _mac(key: bytes, tenant_id: str, plain: bytes) -> bytes:
    return hmac.digest(key, tenant_id.encode() + b"\n" + plain, "sha256")[:_MAC]


class Scatter:
    """Every index of a list once, in a random order, so that two indexes do not tell the number of tokens between them.

    Four Feistel rounds over random tables: a permutation that looks random to a reader of some of its values
    (Luby and Rackoff, 1988).
    """

    def __init__(self, chance: bytes) -> None:
        size = 2 << HALF
        self._rounds = [array("H", chance[at : at + size]) for at in range(0, CHANCE, size)]

    def index(self, number: int) -> int:
        """The place of the number-th token, 0 to SIZE - 1."""
        mask = (1 << HALF) - 1
        left, right = number >> HALF, number & mask
        for table in self._rounds:
            left, right = right, left ^ (table[right] & mask)
        return left << HALF | right


class Reference(Struct, frozen=True):
    """The list and index of a token's status."""

    list_name: str
    idx: int


def reference_in(claims: Mapping[str, Any]) -> Reference | None:
    """The reference in the claims of our token, if it has one."""
    status = claims.get("status")
    if status is None:
        return None
    place = status["status_list"]
    return Reference(place["uri"].rpartition("/")[2], place["idx"])


def compressed(revoked: Iterable[int]) -> str:
    """`lst` of one bit a token, the first in the lowest bit of a byte (section 4.1): 1 is INVALID (section 7.1)."""
    bits = bytearray(SIZE // 8)
    for idx in revoked:
        bits[idx >> 3] |= 1 << (idx & 7)
    return b64url(zlib.compress(bits, 9)).decode()


def list_claims(issuer: str, uri: str, revoked: Iterable[int], issued_at: int, ttl: int) -> dict[str, Any]:
    """Section 5.1. A copy that is held back expires after three times `ttl`."""
    return {
        "iss": issuer,
        "sub": uri,
        "iat": issued_at,
        "exp": issued_at + 3 * ttl,
        "ttl": ttl,
        "status_list": {"bits": 1, "lst": compressed(revoked)},
    }
