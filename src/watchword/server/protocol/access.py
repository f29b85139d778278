"""Checks that every grant shares, and `Access`, the answer that every grant gives."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from msgspec import Struct

from ..registry.model import ADMIN_API, Api, Application, Tenant, TokenSettings
from .errors import InvalidClient, InvalidScope, InvalidTarget, UnauthorizedClient

_SCOPES = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+(?: [\x21\x23-\x5B\x5D-\x7E]+)*")
MAX_SCOPES = 1000


class Exchanged(Struct, frozen=True):
    """What a token has of the token that it was made from (RFC 8693)."""

    actor: str
    """The client id of the application that acts now."""
    act: dict[str, Any]
    """Section 4.1: the application that acts, and inside it the one that acted before."""
    subject_tokens: tuple[str, ...]
    """The ids of the tokens before this one. If one of them is revoked, this token is inactive as well."""
    expires_at: int
    """When the subject token expires; the new token lives no longer."""


class KindClaims(Protocol):
    """The claims of a token that is no access token: the members that are recorded and answered, beside the rest."""

    @property
    def scope(self) -> str: ...

    @property
    def exp(self) -> int: ...

    @property
    def txn(self) -> str:
        """The transaction (RFC 8417 section 2.2)."""


class Kind(Struct, frozen=True):
    """A kind of token that is no access token: a JWT with a type and claims of its own, bound to no key."""

    type: str
    """`typ` in its header."""
    claims: Callable[[Any, str, int, str], KindClaims]
    """Pure: (access, issuer, now in seconds, token id) -> the claims, a `Struct`."""


class Access(Struct, frozen=True):
    """What a grant gave: the only source of a token's claims."""

    subject: str
    audience: tuple[str, ...]
    scopes: tuple[str, ...]
    settings: TokenSettings
    bound: bool = False
    """Whether the token has to be bound to a key."""
    confirmation: dict[str, str] | None = None
    """`cnf`: the key that the holder has to prove possession of (RFC 7800 section 3.1)."""
    may_act: str = ""
    """The client id of the only application that may exchange the token (RFC 8693 section 4.4); empty: any."""
    details: tuple[dict[str, Any], ...] = ()
    """`authorization_details` (RFC 9396)."""
    exchanged: Exchanged | None = None
    """For a token that was made from another token."""
    depends_on: frozenset[str] = frozenset()
    """The ids of further applications and tokens that the decision depends on. If one of them changes before the token
    is committed, the request is judged again."""
    issued_type: str = ""
    """`issued_token_type` of the answer (RFC 8693 section 2.2.1); empty: the answer has none."""
    kind: Kind | None = None
    """None for an access token."""


def check_may_act(tenant: Tenant, application: Application) -> None:
    """Disabled, quarantined and deleted things get no token by any grant."""
    if application.quarantine is not None:
        raise InvalidClient(detail="the application is in quarantine", rule="quarantine")
    if not tenant.enabled or not application.active:
        raise InvalidClient(detail="the application or its tenant is disabled")


def check_grant_allowed(application: Application, grant_type: str) -> None:
    """RFC 6749 section 5.2, unauthorized_client."""
    if grant_type not in application.grant_types:
        raise UnauthorizedClient("this application may not use this grant type; an administrator can allow it")


def must_be_bound(application: Application, targets: tuple[Api, ...]) -> bool:
    """One of them is enough to want it."""
    return application.require_bound or application.require_dpop or any(api.require_bound for api in targets)


def asked_scopes(scope: str) -> tuple[str, ...]:
    """RFC 6749 section 3.3; repeated names count once; none asked is the empty tuple."""
    if not scope:
        return ()
    if not _SCOPES.fullmatch(scope):
        raise InvalidScope("scope is not a space-separated list of scope-tokens (RFC 6749 section 3.3)")
    names = tuple(dict.fromkeys(scope.split(" ")))
    if len(names) > MAX_SCOPES:
        raise InvalidScope(f"more than {MAX_SCOPES} scopes")
    return names


def target_apis(
    named: tuple[str, ...],
    asked: tuple[str, ...],
    granted: Mapping[str, frozenset[str]],
    apis: Mapping[str, Api],
    default_api_id: str | None,
) -> tuple[Api, ...]:
    """The APIs a token is for. Unknown, not granted and disabled are one and the same answer."""
    if named:
        found = [api for api in apis.values() if api.identifier in named and api.api_id in granted and api.enabled]
        if len(found) != len(set(named)):
            raise InvalidTarget(
                "there is no such API for this application; check resource and the application's grants"
            )
        return tuple(sorted(found, key=lambda api: named.index(api.identifier)))
    reachable = [apis[api_id] for api_id in granted if api_id in apis and apis[api_id].enabled]
    if default_api_id is not None:
        reachable = [api for api in reachable if api.api_id == default_api_id] or reachable
    if len(reachable) > 1 and asked:
        reachable = [api for api in reachable if granted[api.api_id].issuperset(asked)] or reachable
    if len(reachable) != 1:
        raise InvalidTarget(
            "this application reaches several APIs; name one with resource"
            if reachable
            else "this application has no API granted; an administrator can grant one"
        )
    return tuple(reachable)


def check_together(targets: tuple[Api, ...], *, allowed: bool) -> None:
    """Whether one token may be for all of these APIs; `allowed` is the tenant's setting. Raises `InvalidTarget`."""
    if len(targets) < 2:
        return
    if any(api.identifier == ADMIN_API for api in targets):
        raise InvalidTarget("a token for the administration API is for that API alone: ask for one token each")
    if not allowed:
        raise InvalidTarget("here a token is for one API: ask for one token each")


def granted_at_each(targets: tuple[Api, ...], granted: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """The scopes that are granted at every one of the APIs: each API of a token reads all of its scopes.

    RFC 8707 section 2, RFC 9068 section 5. Raises `InvalidScope` if several APIs have none in common.
    """
    each = [granted[api.api_id] for api in targets]
    common = frozenset.intersection(*each)
    if not common and any(each):
        raise InvalidScope("no scope is granted at each of these APIs: ask for one token each")
    return common


def allowed_scopes(asked: tuple[str, ...], available: frozenset[str]) -> tuple[str, ...]:
    """All that is available when none is asked; never silently narrowed; not allowed and unknown look alike."""
    if not asked:
        return tuple(sorted(available))
    if not available.issuperset(asked):
        raise InvalidScope("a scope is unknown or not granted to this application at each API of the request")
    return asked


def shared_settings(targets: tuple[Api, ...]) -> TokenSettings:
    """One token for several APIs needs one form; the shortest life wins."""
    first = targets[0].tokens
    for api in targets[1:]:
        other = api.tokens
        if (other.format, other.algorithm, other.type) != (
            first.format,
            first.algorithm,
            first.type,
        ):
            raise InvalidTarget("these APIs want different tokens; ask for one token each")
    if len(targets) == 1:
        return first
    lifetime = min(api.tokens.lifetime for api in targets)
    return TokenSettings(
        format=first.format,
        algorithm=first.algorithm,
        type=first.type,
        lifetime=lifetime,
        status_list=any(api.tokens.status_list for api in targets),
    )
