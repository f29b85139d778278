"""Introspect a token (RFC 7662) for a caller that may know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...protocol.errors import Unavailable
from ...protocol.still_granted import audience_of
from ...registry.model import ADMIN_API
from ..ports import StorageUnavailable
from ..view import TenantView, View
from .read_token import TokenReader

INACTIVE: dict[str, Any] = {"active": False}


class IntrospectToken:
    """Answers from memory, but only from a memory that followed the feed within the last second."""

    def __init__(self, view: View, tokens: TokenReader, clock: Callable[[], float]) -> None:
        self._view, self._tokens, self._clock = view, tokens, clock

    async def __call__(self, tenant: TenantView, caller_id: str, unverified_token: str) -> dict[str, Any]:
        """RFC 7662 section 2.2, or exactly `{"active": false}` for whoever is not among the audience."""
        try:
            await self._view.must_be_fresh()
            claims = await self._tokens.claims(tenant, unverified_token, self._clock())
        except StorageUnavailable as error:
            raise Unavailable("the database is away; try again", detail=str(error)) from None
        if claims is None or not _may_know(tenant, caller_id, claims):
            return INACTIVE
        return {
            "active": True,
            **claims,
            **_details(tenant, caller_id, claims),
            "client_id": claims.get("client_id", claims["sub"]),
            "username": claims["sub"],
            "token_type": "DPoP" if "jkt" in claims.get("cnf", ()) else "Bearer",
        }


def _details(tenant: TenantView, caller_id: str, claims: dict[str, Any]) -> dict[str, Any]:
    """An API sees the objects of its own types only (RFC 9396 section 9.2)."""
    if "authorization_details" not in claims:
        return {}
    apis = [tenant.by_identifier[name] for name in audience_of(claims) if name in tenant.by_identifier]
    known = {
        kind.name for api in apis if may_introspect(tenant, caller_id, api.identifier) for kind in api.details_types
    }
    return {"authorization_details": [one for one in claims["authorization_details"] if one["type"] in known]}


def _may_know(tenant: TenantView, caller_id: str, claims: dict[str, Any]) -> bool:
    return any(may_introspect(tenant, caller_id, identifier) for identifier in audience_of(claims))


def may_introspect(tenant: TenantView, caller_id: str, unverified_identifier: str) -> bool:
    """Whether the caller is the API of that identifier, or among its introspectors.

    Watchword itself is the administration API: no application is, whatever client id it was imported with.
    """
    if unverified_identifier == caller_id and caller_id != ADMIN_API:
        return True
    api = tenant.by_identifier.get(unverified_identifier)
    return api is not None and caller_id in api.introspectors
