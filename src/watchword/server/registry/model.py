"""The records of the registry: tenant, application, API, scope, role, grant, secret; all frozen.

An application is one aggregate: its credentials, grants and roles live and change with it, so one
row holds it, one version guards it, and one look-up is all that the token path needs. Times are
seconds since the epoch, UTC; cut-offs (`not_before_ms`) are milliseconds, because tokens issued
within one second must still be told apart.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from .rate_limit import RateLimit
from .trusted_issuer import IdentityRule

Kind = Literal["service", "job", "device"]
AuthMethod = Literal[
    "client_secret_basic",
    "client_secret_post",
    "private_key_jwt",
    "client_secret_jwt",
    "tls_client_auth",
    "self_signed_tls_client_auth",
    "federated_jwt",
    "spiffe_jwt",
    "spiffe_x509",
]
TokenFormat = Literal["jwt", "opaque", "cwt"]
"""A CWT (RFC 8392) is for small devices: binary, a third of a JWT's size."""
SigningAlgorithm = Literal["ES256", "RS256", "PS256", "EdDSA", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87"]
TokenType = Literal["at+jwt", "JWT"]
ProfileName = Literal["", "fapi2"]
TransactionDraft = Literal["draft-10"]
"""The supported versions of draft-ietf-oauth-transaction-tokens: drafts change, so each tenant chooses one."""

CLIENT_CREDENTIALS = "client_credentials"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
SECRET_METHODS = ("client_secret_basic", "client_secret_post", "client_secret_jwt")
KEY_METHODS = ("private_key_jwt", "self_signed_tls_client_auth")
CERTIFICATE_METHODS = ("tls_client_auth", "self_signed_tls_client_auth", "spiffe_x509")
BORROWING_METHODS = ("federated_jwt", "spiffe_jwt", "spiffe_x509")
"""Methods with another issuer's token: RFC 7523 with a foreign `iss`, and draft-ietf-oauth-spiffe-client-auth."""
ADMIN_API = "urn:watchword:admin"
MAX_LIFETIME = 86_400
MIN_LIFETIME = 60
DEFAULT_LIFETIME = 3_600
MIN_TRANSACTION, MAX_TRANSACTION = 10, 600
"""Seconds: "on the order of minutes or less" (draft-ietf-oauth-transaction-tokens-10 section 6)."""


class Secret(Struct, frozen=True, kw_only=True):
    """A stored client secret: its HMAC, never its text."""

    id: str
    digest: str
    """`hmac:<hex>`; for an imported hash `bcrypt:<hash>` or `pbkdf2_sha256$...` until its first use."""
    created_at: int
    expires_at: int | None = None
    sealed: bytes = b""
    """The text, encrypted under the master key: for client_secret_jwt only, whose HMAC needs it (decision 0021)."""
    repeat_until: int | None = None
    """Until then, and before its first use, a device that lost the answer of its enrolment can get another secret."""

    def live(self, now: float) -> bool:
        """Whether the secret may still be used at `now`."""
        return self.expires_at is None or now < self.expires_at


class ClientKey(Struct, frozen=True, kw_only=True):
    """A public key that an application signs with; `jwk` has public members only."""

    kid: str
    jwk: dict[str, Any]
    created_at: int


class CertificateName(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The name that a client certificate must have; exactly one is set (RFC 8705 section 2.1.2).

    `anchor` is no name: the thumbprint of the only trust anchor that counts for this application.
    """

    subject_dn: str | None = None
    """RFC 4514."""
    san_dns: str | None = None
    san_uri: str | None = None
    san_ip: str | None = None
    san_email: str | None = None
    anchor: str | None = None


class TrustAnchor(Struct, frozen=True, kw_only=True):
    """A CA that a tenant trusts for client certificates."""

    thumbprint: str
    """`x5t#S256`: its id."""
    subject: str
    pem: str
    expires_at: int
    added_at: int


class Grant(Struct, frozen=True, kw_only=True):
    """The scopes of one API that are granted to an application directly."""

    api_id: str
    scopes: tuple[str, ...]


class Publisher(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A trusted issuer of software statements (RFC 7591 section 2.3): `issuer` is exactly their `iss`."""

    issuer: str
    jwks: dict[str, Any]


class RegistrationPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits for applications that register themselves: an application can ask for less, but not for more."""

    kind: Kind = "service"
    auth_methods: tuple[AuthMethod, ...] = ("client_secret_basic", "client_secret_post", "private_key_jwt")
    """The first is the default where client_secret_basic is not allowed."""
    grants: tuple[Grant, ...] = ()
    labels: dict[str, str] = {}
    name_prefix: str = ""
    secret_lifetime: int | None = None
    """Seconds that a client secret lives; None: until it is rotated."""
    require_bound: bool = False
    publishers: tuple[Publisher, ...] = ()
    statement_required: bool = False
    one_per_software: bool = False
    """Whether a `software_id`, which is then required, can register only once in a tenant."""


class InitialToken(Struct, frozen=True, kw_only=True):
    """An initial access token (RFC 7591 section 1.2), with which applications register themselves."""

    tenant_id: str
    token_id: str
    """Part of the token's HMAC: the token cannot be made from the database."""
    name: str
    policy: RegistrationPolicy
    group_id: str | None = None
    """The enrolment group whose policy replaces this one's grants, methods and lifetimes."""
    uses_left: int
    expires_at: int
    created_at: int
    revoked_at: int | None = None
    version: int = 1

    def live(self, now: float) -> bool:
        """Whether an application may still register with it."""
        return self.revoked_at is None and self.uses_left > 0 and now < self.expires_at


class Registration(Struct, frozen=True, kw_only=True):
    """The additional fields of an application that registered itself (RFC 7591)."""

    digest: str
    """HMAC of its registration access token (RFC 7592 section 1.3)."""
    token_id: str
    """The initial access token of its registration; its policy still applies to updates."""
    granted: tuple[Grant, ...]
    """The grants that registration gave: an update does not change grants that an administrator has changed."""
    names: dict[str, str] = {}
    """`client_name` and its translations."""
    uris: dict[str, str] = {}
    """`client_uri`, `logo_uri`, `policy_uri`, `tos_uri`: shown, and never fetched."""
    contacts: tuple[str, ...] = ()
    software_id: str = ""
    software_version: str = ""
    statement: str = ""
    auth_method: AuthMethod | None = None
    """The method that registration gave; None: unknown. An update does not undo the method of an administrator."""
    require_bound: bool = False
    """What registration asked for, as `require_dpop`: what an administrator has added is kept by updates."""
    require_dpop: bool = False


class Quarantine(Struct, frozen=True, kw_only=True):
    """Why an application gets no tokens until an administrator releases it; `since` is seconds since the epoch."""

    since: int
    reason: str = ""


class Application(Struct, frozen=True, kw_only=True):
    """An OAuth client (RFC 6749 section 2); always confidential."""

    tenant_id: str
    client_id: str
    name: str
    kind: Kind = "service"
    description: str = ""
    enabled: bool = True
    quarantine: Quarantine | None = None
    """Set when the application is blocked because of a finding, independent of `enabled`."""
    group_id: str | None = None
    """The enrolment group through which it enrolled, or into which it was put."""
    serial: str | None = None
    """The device's serial number; unique among the living applications of a tenant."""
    auth_method: AuthMethod = "client_secret_basic"
    grant_types: tuple[str, ...] = (CLIENT_CREDENTIALS,)
    secrets: tuple[Secret, ...] = ()
    keys: tuple[ClientKey, ...] = ()
    jwks_uri: str | None = None
    """The address of its keys, when they are not given by value."""
    tls_client_auth: CertificateName | None = None
    """The name in its certificate, for the method tls_client_auth."""
    require_bound: bool = False
    """Whether it only gets tokens that are bound to its key."""
    require_dpop: bool = False
    """The same, by DPoP and not by a certificate (RFC 9449 section 5.2, dpop_bound_access_tokens)."""
    identities: tuple[IdentityRule, ...] = ()
    """Rules for tokens of trusted issuers with which it can authenticate; one match is enough."""
    introspection_signed_response_alg: SigningAlgorithm | None = None
    """The algorithm of its signed introspection responses (RFC 9701 section 6); None is RS256, the RFC's default."""
    details_types: tuple[str, ...] = ()
    """The types of `authorization_details` that it may ask for (RFC 9396 section 10)."""
    exchange_from: tuple[str, ...] = ()
    """The ids of the APIs that it serves; it may exchange tokens for these APIs (RFC 8693)."""
    may_act: str | None = None
    """The client id that may exchange its tokens (RFC 8693 section 4.4); None: each application that serves the API."""
    grants: tuple[Grant, ...] = ()
    role_ids: tuple[str, ...] = ()
    default_api_id: str | None = None
    labels: dict[str, str] = {}
    rate_limit: RateLimit | None = None
    """Limit of its token requests; None: no limit."""
    registration: Registration | None = None
    """None for an application that an administrator registered."""
    not_before_ms: int = 0
    created_at: int
    version: int = 1
    deleted_at: int | None = None

    @property
    def active(self) -> bool:
        """Whether it gets tokens and its tokens are valid: enabled and not in quarantine."""
        return self.enabled and self.quarantine is None and self.deleted_at is None

    def may_be_repeated(self, secret_id: str, now: float) -> bool:
        """Whether the first use of this secret has to be on disk before the answer (decision 0055)."""
        return any(
            one.id == secret_id and one.repeat_until is not None and now < one.repeat_until for one in self.secrets
        )


class DetailsType(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A type of `authorization_details` (RFC 9396 section 5), and the JSON schema of its objects."""

    name: str
    schema: dict[str, Any]


class Scope(Struct, frozen=True, kw_only=True):
    """A permission on an API."""

    name: str
    description: str = ""


class TokenSettings(Struct, frozen=True, kw_only=True):
    """The format, algorithm and lifetime (seconds) of an API's tokens."""

    format: TokenFormat = "jwt"
    algorithm: SigningAlgorithm = "ES256"
    type: TokenType = "at+jwt"
    lifetime: int = DEFAULT_LIFETIME
    status_list: bool = False
    """Whether its JWTs have a reference to a Token Status List, for offline revocation checks."""


class Api(Struct, frozen=True, kw_only=True):
    """A protected resource: RFC 8707 resource, RFC 9068 audience."""

    tenant_id: str
    api_id: str
    identifier: str
    name: str
    enabled: bool = True
    scopes: tuple[Scope, ...] = ()
    tokens: TokenSettings = TokenSettings()
    details_types: tuple[DetailsType, ...] = ()
    introspectors: tuple[str, ...] = ()
    """Client ids that may introspect tokens for this API."""
    require_bound: bool = False
    """Whether tokens for it must be bound to a key of the caller."""
    signed_introspection: bool = False
    """Whether introspection of its tokens is answered only with a signed JWT (RFC 9701), never with plain JSON."""
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
    """A custom claim of App ID tokens: its source, and its name (by default the source's)."""

    source: str
    source_claim: str = ""
    destination_claim: str = ""

    @property
    def claim(self) -> str:
        """The claim's name in the token."""
        return self.destination_claim or self.source_claim or self.source


class TransactionTokens(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of transaction tokens (draft-ietf-oauth-transaction-tokens); the tenant is their token service."""

    draft: TransactionDraft
    trust_domain: str
    """The identifier of the API that represents the trust domain: grants for that API decide the scopes."""
    lifetime: int = 120
    """Seconds that a transaction token lives at most."""


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
    """The CAs that are trusted for tls_client_auth."""
    profile: ProfileName = ""
    """Additional rules, such as `fapi2`; see `registry/profiles.py`."""
    transaction_tokens: TransactionTokens | None = None
    """None: no transaction tokens; requests are answered as by a server without this feature."""
    rate_limit: RateLimit | None = None
    """How many tokens its applications may be given together."""
    several_apis: bool = True
    """Whether one token may be for several APIs (RFC 8707 section 2)."""
    created_at: int
    version: int = 1
    deleted_at: int | None = None
