"""Check lifetime and single use of the JWTs that callers sign: client assertions and DPoP proofs.

Client assertions (RFC 7523) and DPoP proofs (RFC 9449) have the same time window and the same replay marks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii
from typing import Any

from msgspec import Struct

from ...jose import ClaimRefused


class Window(Struct, frozen=True):
    """Seconds: the allowed clock difference, in either direction, and the longest lifetime of a proof."""

    leeway: float = 10.0
    life: float = 600.0


class ReplayMark(Struct, frozen=True):
    """Records that a proof was used (replay protection); kept until no clock within the leeway accepts the proof."""

    key: bytes
    expires_at: int


def replay_mark(kind: str, owner: str, claims: Mapping[str, Any], ends: float, window: Window) -> ReplayMark:
    """The mark of one `jti` of one owner; owners are separate, and `ABC` is not `abc`. Raises `ClaimRefused`."""
    jti = claims.get("jti")
    if not isinstance(jti, str) or not jti:
        raise ClaimRefused("jti", "jti is missing or not a text")
    text = f'["{kind}", {encode_basestring_ascii(owner)}, {encode_basestring_ascii(jti)}]'.encode()
    # int() rounds down and the proof is still good at `ends + leeway`, hence one second more.
    return ReplayMark(hashlib.sha256(text).digest(), int(ends + window.leeway) + 1)


def check_life(claims: Mapping[str, Any], now: float, window: Window) -> None:
    """The longest lifetime counts from now and not from `iat`, which the caller chooses. Raises `ClaimRefused`.

    Expects numbers: `jose.check_claims` has looked at them.
    """
    if claims["exp"] > now + window.life + window.leeway:
        raise ClaimRefused("exp", f"exp is more than {window.life:.0f} s ahead")
    for name in ("iat", "nbf"):
        if name in claims and claims[name] < now - window.life - window.leeway:
            raise ClaimRefused(name, f"{name} is more than {window.life:.0f} s ago")
