"""What a proof is judged by, and what comes out of it."""

from __future__ import annotations

from msgspec import Struct

from ....jose import KeySet
from ....jose.certificates import TrustAnchors
from ...registry.profiles import PROFILES, Profile
from ...registry.trusted_issuer import TrustedIssuer
from ..proof_jwt import ReplayMark, Window


class Grounds(Struct, frozen=True):
    """Everything that is not in the request: none of it comes from the caller."""

    pepper: bytes
    now: float
    issuer: str
    """The only audience that an assertion may have."""
    keys: KeySet = KeySet([])
    """The application's own keys, its secrets as HMAC keys, or those of `trusted`; empty for an unknown one."""
    window: Window = Window()
    anchors: TrustAnchors = TrustAnchors([])
    """The tenant's, for an unknown application as well; of `trusted`, where another issuer vouches."""
    trusted: TrustedIssuer | None = None
    """Whom the tenant believes, of the issuer that the request names."""
    profile: Profile = PROFILES[""]
    """The tenant's: what it refuses beyond the rest."""

    def __repr__(self) -> str:
        return "Grounds(...)"


class Proven(Struct, frozen=True):
    """Which credential it was, and the marks that have to be consumed before anything is given for it."""

    secret_id: str = ""
    key_id: str = ""
    identity_id: str = ""
    """The identity rule that held."""
    foreign_subject: str = ""
    """Whom another issuer's statement was about."""
    marks: tuple[ReplayMark, ...] = ()
