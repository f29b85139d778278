"""The nouns of the registry, as frozen records.

An application is one aggregate: its credentials, grants and roles live and change with it, so one
row holds it, one version guards it, and one look-up is all that the token path needs. Times are
seconds since the epoch, UTC; cut-offs (`not_before_ms`) are milliseconds, because tokens issued
within one second must still be told apart.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

Kind = Literal["service", "job", "device"]
AuthMethod = Literal[
    "client_secret_basic",
    "client_secret_post",
    "private_key_jwt",
    "client_secret_jwt",
    "tls_client_auth",
    "self_signed_tls_client_auth",
]
TokenFormat = Literal["jwt", "opaque"]
SigningAlgorithm = Literal["ES256", "RS256", "PS256", "EdDSA", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87"]
TokenType = Literal["at+jwt", "JWT"]

CLIENT_CREDENTIALS = "client_credentials"
SECRET_METHODS = ("client_secret_basic", "client_secret_post", "client_secret_jwt")
KEY_METHODS = ("private_key_jwt", "self_signed_tls_client_auth")
CERTIFICATE_METHODS = ("tls_client_auth", "self_signed_tls_client_auth")
ADMIN_API = "urn:watchword:admin"
MAX_LIFETIME = 86_400
MIN_LIFETIME = 60
DEFAULT_LIFETIME = 3_600


class Secret(Struct, frozen=True, kw_only=True):
    """A client secret as it is kept: never the text, only what recognises it."""

    id: str
    digest: str
    """`hmac:<hex>` of ours and of imported text; `bcrypt:<hash>`, `pbkdf2_sha256$...` until first use."""
    created_at: int
    expires_at: int | None = None
    sealed: bytes = b""
    """The text, sealed under the master key: for client_secret_jwt only, whose HMAC needs it (decision 0021)."""

    def live(self, now: float) -> bool:
        """Whether the secret may still be used at `now`."""
        return self.expires_at is None or now < self.expires_at


class ClientKey(Struct, frozen=True, kw_only=True):
    """A public key that an application signs with; `jwk` has public members only."""

    kid: str
    jwk: dict[str, Any]
    created_at: int


class CertificateName(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Whom a certificate has to name, in exactly one way (RFC 8705 section 2.1.2)."""

    subject_dn: str | None = None
    """RFC 4514."""
    san_dns: str | None = None
    san_uri: str | None = None
    san_ip: str | None = None
    san_email: str | None = None


class TrustAnchor(Struct, frozen=True, kw_only=True):
    """An authority whose certificates count for a tenant's applications."""

    thumbprint: str
    """`x5t#S256`: its id."""
    subject: str
    pem: str
    expires_at: int
    added_at: int


class Grant(Struct, frozen=True, kw_only=True):
    """What an application may ask for at one API, directly."""

    api_id: str
    scopes: tuple[str, ...]


class Application(Struct, frozen=True, kw_only=True):
    """An OAuth client (RFC 6749 section 2); always confidential."""

    tenant_id: str
    client_id: str
    name: str
    kind: Kind = "service"
    description: str = ""
    enabled: bool = True
    auth_method: AuthMethod = "client_secret_basic"
    grant_types: tuple[str, ...] = (CLIENT_CREDENTIALS,)
    secrets: tuple[Secret, ...] = ()
    keys: tuple[ClientKey, ...] = ()
    jwks_uri: str | None = None
    """Where the keys stand, when they are not given by value."""
    tls_client_auth: CertificateName | None = None
    """Whom its certificate names, for the method of that name."""
    require_bound: bool = False
    """Its tokens are bound to a key of its own, or there are none."""
    introspection_signed_response_alg: SigningAlgorithm | None = None
    """What signs the introspection answers that it asks for (RFC 9701 section 6); None is RS256, the RFC's own."""
    grants: tuple[Grant, ...] = ()
    role_ids: tuple[str, ...] = ()
    default_api_id: str | None = None
    labels: dict[str, str] = {}
    not_before_ms: int = 0
    created_at: int
    version: int = 1
    deleted_at: int | None = None


class Scope(Struct, frozen=True, kw_only=True):
    """A permission on an API."""

    name: str
    description: str = ""


class TokenSettings(Struct, frozen=True, kw_only=True):
    """How tokens for an API look and how long they live (seconds)."""

    format: TokenFormat = "jwt"
    algorithm: SigningAlgorithm = "ES256"
    type: TokenType = "at+jwt"
    lifetime: int = DEFAULT_LIFETIME
    status_list: bool = False
    """Whether a JWT says where its revocation can be looked up offline (Token Status List)."""


class Api(Struct, frozen=True, kw_only=True):
    """A protected resource: RFC 8707 resource, RFC 9068 audience."""

    tenant_id: str
    api_id: str
    identifier: str
    name: str
    enabled: bool = True
    scopes: tuple[Scope, ...] = ()
    tokens: TokenSettings = TokenSettings()
    introspectors: tuple[str, ...] = ()
    """Client ids that may introspect tokens for this API."""
    require_bound: bool = False
    """Tokens for it are bound to a key of the caller, or there are none."""
    signed_introspection: bool = False
    """Its introspectors are answered with a signed JWT (RFC 9701) and never with plain JSON."""
    created_at: int
    version: int = 1

    def scope_names(self) -> frozenset[str]:
        """The names of the scopes on offer."""
        return frozenset(scope.name for scope in self.scopes)


class Role(Struct, frozen=True, kw_only=True):
    """A named set of scopes at one or more APIs, assigned to applications."""

    tenant_id: str
    role_id: str
    name: str
    description: str = ""
    access: tuple[Grant, ...] = ()
    created_at: int
    version: int = 1


class ClaimMapping(Struct, frozen=True, kw_only=True):
    """A claim of the App ID surface's tokens: what it is made of, and its name (by default the source's)."""

    source: str
    source_claim: str = ""
    destination_claim: str = ""

    @property
    def claim(self) -> str:
        """The claim's name in the token."""
        return self.destination_claim or self.source_claim or self.source


class Tenant(Struct, frozen=True, kw_only=True):
    """One isolated issuer."""

    tenant_id: str
    slug: str
    name: str
    enabled: bool = True
    not_before_ms: int = 0
    appid_lifetime: int = DEFAULT_LIFETIME
    """Seconds that a token of the App ID surface lives."""
    appid_claims: tuple[ClaimMapping, ...] = ()
    anchors: tuple[TrustAnchor, ...] = ()
    """Whose certificates count for tls_client_auth."""
    created_at: int
    version: int = 1
    deleted_at: int | None = None
