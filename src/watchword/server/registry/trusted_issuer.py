"""Another issuer whose statements prove who an application is, and the rules that say which application."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

IssuerKind = Literal["kubernetes", "github", "gitlab", "spiffe", "oidc"]


class TrustedIssuer(Struct, frozen=True, kw_only=True):
    """Whom a tenant believes, about what, and for how long."""

    tenant_id: str
    issuer_id: str
    issuer: str
    """Its `iss`, byte by byte; of kind spiffe the trust domain, `spiffe://example.org`."""
    kind: IssuerKind = "oidc"
    enabled: bool = True
    jwks_uri: str | None = None
    """Where its keys stand; with neither this nor `jwks`, its OpenID discovery document says so."""
    keys: tuple[dict[str, Any], ...] = ()
    """Public JWKs, by value."""
    authorities: tuple[str, ...] = ()
    """Of kind spiffe, by value: the certificates (PEM) that vouch for X.509-SVIDs."""
    algorithms: tuple[str, ...]
    audiences: tuple[str, ...] = ()
    """What its statements may be addressed to; empty: our own issuer, and nothing else."""
    max_life: int
    """Seconds: the longest life, and the greatest age, of a statement that counts."""
    single_use: bool
    """Whether a statement works once (its `jti` is used up) or until it expires."""
    created_at: int
    version: int = 1


class Condition(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One claim, and exactly one way to look at it.

    `claim` is a name at the top level, or a JSON Pointer (RFC 6901) when it begins with `/`. A `glob` is anchored at
    both ends; its segments are divided by `/` and `:`. `*` ends a segment and stands for one character or more of it;
    `**` is the last segment and stands for all that follow, at least one.
    """

    claim: str
    equals: str | bool | None = None
    one_of: tuple[str, ...] = ()
    glob: str | None = None
    contains: str | None = None
    """The claim is an array of texts and has this member."""


class IdentityRule(Struct, frozen=True, kw_only=True):
    """A statement of this issuer for which every condition holds proves the application."""

    rule_id: str
    issuer_id: str
    conditions: tuple[Condition, ...]
