"""What a tenant's profile (such as FAPI 2.0) requires of every token, whatever the grant."""

from __future__ import annotations

from msgspec.structs import replace

from ..registry.profiles import Profile, signing_allowed
from .access import Access
from .errors import InvalidRequest, InvalidTarget
from .proof_jwt import Window


def hold_to(profile: Profile, access: Access, *, shows_key: bool) -> Access:
    """`access` by the profile's rules: bound, and with a limited lifetime.

    Raises:
        InvalidRequest: nothing to bind a token to. The certification suite's modules for DPoP and for certificates
            have this one error in common (decision 0044).
        InvalidTarget: the profile does not allow the API's token algorithm.
    """
    bound = profile.bound and access.kind is None  # only access tokens have a cnf
    if bound and not shows_key:
        raise InvalidRequest(
            f"tokens are bound to a key here (profile {profile.name}): send a DPoP proof, or connect with a certificate"
        )
    if not signing_allowed(profile, access.settings):
        raise InvalidTarget(
            f"this API's tokens are signed with {access.settings.algorithm}, which the profile {profile.name} refuses"
        )
    lifetime = min(access.settings.lifetime, profile.longest_token or access.settings.lifetime)
    return replace(access, bound=access.bound or bound, settings=replace(access.settings, lifetime=lifetime))


def window_in(profile: Profile, window: Window) -> Window:
    """The configured window, within the limits of the profile."""
    least, most = profile.leeway
    leeway = min(max(window.leeway, least), most)
    return window if leeway == window.leeway else replace(window, leeway=leeway)
