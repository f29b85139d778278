"""Sign an introspection answer (RFC 9701): for callers that asked for it, and for those whose API insists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ...protocol.claims import encode_members
from ..view import TenantView, View
from .signers import signer

TYPE: Final = "token-introspection+jwt"
DEFAULT: Final = "RS256"
"""RFC 9701 section 6; every tenant has a key for it."""


def must_be_signed(tenant: TenantView, caller_id: str) -> bool:
    """Whether this caller is never answered in plain JSON, whatever it asks for and whatever the token is.

    The caller alone decides, for the API of a token that is not active is not known.
    """
    found = tenant.derived.get("signed introspectors")
    if found is None:
        insisting = [api for api in tenant.apis.values() if api.signed_introspection]
        names = {name for api in insisting for name in (api.identifier, *api.introspectors)}
        found = tenant.derived["signed introspectors"] = frozenset(names)
    assert isinstance(found, frozenset)
    return caller_id in found


class SignIntrospection:
    """One signature an answer; nothing of it is kept."""

    def __init__(self, view: View, clock: Callable[[], float], issuer_of: Callable[[str], str]) -> None:
        self._view, self._clock, self._issuer_of = view, clock, issuer_of

    async def __call__(self, tenant: TenantView, caller_id: str, answered: dict[str, Any]) -> bytes:
        """The JWT of RFC 9701 section 5. It has no `sub` and no `exp`, so that nobody takes it for a token.

        Raises `Unavailable` when no key of the caller's algorithm is active.
        """
        standing = await self._view.standing(tenant, caller_id)
        wanted = standing.application.introspection_signed_response_alg if standing is not None else None
        claims = {
            "iss": self._issuer_of(tenant.tenant.slug),
            "aud": caller_id,
            "iat": int(self._clock()),
            "token_introspection": answered,
        }
        return signer(tenant, wanted or DEFAULT, TYPE).sign(encode_members(claims)).encode("ascii")
