"""All audit events, named in the past tense; `fleet_events.py` has those of devices.

Every event has `at` (seconds since the epoch, UTC), `actor` (the client id that caused it, `system`
for Watchword itself) and `request_id` (joins client error, API log and this event). None of them
holds a secret, a token or a digest.
"""

from __future__ import annotations

from .event import Event as Event
from .event import Updated
from .fleet_events import (
    DeviceAuthorityAdded,
    DeviceAuthorityRemoved,
    DeviceCertificateIssued,
    DeviceEnrolled,
    DevicesExpected,
    EnrolmentApproved,
    EnrolmentCodesCreated,
    EnrolmentCodesWithdrawn,
    EnrolmentDenied,
    EnrolmentGroupCreated,
    EnrolmentGroupDeleted,
    EnrolmentGroupUpdated,
    EnrolmentRequested,
    ExpectedDevicesRemoved,
)


class TokenIssued(Event, frozen=True, kw_only=True):
    """An access token left the server."""

    token_id: str
    audience: tuple[str, ...]
    scope: str
    expires_at: int
    secret_id: str = ""
    key_id: str = ""
    """The key with which the application authenticated, when it used one."""
    bound_to: str = ""
    """The thumbprint of the key (RFC 9449) or certificate (RFC 8705) that the token is bound to."""
    identity_id: str = ""
    """The identity rule that matched, when the application authenticated with another issuer's token."""
    foreign_subject: str = ""
    """The subject of that token."""
    surface: str = "oauth"
    subject: str = ""
    """The subject on whose behalf `actor` acts, when the token was exchanged (RFC 8693)."""
    subject_token: str = ""
    """The id of the token that was exchanged."""
    txn: str = ""
    """The transaction's id, when this is a transaction token and no access token."""


class TokenRevoked(Event, frozen=True, kw_only=True):
    """One token was revoked before its time (RFC 7009)."""

    token_id: str


class TokensCutOff(Event, frozen=True, kw_only=True):
    """All tokens issued before now were made inactive: those of one application, or of the whole tenant."""

    client_id: str | None = None


class RequestsRefused(Event, frozen=True, kw_only=True):
    """Rejected requests, summed up: which rule, from where, how many, first and last."""

    what: str
    source: str
    """A network: /24 of IPv4, /64 of IPv6; or `others`, for networks that had no sum of their own."""
    sources: int = 1
    """How many networks at most: a network that came back counts again."""
    count: int
    first: float
    last: float


class TenantCreated(Event, frozen=True, kw_only=True):
    """A tenant was created."""

    slug: str


class TenantUpdated(Updated, frozen=True, kw_only=True):
    """A tenant's settings changed."""

    slug: str


class TenantDeleted(Event, frozen=True, kw_only=True):
    """A tenant was deleted; its slug and ids are never reused."""

    slug: str


class ApplicationCreated(Event, frozen=True, kw_only=True):
    """An application was registered."""

    client_id: str
    name: str
    imported: bool = False


class AdministratorRecovered(Event, frozen=True, kw_only=True):
    """A new administrator was made on the server's host, by somebody with the database and the master key."""

    client_id: str
    user: str
    """The operating system's user, as that host names it."""


class ApplicationUpdated(Updated, frozen=True, kw_only=True):
    """An application changed."""

    client_id: str


class ApplicationDeleted(Event, frozen=True, kw_only=True):
    """An application was deleted; its client id is never reused."""

    client_id: str


class ApplicationQuarantined(Event, frozen=True, kw_only=True):
    """An application was quarantined: it gets no tokens, and its tokens are inactive, until it is released."""

    client_id: str
    reason: str = ""


class ApplicationReleased(Event, frozen=True, kw_only=True):
    """An application was released from quarantine."""

    client_id: str


class SecretCreated(Event, frozen=True, kw_only=True):
    """A secret was created and shown once."""

    client_id: str
    secret_id: str
    expires_at: int | None = None


class SecretRotated(Event, frozen=True, kw_only=True):
    """A new secret was created and shown once; the older ones expire at `others_expire_at`."""

    client_id: str
    secret_id: str
    others_expire_at: int
    superseded: tuple[str, ...] = ()


class SecretRevoked(Event, frozen=True, kw_only=True):
    """A secret was revoked."""

    client_id: str
    secret_id: str


class SecretUpgraded(Event, frozen=True, kw_only=True):
    """An imported password hash was replaced by an HMAC at its first use."""

    client_id: str
    secret_id: str


class ClientKeyAdded(Event, frozen=True, kw_only=True):
    """A public key was added to an application."""

    client_id: str
    kid: str
    algorithm: str


class ClientKeyRemoved(Event, frozen=True, kw_only=True):
    """A public key was removed from an application."""

    client_id: str
    kid: str


class IssuerTrusted(Event, frozen=True, kw_only=True):
    """The tenant trusts another issuer: applications can authenticate with its tokens."""

    issuer_id: str
    issuer: str


class TrustedIssuerUpdated(Updated, frozen=True, kw_only=True):
    """A trusted issuer's settings changed."""

    issuer_id: str


class IssuerDistrusted(Event, frozen=True, kw_only=True):
    """The tenant stopped trusting an issuer."""

    issuer_id: str
    issuer: str


class IdentityRuleAdded(Event, frozen=True, kw_only=True):
    """An identity rule was added: the application can authenticate with a trusted issuer's tokens that match it."""

    client_id: str
    rule_id: str
    issuer_id: str


class IdentityRuleRemoved(Event, frozen=True, kw_only=True):
    """An identity rule was removed from an application."""

    client_id: str
    rule_id: str


class ApiCreated(Event, frozen=True, kw_only=True):
    """An API was registered."""

    api_id: str
    identifier: str


class ApiUpdated(Updated, frozen=True, kw_only=True):
    """An API changed."""

    api_id: str


class ApiDeleted(Event, frozen=True, kw_only=True):
    """An API was deleted, with all grants for it."""

    api_id: str


class RoleCreated(Event, frozen=True, kw_only=True):
    """A role was created."""

    role_id: str
    name: str


class RoleUpdated(Updated, frozen=True, kw_only=True):
    """A role changed."""

    role_id: str


class RoleDeleted(Event, frozen=True, kw_only=True):
    """A role was deleted, with all assignments of it."""

    role_id: str


class KeyPublished(Event, frozen=True, kw_only=True):
    """A signing key was added to the JWK set; it does not sign yet."""

    kid: str
    algorithm: str


class KeyActivated(Event, frozen=True, kw_only=True):
    """A signing key became the active one."""

    kid: str
    algorithm: str


class KeyRetired(Event, frozen=True, kw_only=True):
    """A signing key stopped signing; it stays in the JWK set until its last token has expired."""

    kid: str
    gone_at: int


class KeyWithdrawn(Event, frozen=True, kw_only=True):
    """A signing key was removed from the JWK set; in an emergency its tokens become invalid."""

    kid: str
    emergency: bool = False


class TrustAnchorAdded(Event, frozen=True, kw_only=True):
    """A CA was added to the tenant's trust anchors for client certificates."""

    thumbprint: str
    subject: str


class TrustAnchorRemoved(Event, frozen=True, kw_only=True):
    """A CA was removed from the tenant's trust anchors for client certificates."""

    thumbprint: str


class AuditPruned(Event, frozen=True, kw_only=True):
    """Events older than `before` were pruned."""

    before: float
    rows: int


class RestoreAccepted(Event, frozen=True, kw_only=True):
    """A database that is older than the epoch was accepted: the audit log between two checkpoints is lost."""

    user: str
    """The operating system's user, as the server's host names it."""
    first_lost: int
    last_lost: int
    """The numbers of the checkpoints that are lost."""


class InstanceExported(Event, frozen=True, kw_only=True):
    """The instance was exported to a file, including this tenant."""


class InstanceImported(Event, frozen=True, kw_only=True):
    """This tenant was imported from another instance's export."""


class InitialTokenCreated(Event, frozen=True, kw_only=True):
    """An initial access token for dynamic registration was created (RFC 7591)."""

    token_id: str
    name: str
    uses: int
    expires_at: int


class InitialTokenRevoked(Event, frozen=True, kw_only=True):
    """An initial access token was revoked."""

    token_id: str


class ApplicationRegistered(Event, frozen=True, kw_only=True):
    """An application registered itself (RFC 7591); there is an `ApplicationCreated` event as well."""

    client_id: str
    token_id: str
    software_id: str = ""


AnyEvent = (
    TokenIssued | TokenRevoked | TokensCutOff | RequestsRefused
    | TenantCreated | TenantUpdated | TenantDeleted
    | AdministratorRecovered | ApplicationCreated | ApplicationUpdated | ApplicationDeleted
    | ApplicationQuarantined | ApplicationReleased
    | EnrolmentGroupCreated | EnrolmentGroupUpdated | EnrolmentGroupDeleted
    | EnrolmentCodesCreated | EnrolmentCodesWithdrawn | DeviceEnrolled
    | DevicesExpected | ExpectedDevicesRemoved
    | EnrolmentRequested | EnrolmentApproved | EnrolmentDenied
    | DeviceAuthorityAdded | DeviceAuthorityRemoved | DeviceCertificateIssued
    | SecretCreated | SecretRotated | SecretRevoked | SecretUpgraded
    | ClientKeyAdded | ClientKeyRemoved
    | IssuerTrusted | TrustedIssuerUpdated | IssuerDistrusted | IdentityRuleAdded | IdentityRuleRemoved
    | ApiCreated | ApiUpdated | ApiDeleted
    | RoleCreated | RoleUpdated | RoleDeleted
    | KeyPublished | KeyActivated | KeyRetired | KeyWithdrawn
    | TrustAnchorAdded | TrustAnchorRemoved
    | InitialTokenCreated | InitialTokenRevoked | ApplicationRegistered
    | AuditPruned | RestoreAccepted | InstanceExported | InstanceImported
)  # fmt: skip
