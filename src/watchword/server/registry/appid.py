"""Names and rules of the IBM Cloud App ID surface.

An application that offers scopes is an API whose identifier is the client id. Only such APIs exist for
tokens of this surface: APIs that are identified by a URI, such as the administration API, are not reachable with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .errors import Invalid
from .model import MAX_LIFETIME, ClaimMapping
from .rules import check_name, check_unique

DEFAULT_SCOPE = "appid_default"
"""Every token has this scope; the SDK's APIStrategy asks for it."""
MIN_LIFETIME = 300
MAX_CLAIMS = 100
SOURCES = ("attributes", "roles")
_SCOPE = re.compile(r"[a-z0-9._]{1,49}")
_RESERVED_SCOPES = ("appid_", "openid")
RESERVED_CLAIMS = frozenset(
    {
        "iss", "aud", "sub", "iat", "exp", "nbf", "jti", "amr", "tenant", "scope", "client_id", "act", "cnf",
        "active", "username", "token_type", "status", "may_act", "subject_tokens", "authorization_details",
        "txn", "tctx", "rctx", "req_wl", "purp", "azd", "acr", "auth_time", "azp", "nonce", "at_hash", "c_hash",
        "sid", "events", "ver", "cti", "rar",
    }
)  # fmt: skip
"""What tokens, introspection and their readers give a meaning to: no label of an application says it."""


def is_application(identifier: str) -> bool:
    """Whether an API's identifier is a client id, and not a URI."""
    return ":" not in identifier


def check_offered(client_id: str, names: Iterable[str]) -> None:
    """Scopes as App ID allows them; raises `Invalid`."""
    if not is_application(client_id):
        raise Invalid("a client id with a colon cannot name an API here; create one in the admin API", field="scopes")
    for name in names:
        if not _SCOPE.fullmatch(name) or name.startswith(_RESERVED_SCOPES):
            raise Invalid(
                f"{name[:60]!r}: use under 50 lower-case letters, digits, '.' and '_', "
                "and begin with neither appid_ nor openid",
                field="scopes",
            )


def check_lifetime(seconds: int) -> None:
    """Raises `Invalid`."""
    if not MIN_LIFETIME <= seconds <= MAX_LIFETIME:
        raise Invalid(f"use {MIN_LIFETIME} to {MAX_LIFETIME} seconds", field="access.expires_in")


def check_claims(claims: tuple[ClaimMapping, ...]) -> None:
    """Raises `Invalid`: custom claims come from labels and roles only, and never replace a standard claim."""
    field = "accessTokenClaims"
    if len(claims) > MAX_CLAIMS:
        raise Invalid(f"use at most {MAX_CLAIMS} claims", field=field)
    for claim in claims:
        if claim.source not in SOURCES:
            raise Invalid(
                f"source {claim.source[:40]!r} belongs to user tokens, which do not exist here: "
                "use attributes (the application's labels) or roles",
                field=field,
            )
        if claim.source == "attributes":
            check_name(claim.source_claim, field, 64)
        elif claim.source_claim not in ("", "name"):
            raise Invalid("the source roles gives their names; leave sourceClaim out", field=field)
        check_name(claim.claim, field, 64)
        if claim.claim in RESERVED_CLAIMS:
            raise Invalid(
                f"the claim {claim.claim!r} is the issuer's own: choose another destinationClaim", field=field
            )
    check_unique((claim.claim for claim in claims), field)
