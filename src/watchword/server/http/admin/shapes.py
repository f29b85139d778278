"""What the admin API shows of the registry: never a secret, never a digest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from ...keys.model import SigningKey
from ...registry.model import (
    Api,
    Application,
    CertificateName,
    DetailsType,
    Grant,
    InitialToken,
    Quarantine,
    RegistrationPolicy,
    Role,
    Scope,
    Tenant,
    TokenSettings,
    TransactionTokens,
    TrustAnchor,
)
from ...registry.model import Secret as KeptSecret
from ...registry.rate_limit import RateLimit
from ...registry.trusted_issuer import IdentityRule, TrustedIssuer


class SecretShape(Struct, frozen=True, kw_only=True):
    """A secret without its text. Times are seconds since the epoch."""

    id: str
    created_at: int
    expires_at: int | None
    last_used_at: int | None


class KeySetShape(Struct, frozen=True, kw_only=True):
    """An application's public keys (RFC 7517 section 5)."""

    keys: list[dict[str, Any]]


class ApplicationShape(Struct, frozen=True, kw_only=True):
    """An application."""

    client_id: str
    name: str
    kind: str
    description: str
    enabled: bool
    quarantine: Quarantine | None
    group_id: str | None
    serial: str | None
    auth_method: str
    grant_types: tuple[str, ...]
    grants: tuple[Grant, ...]
    role_ids: tuple[str, ...]
    default_api_id: str | None
    labels: dict[str, str]
    secrets: list[SecretShape]
    jwks: KeySetShape | None
    jwks_uri: str | None
    tls_client_auth: CertificateName | None
    require_bound: bool
    require_dpop: bool
    identities: tuple[IdentityRule, ...]
    introspection_signed_response_alg: str | None
    details_types: tuple[str, ...]
    exchange_from: tuple[str, ...]
    may_act: str | None
    rate_limit: RateLimit | None
    created_at: int
    version: int


class NewApplicationShape(ApplicationShape, frozen=True, kw_only=True):
    """An application at its creation: the secret, if it has one, is shown here and never again."""

    client_secret: str | None


class EndingSecretShape(Struct, frozen=True, kw_only=True):
    """An older secret: it works until `expires_at`, in seconds since the epoch."""

    secret_id: str
    expires_at: int | None


class NewSecretShape(Struct, frozen=True, kw_only=True):
    """A secret at its creation, shown once, and the older secrets with their ends."""

    client_id: str
    secret_id: str
    client_secret: str
    expires_at: int | None
    others: tuple[EndingSecretShape, ...] = ()


class ApiShape(Struct, frozen=True, kw_only=True):
    """An API."""

    api_id: str
    identifier: str
    name: str
    enabled: bool
    scopes: tuple[Scope, ...]
    tokens: TokenSettings
    introspectors: tuple[str, ...]
    require_bound: bool
    signed_introspection: bool
    details_types: tuple[DetailsType, ...]
    created_at: int
    version: int


class RoleShape(Struct, frozen=True, kw_only=True):
    """A role."""

    role_id: str
    name: str
    description: str
    access: tuple[Grant, ...]
    created_at: int
    version: int


class KeyShape(Struct, frozen=True, kw_only=True):
    """A signing key, public side."""

    kid: str
    algorithm: str
    state: str
    published_at: int
    activated_at: int | None
    retired_at: int | None
    gone_at: int | None


class TenantShape(Struct, frozen=True, kw_only=True):
    """A tenant."""

    slug: str
    name: str
    enabled: bool
    profile: str
    transaction_tokens: TransactionTokens | None
    rate_limit: RateLimit | None
    several_apis: bool
    created_at: int
    version: int


class NewTenantShape(TenantShape, frozen=True, kw_only=True):
    """A tenant at its creation, with its first administrator; the secret is shown once."""

    issuer: str
    client_id: str
    client_secret: str


class AnchorShape(Struct, frozen=True, kw_only=True):
    """A trust anchor; `thumbprint` is its ``x5t#S256``."""

    thumbprint: str
    subject: str
    pem: str
    expires_at: int
    added_at: int


class InitialTokenShape(Struct, frozen=True, kw_only=True):
    """An initial access token without its text. Times are seconds since the epoch."""

    token_id: str
    name: str
    policy: RegistrationPolicy
    group_id: str | None
    uses_left: int
    expires_at: int
    created_at: int
    revoked_at: int | None


class NewInitialTokenShape(InitialTokenShape, frozen=True, kw_only=True):
    """An initial access token at its creation; the text is shown here and never again."""

    token: str


class IssuerShape(Struct, frozen=True, kw_only=True):
    """An issuer whose statements prove applications."""

    issuer_id: str
    issuer: str
    kind: str
    enabled: bool
    jwks: KeySetShape | None
    jwks_uri: str | None
    authorities: tuple[str, ...]
    algorithms: tuple[str, ...]
    audiences: tuple[str, ...]
    max_life: int
    single_use: bool
    created_at: int
    version: int


class Page(Struct, frozen=True, kw_only=True):
    """A page of a list; `next` is a cursor, absent at the end."""

    items: list[object]
    next: str | None = None


def _secret(secret: KeptSecret, used: Mapping[str, int]) -> SecretShape:
    return SecretShape(
        id=secret.id,
        created_at=secret.created_at,
        expires_at=secret.expires_at,
        last_used_at=used.get(secret.id),
    )


def application_fields(a: Application, used: Mapping[str, int]) -> dict[str, object]:
    """The members that both application shapes share."""
    return {
        "client_id": a.client_id, "name": a.name, "kind": a.kind, "description": a.description, "enabled": a.enabled,
        "quarantine": a.quarantine, "group_id": a.group_id, "serial": a.serial,
        "auth_method": a.auth_method, "grant_types": a.grant_types, "grants": a.grants, "role_ids": a.role_ids,
        "default_api_id": a.default_api_id, "labels": a.labels, "secrets": [_secret(s, used) for s in a.secrets],
        "jwks": KeySetShape(keys=[key.jwk for key in a.keys]) if a.keys else None, "jwks_uri": a.jwks_uri,
        "tls_client_auth": a.tls_client_auth, "require_bound": a.require_bound, "require_dpop": a.require_dpop,
        "identities": a.identities,
        "introspection_signed_response_alg": a.introspection_signed_response_alg,
        "details_types": a.details_types, "exchange_from": a.exchange_from, "may_act": a.may_act,
        "rate_limit": a.rate_limit,
        "created_at": a.created_at, "version": a.version,
    }  # fmt: skip


def application_shape(a: Application, used: Mapping[str, int]) -> ApplicationShape:
    """Without secrets' texts."""
    return ApplicationShape(**application_fields(a, used))  # type: ignore[arg-type]


def api_shape(a: Api) -> ApiShape:
    """An API as shown."""
    return ApiShape(
        api_id=a.api_id, identifier=a.identifier, name=a.name, enabled=a.enabled, scopes=a.scopes, tokens=a.tokens,
        introspectors=a.introspectors, require_bound=a.require_bound, signed_introspection=a.signed_introspection,
        details_types=a.details_types,
        created_at=a.created_at, version=a.version,
    )  # fmt: skip


def role_shape(r: Role) -> RoleShape:
    """A role as shown."""
    return RoleShape(
        role_id=r.role_id,
        name=r.name,
        description=r.description,
        access=r.access,
        created_at=r.created_at,
        version=r.version,
    )


def key_shape(k: SigningKey) -> KeyShape:
    """A key as shown."""
    return KeyShape(
        kid=k.kid, algorithm=k.algorithm, state=k.state, published_at=k.published_at, activated_at=k.activated_at,
        retired_at=k.retired_at, gone_at=k.gone_at,
    )  # fmt: skip


def tenant_fields(t: Tenant) -> dict[str, object]:
    """The members that both tenant shapes share."""
    return {
        "slug": t.slug,
        "name": t.name,
        "enabled": t.enabled,
        "profile": t.profile,
        "transaction_tokens": t.transaction_tokens,
        "rate_limit": t.rate_limit,
        "several_apis": t.several_apis,
        "created_at": t.created_at,
        "version": t.version,
    }


def initial_token_fields(t: InitialToken) -> dict[str, object]:
    """The members that both of its shapes share."""
    return {
        "token_id": t.token_id, "name": t.name, "policy": t.policy, "group_id": t.group_id, "uses_left": t.uses_left,
        "expires_at": t.expires_at, "created_at": t.created_at, "revoked_at": t.revoked_at,
    }  # fmt: skip


def initial_token_shape(t: InitialToken) -> InitialTokenShape:
    """Without its text."""
    return InitialTokenShape(**initial_token_fields(t))  # type: ignore[arg-type]


def anchor_shape(a: TrustAnchor) -> AnchorShape:
    """An anchor as shown."""
    return AnchorShape(
        thumbprint=a.thumbprint, subject=a.subject, pem=a.pem, expires_at=a.expires_at, added_at=a.added_at
    )


def issuer_shape(i: TrustedIssuer) -> IssuerShape:
    """A trusted issuer as shown."""
    return IssuerShape(
        issuer_id=i.issuer_id, issuer=i.issuer, kind=i.kind, enabled=i.enabled,
        jwks=KeySetShape(keys=list(i.keys)) if i.keys else None, jwks_uri=i.jwks_uri, authorities=i.authorities,
        algorithms=i.algorithms, audiences=i.audiences, max_life=i.max_life, single_use=i.single_use,
        created_at=i.created_at, version=i.version,
    )  # fmt: skip
