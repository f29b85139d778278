"""What a proof is judged by, and what comes out of it."""

from __future__ import annotations

from msgspec import Struct

from ....jose import KeySet
from ....jose.certificates import TrustAnchors
from ..proof_jwt import ReplayMark, Window


class Grounds(Struct, frozen=True):
    """Everything that is not in the request: none of it comes from the caller."""

    pepper: bytes
    now: float
    issuer: str
    """The only audience that an assertion may have."""
    keys: KeySet = KeySet([])
    """The application's own keys, or its secrets as HMAC keys; empty for an unknown one."""
    window: Window = Window()
    anchors: TrustAnchors = TrustAnchors([])
    """The tenant's, for an unknown application as well."""

    def __repr__(self) -> str:
        return "Grounds(...)"


class Proven(Struct, frozen=True):
    """Which credential it was, and the marks that have to be consumed before anything is given for it."""

    secret_id: str = ""
    key_id: str = ""
    marks: tuple[ReplayMark, ...] = ()
