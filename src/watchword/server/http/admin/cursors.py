"""List cursors: a place in one list of one tenant, MACed, so that a forged one never reaches a query."""

from __future__ import annotations

import base64
import binascii
import hmac

import msgspec

from ....jose.sealing import MasterKey
from ...registry.errors import Invalid

_MAC = 16


class Cursors:
    """Opaque to callers."""

    def __init__(self, master: MasterKey) -> None:
        self._key = master.derive(b"watchword cursors v1")

    def write(self, place: tuple[str, str], *of: str) -> str:
        """The cursor behind `place` in the list that `of` names."""
        plain = msgspec.json.encode([*of, *place])
        return base64.urlsafe_b64encode(self._mac(plain) + plain).decode().rstrip("=")

    def read(self, unverified_cursor: str, *of: str) -> tuple[str, str]:
        """The place. Raises `Invalid` for a changed cursor and for one of another list."""
        wrong = Invalid(
            "this cursor was not made for this list; begin again without one",
            field="cursor",
        )
        try:
            raw = base64.b64decode(
                unverified_cursor + "=" * (-len(unverified_cursor) % 4),
                b"-_",
                validate=True,
            )
        except (binascii.Error, ValueError):
            raise wrong from None
        if len(raw) <= _MAC or not hmac.compare_digest(self._mac(raw[_MAC:]), raw[:_MAC]):
            raise wrong
        *named, sort, id_ = msgspec.json.decode(raw[_MAC:], type=list[str])
        if named != list(of):
            raise wrong
        return sort, id_

    def _mac(self, plain: bytes) -> bytes:
        return hmac.digest(self._key, plain, "sha256")[:_MAC]
