"""Nonces that a server gives out and need not keep (RFC 9449 section 8): the time, and a MAC over it.

Every process that has the key takes them; a new one is given in every period, and each is good for a few.
"""

from __future__ import annotations

import hmac
from typing import Final

from .encoding import b64url, unb64url
from .errors import ClaimRefused, MalformedToken

PERIOD: Final = 60
"""Seconds after which another nonce is given."""
PERIODS: Final = 5
"""How many periods a nonce is good for, its own included; a slow clock of another node gives one more."""
_TIME: Final = 8
_MAC: Final = 16


class Nonces:
    """Those of one key. `place` keeps what is given in one place from being good in another."""

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
        """The second until which it is good. Raises `ClaimRefused` for one that is old or not of ours."""
        present = int(now) // PERIOD
        try:
            period = int.from_bytes(unb64url(unverified_nonce.encode("ascii"))[:_TIME], "big")
        except (MalformedToken, UnicodeEncodeError):
            period = -1
        # A period from elsewhere is never put into the MAC: it could be larger than the field.
        if not present - PERIODS < period <= present + 1 or not hmac.compare_digest(
            self._made(place, period), unverified_nonce
        ):
            raise ClaimRefused("nonce", "nonce is old or not one of this server's")
        return float((period + PERIODS) * PERIOD)

    def _made(self, place: str, period: int) -> str:
        time = period.to_bytes(_TIME, "big")
        return b64url(time + hmac.digest(self._key, time + place.encode(), "sha256")[:_MAC]).decode()
