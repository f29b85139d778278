"""Client credentials by the rules of IBM Cloud App ID: its audiences, scopes and claims."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from ..registry.appid import DEFAULT_SCOPE, RESERVED_CLAIMS, is_application
from ..registry.model import CLIENT_CREDENTIALS, Api, SigningAlgorithm, TokenSettings
from .access import Access, allowed_scopes, asked_scopes, must_be_bound
from .errors import InvalidRequest, InvalidTarget, UnsupportedGrantType
from .grants import only
from .grants.grant import Grant, Seen
from .request import TokenRequest
from .standing import Standing

AMR = ("appid_client_credentials",)
ALGORITHM: SigningAlgorithm = "RS256"
_NEITHER = "the App ID surface knows neither exchange nor authorization_details"


class AppIdAccess(Access, frozen=True):
    """The granted access, and the claims that the tenant adds."""

    custom: dict[str, Any] = field(default_factory=dict)


class AppIdClaims(Struct, frozen=True):
    """The claims that App ID v4 writes, and `jti`, by which a token can be revoked. `aud` is always an array."""

    iss: str
    aud: tuple[str, ...]
    sub: str
    exp: int
    iat: int
    tenant: str
    scope: str
    amr: tuple[str, ...]
    jti: str


def judge(standing: Standing, request: TokenRequest, _: Seen = ()) -> AppIdAccess:
    """Without `audience` the audience is the application itself, with all scopes that it has anywhere.

    No other API accepts such a token: the scopes of several APIs add up for nobody but the application itself.
    The scope `appid_default` is always added. A scope that is not granted is refused, never dropped.
    """
    if request.details:
        raise UnsupportedGrantType(_NEITHER)
    if request.resources:
        raise InvalidTarget("this issuer knows audience (an application's client id), not resource")
    targets = _targets(standing, "".join(request.audiences))
    if must_be_bound(standing.application, targets):
        raise InvalidRequest("this token has to be bound to a key, and App ID knows none: ask the issuer's own /token")
    asked = tuple(name for name in asked_scopes(request.scope) if name != DEFAULT_SCOPE)
    available: frozenset[str] = frozenset().union(*(standing.granted[api.api_id] for api in targets))
    given = allowed_scopes(asked, available) if asked or not request.scope else ()
    return AppIdAccess(
        standing.application.client_id,
        (*(request.audiences or (standing.application.client_id,)),),
        (DEFAULT_SCOPE, *given),
        TokenSettings(algorithm=ALGORITHM, type="JWT", lifetime=standing.tenant.appid_lifetime),
        custom=_custom_claims(standing),
    )


def _targets(standing: Standing, audience: str) -> tuple[Api, ...]:
    """The same error for unknown and disabled APIs, APIs without a grant, and APIs with a URI."""
    reachable = [standing.apis[api_id] for api_id, scopes in standing.granted.items() if scopes]
    targets = tuple(api for api in reachable if api.enabled and is_application(api.identifier))
    if not audience:
        return targets
    named = tuple(api for api in targets if api.identifier == audience)
    if not named:
        raise InvalidTarget("audience names no application that this one's roles reach")
    return named


def _custom_claims(standing: Standing) -> dict[str, Any]:
    """Attributes that the application does not have are left out."""
    found: dict[str, Any] = {}
    for mapping in standing.tenant.appid_claims:
        if mapping.claim in RESERVED_CLAIMS:
            continue  # it was allowed once
        if mapping.source == "roles":
            found[mapping.claim] = standing.roles
        elif mapping.source_claim in standing.application.labels:
            found[mapping.claim] = standing.application.labels[mapping.source_claim]
    return found


GRANTS = only(Grant(CLIENT_CREDENTIALS, judge), otherwise=_NEITHER)


def claims(access: AppIdAccess, issuer: str, tenant: str, now: int, token_id: str) -> AppIdClaims:
    """Pure: the same arguments give the same claims."""
    return AppIdClaims(
        issuer,
        access.audience,
        access.subject,
        now + access.settings.lifetime,
        now,
        tenant,
        " ".join(access.scopes),
        AMR,
        token_id,
    )
