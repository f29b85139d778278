"""The records of a trusted issuer, and of the identity rules that match its tokens to applications."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

IssuerKind = Literal["kubernetes", "github", "gitlab", "spiffe", "oidc"]


class TrustedIssuer(Struct, frozen=True, kw_only=True):
    """An issuer with whose tokens a tenant's applications can authenticate."""

    tenant_id: str
    issuer_id: str
    issuer: str
    """The exact `iss` of its tokens; for kind spiffe the trust domain, `spiffe://example.org`."""
    kind: IssuerKind = "oidc"
    enabled: bool = True
    jwks_uri: str | None = None
    """The address of its keys; with neither this nor `jwks`, they are found by its OpenID discovery document."""
    keys: tuple[dict[str, Any], ...] = ()
    """Public JWKs, by value."""
    authorities: tuple[str, ...] = ()
    """For kind spiffe, by value: the CA certificates (PEM) for X.509-SVIDs."""
    algorithms: tuple[str, ...]
    audiences: tuple[str, ...] = ()
    """The accepted `aud` values of its tokens; empty: our own issuer only."""
    max_life: int
    """Seconds: the longest lifetime, and the greatest age, of an accepted token."""
    single_use: bool
    """Whether a token is accepted once (by its `jti`) or until it expires."""
    created_at: int
    version: int = 1


class Condition(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A condition on one claim; exactly one of its tests is set.

    `claim` is a name at the top level, or a JSON Pointer (RFC 6901) when it begins with `/`. A `glob` is anchored at
    both ends; its segments are divided by `/` and `:`. `*` ends a segment and stands for one character or more of it;
    `**` is the last segment and stands for all that follow, at least one.
    """

    claim: str
    equals: str | bool | None = None
    one_of: tuple[str, ...] = ()
    glob: str | None = None
    contains: str | None = None
    """The claim is an array of texts and contains this one."""


class IdentityRule(Struct, frozen=True, kw_only=True):
    """A token of this issuer that meets every condition authenticates the application."""

    rule_id: str
    issuer_id: str
    conditions: tuple[Condition, ...]
