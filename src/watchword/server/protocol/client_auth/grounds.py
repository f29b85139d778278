"""The inputs of client authentication that are not in the request, and its result."""

from __future__ import annotations

from msgspec import Struct

from ....jose import KeySet
from ....jose.certificates import TrustAnchors
from ...registry.profiles import PROFILES, Profile
from ...registry.trusted_issuer import TrustedIssuer
from ..proof_jwt import ReplayMark, Window


class Grounds(Struct, frozen=True):
    """What a credential is checked against; none of it comes from the caller."""

    pepper: bytes
    now: float
    issuer: str
    """The only allowed audience of an assertion."""
    keys: KeySet = KeySet([])
    """The application's own keys, its secrets as HMAC keys, or the keys of `trusted`; empty for unknown ones."""
    window: Window = Window()
    anchors: TrustAnchors = TrustAnchors([])
    """The tenant's trust anchors, also for an unknown application; those of `trusted` for its tokens."""
    trusted: TrustedIssuer | None = None
    """The trusted issuer that the request names, if the tenant has it."""
    profile: Profile = PROFILES[""]
    """The tenant's security profile, with its additional rules."""

    def __repr__(self) -> str:
        return "Grounds(...)"


class Proven(Struct, frozen=True):
    """The credential that was used, and the replay marks that have to be stored before the answer."""

    secret_id: str = ""
    key_id: str = ""
    identity_id: str = ""
    """The identity rule that matched."""
    foreign_subject: str = ""
    """The subject of another issuer's token."""
    marks: tuple[ReplayMark, ...] = ()
