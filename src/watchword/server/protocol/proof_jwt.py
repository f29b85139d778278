"""What the JWTs have in common that a caller signs to prove itself: a bounded life, and one use.

Client assertions (RFC 7523) and DPoP proofs (RFC 9449) are judged by the same window and consumed by the same marks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii
from typing import Any

from msgspec import Struct

from ...jose import ClaimRefused


class Window(Struct, frozen=True):
    """Seconds: how far two clocks may differ, in either direction, and how long a proof may live."""

    leeway: float = 10.0
    life: float = 600.0


class ReplayMark(Struct, frozen=True):
    """Says that a proof was used; kept until no clock within the leeway would accept the proof any more."""

    key: bytes
    expires_at: int


def replay_mark(kind: str, owner: str, claims: Mapping[str, Any], ends: float, window: Window) -> ReplayMark:
    """One `jti` of one owner: two owners never meet, and `ABC` is not `abc`. Raises `ClaimRefused`."""
    jti = claims.get("jti")
    if not isinstance(jti, str) or not jti:
        raise ClaimRefused("jti", "jti is missing or not a text")
    text = f'["{kind}", {encode_basestring_ascii(owner)}, {encode_basestring_ascii(jti)}]'.encode()
    # int() rounds down and the proof is still good at `ends + leeway`, hence one second more.
    return ReplayMark(hashlib.sha256(text).digest(), int(ends + window.leeway) + 1)


def check_life(claims: Mapping[str, Any], now: float, window: Window) -> None:
    """The longest life counts from now and not from iat, which the caller chooses. Raises `ClaimRefused`.

    Expects numbers: `jose.check_claims` has looked at them.
    """
    if claims["exp"] > now + window.life + window.leeway:
        raise ClaimRefused("exp", f"exp is more than {window.life:.0f} s ahead")
    for name in ("iat", "nbf"):
        if name in claims and claims[name] < now - window.life - window.leeway:
            raise ClaimRefused(name, f"{name} is more than {window.life:.0f} s ago")
