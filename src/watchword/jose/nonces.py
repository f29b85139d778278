"""Stateless DPoP nonces (RFC 9449 section 8): a nonce is the time and a MAC over it, so that none is stored.

Every process with the same key accepts them. The nonce changes every period and is accepted for `PERIODS` periods.
"""

from __future__ import annotations

import hmac
from typing import Final

from .encoding import b64url, unb64url
from .errors import ClaimRefused, MalformedToken

PERIOD: Final = 60
"""Seconds after which the nonce changes."""
PERIODS: Final = 5
"""How many periods a nonce is good for, its own included; a slow clock of another node gives one more."""
_TIME: Final = 8
_MAC: Final = 16


class Nonces:
    """The nonces of one key. A nonce is accepted only for the `place` (issuer or API) that it was issued for."""

    def __init__(self, key: bytes) -> None:
        if len(key) < 32:
            raise ValueError("a nonce key has 32 bytes at least")
        self._key = key

    def __repr__(self) -> str:
        return "Nonces(...)"

    def current(self, place: str, now: float) -> str:
        """The nonce of this moment."""
        return self._made(place, int(now) // PERIOD)

    def check(self, place: str, unverified_nonce: str, now: float) -> float:
        """Until when (Unix seconds) the nonce is accepted. Raises `ClaimRefused` for an old or a foreign one."""
        present = int(now) // PERIOD
        try:
            period = int.from_bytes(unb64url(unverified_nonce.encode("ascii"))[:_TIME], "big")
        except (MalformedToken, UnicodeEncodeError):
            period = -1
        # An unverified period is never put into the MAC: it could be larger than the field.
        if not present - PERIODS < period <= present + 1 or not hmac.compare_digest(
            self._made(place, period), unverified_nonce
        ):
            raise ClaimRefused("nonce", "nonce is old or not one of this server's")
        return float((period + PERIODS) * PERIOD)

    def _made(self, place: str, period: int) -> str:
        time = period.to_bytes(_TIME, "big")
        return b64url(time + hmac.digest(self._key, time + place.encode(), "sha256")[:_MAC]).decode()
