"""What a token still allows: its claims, without what its application no longer holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..registry.appid import DEFAULT_SCOPE
from ..registry.model import Api
from .standing import Standing

_APPID_ONLY = "amr"
"""A claim that every token of the App ID surface has, and no other access token."""


def audience_of(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """`aud` as a list: RFC 7519 section 4.1.3 allows a string for one audience."""
    audience = claims["aud"]
    return (audience,) if isinstance(audience, str) else tuple(audience)


def still_granted(
    claims: dict[str, Any], standing: Standing, by_identifier: Mapping[str, Api]
) -> dict[str, Any] | None:
    """The claims with the audiences, scopes and details that the application holds now; None if no audience is left.

    `standing` is that of the application that asked for the token (`client_id`). Every reader of tokens gets these
    claims: the admin API, introspection, forward-auth, token exchange.
    """
    if _APPID_ONLY in claims:
        return _of_appid(claims, standing, by_identifier)
    apis = [by_identifier[name] for name in audience_of(claims) if name in by_identifier]
    living = [api for api in apis if api.enabled and api.api_id in standing.granted]
    if not living:
        return None
    held = frozenset.intersection(*(standing.granted[api.api_id] for api in living))
    kept = {**claims, "scope": _kept(claims, held)}
    if len(living) < len(audience_of(claims)):
        names = [api.identifier for api in living]
        kept["aud"] = names[0] if len(names) == 1 else names
    if "authorization_details" in claims:
        allowed = standing.application.details_types
        kept["authorization_details"] = [one for one in claims["authorization_details"] if one["type"] in allowed]
    return kept


def _of_appid(claims: dict[str, Any], standing: Standing, by_identifier: Mapping[str, Api]) -> dict[str, Any]:
    """Without `audience` a token of App ID has the scopes that its application has anywhere."""
    named = [by_identifier[name] for name in audience_of(claims) if name != claims["sub"] and name in by_identifier]
    api_ids = [api.api_id for api in named if api.enabled] if named else list(standing.granted)
    held = frozenset().union(*(standing.granted.get(api_id, frozenset()) for api_id in api_ids))
    return {**claims, "scope": _kept(claims, held | {DEFAULT_SCOPE})}


def _kept(claims: Mapping[str, Any], held: frozenset[str]) -> str:
    return " ".join(name for name in str(claims["scope"]).split(" ") if name in held)
