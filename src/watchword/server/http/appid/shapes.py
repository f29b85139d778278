"""The bodies of the App ID management API, as IBM's generated clients write and read them."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from ...registry.errors import Invalid
from ...registry.model import DEFAULT_LIFETIME, ClaimMapping, Tenant

REFRESH_LIFETIME = 2_592_000
"""App ID's default. It is told because its clients read it; there are no refresh tokens here."""


class _Body(Struct, frozen=True, forbid_unknown_fields=True):
    """A member that we do not know is a mistake, not a wish to be ignored."""


class NewApplicationBody(_Body, frozen=True):
    """POST /applications."""

    name: str
    type: Literal["regularwebapp", "singlepageapp"] = "regularwebapp"


class RenamedBody(_Body, frozen=True):
    """PUT /applications/{clientId}."""

    name: str


class ScopesBody(_Body, frozen=True):
    """PUT /applications/{clientId}/scopes."""

    scopes: tuple[str, ...]


class RoleIds(_Body, frozen=True):
    """The roles of an application."""

    ids: tuple[str, ...]


class RoleIdsBody(_Body, frozen=True):
    """PUT /applications/{clientId}/roles."""

    roles: RoleIds


class AccessBody(_Body, frozen=True):
    """What a role gives at one application."""

    application_id: str
    scopes: tuple[str, ...]


class RoleBody(_Body, frozen=True):
    """POST and PUT of a role."""

    name: str
    access: tuple[AccessBody, ...]
    description: str = ""


class Lifetime(_Body, frozen=True):
    """Seconds."""

    expires_in: int = DEFAULT_LIFETIME


class UserTokens(_Body, frozen=True):
    """Refresh tokens and anonymous users: accepted only as switched off."""

    enabled: bool = False
    expires_in: int = REFRESH_LIFETIME


class ClaimBody(_Body, frozen=True, rename="camel"):
    """One custom claim."""

    source: str
    source_claim: str = ""
    destination_claim: str = ""


class TokensBody(_Body, frozen=True, rename="camel"):
    """PUT /config/tokens replaces the whole; what is missing falls back to its default."""

    access: Lifetime = Lifetime()
    refresh: UserTokens = UserTokens()
    anonymous_access: UserTokens = UserTokens()
    access_token_claims: tuple[ClaimBody, ...] = ()
    id_token_claims: tuple[Any, ...] = ()

    def claims(self) -> tuple[ClaimMapping, ...]:
        """The mappings, if nothing is asked for that only users have. Raises `Invalid`."""
        if self.refresh.enabled:
            raise Invalid("applications get no refresh token: ask for a new access token", field="refresh.enabled")
        if self.anonymous_access.enabled:
            raise Invalid("there are no anonymous users here: say false", field="anonymousAccess.enabled")
        if self.id_token_claims:
            raise Invalid("there are no id tokens here", field="idTokenClaims")
        return tuple(
            ClaimMapping(source=c.source, source_claim=c.source_claim, destination_claim=c.destination_claim)
            for c in self.access_token_claims
        )


class ApplicationShape(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An application; `secret` is there in the answer that creates it and never again."""

    client_id: str
    tenant_id: str
    secret: str | UnsetType = UNSET
    name: str
    o_auth_server_url: str
    profiles_url: str
    discovery_endpoint: str
    type: str


def tokens_shape(tenant: Tenant) -> dict[str, Any]:
    """TokensConfig."""
    off = {"enabled": False, "expires_in": REFRESH_LIFETIME}
    claims = [
        {
            "source": claim.source,
            **({"sourceClaim": claim.source_claim} if claim.source_claim else {}),
            **({"destinationClaim": claim.destination_claim} if claim.destination_claim else {}),
        }
        for claim in tenant.appid_claims
    ]
    return {
        "access": {"expires_in": tenant.appid_lifetime}, "refresh": off, "anonymousAccess": off,
        "accessTokenClaims": claims, "idTokenClaims": [],
    }  # fmt: skip
