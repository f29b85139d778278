"""The closed list of audit events: facts in the past tense.

Every event has `at` (seconds since the epoch, UTC), `actor` (the client id that caused it, `system`
for Watchword itself) and `request_id` (joins client error, API log and this event). None of them
holds a secret, a token or a digest.
"""

from __future__ import annotations

from .event import Event as Event
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
    """The application's own key, when it proved itself with one."""
    bound_to: str = ""
    """The thumbprint of the key (RFC 9449) or certificate (RFC 8705) without which the token is worth nothing."""
    identity_id: str = ""
    """The identity rule that held, when another issuer's statement proved the application."""
    foreign_subject: str = ""
    """Whom that statement was about."""
    surface: str = "oauth"
    subject: str = ""
    """For whom `actor` acts, when the token came of another one (RFC 8693)."""
    subject_token: str = ""
    """The id of that one."""
    txn: str = ""
    """Which transaction it is of: then it is a transaction token, and no access token."""


class TokenRevoked(Event, frozen=True, kw_only=True):
    """One token was revoked before its time (RFC 7009)."""

    token_id: str


class TokensCutOff(Event, frozen=True, kw_only=True):
    """Every token issued before now is inactive: of one application, or of the whole tenant."""

    client_id: str | None = None


class RequestsRefused(Event, frozen=True, kw_only=True):
    """Refusals, added up: what, from where, how many, first and last."""

    what: str
    source: str
    count: int
    first: float
    last: float


class TenantCreated(Event, frozen=True, kw_only=True):
    """A tenant exists."""

    slug: str


class TenantUpdated(Event, frozen=True, kw_only=True):
    """A tenant's settings changed."""

    slug: str
    fields: tuple[str, ...]


class TenantDeleted(Event, frozen=True, kw_only=True):
    """A tenant is gone; its slug and ids are never used again."""

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


class ApplicationUpdated(Event, frozen=True, kw_only=True):
    """An application changed; `fields` names what."""

    client_id: str
    fields: tuple[str, ...]


class ApplicationDeleted(Event, frozen=True, kw_only=True):
    """An application is gone; its client id is never used again."""

    client_id: str


class ApplicationQuarantined(Event, frozen=True, kw_only=True):
    """An application may do nothing until it is released; its tokens are inactive."""

    client_id: str
    reason: str = ""


class ApplicationReleased(Event, frozen=True, kw_only=True):
    """An application is out of quarantine."""

    client_id: str


class SecretCreated(Event, frozen=True, kw_only=True):
    """A secret was handed out, once."""

    client_id: str
    secret_id: str
    expires_at: int | None = None


class SecretRotated(Event, frozen=True, kw_only=True):
    """A new secret was handed out and the older ones end at `others_expire_at`."""

    client_id: str
    secret_id: str
    others_expire_at: int
    superseded: tuple[str, ...] = ()


class SecretRevoked(Event, frozen=True, kw_only=True):
    """A secret stopped working."""

    client_id: str
    secret_id: str


class SecretUpgraded(Event, frozen=True, kw_only=True):
    """An imported password hash was replaced by ours at its first use."""

    client_id: str
    secret_id: str


class ClientKeyAdded(Event, frozen=True, kw_only=True):
    """An application may prove itself with one more public key."""

    client_id: str
    kid: str
    algorithm: str


class ClientKeyRemoved(Event, frozen=True, kw_only=True):
    """A public key of an application proves nothing any more."""

    client_id: str
    kid: str


class IssuerTrusted(Event, frozen=True, kw_only=True):
    """Statements of another issuer may prove applications of this tenant."""

    issuer_id: str
    issuer: str


class TrustedIssuerUpdated(Event, frozen=True, kw_only=True):
    """What is believed of another issuer changed; `fields` names what."""

    issuer_id: str
    fields: tuple[str, ...]


class IssuerDistrusted(Event, frozen=True, kw_only=True):
    """Statements of that issuer prove nothing any more."""

    issuer_id: str
    issuer: str


class IdentityRuleAdded(Event, frozen=True, kw_only=True):
    """Statements of a trusted issuer prove this application."""

    client_id: str
    rule_id: str
    issuer_id: str


class IdentityRuleRemoved(Event, frozen=True, kw_only=True):
    """A rule proves nothing any more."""

    client_id: str
    rule_id: str


class ApiCreated(Event, frozen=True, kw_only=True):
    """An API was registered."""

    api_id: str
    identifier: str


class ApiUpdated(Event, frozen=True, kw_only=True):
    """An API changed; `fields` names what."""

    api_id: str
    fields: tuple[str, ...]


class ApiDeleted(Event, frozen=True, kw_only=True):
    """An API is gone, and with it every grant at it."""

    api_id: str


class RoleCreated(Event, frozen=True, kw_only=True):
    """A role exists."""

    role_id: str
    name: str


class RoleUpdated(Event, frozen=True, kw_only=True):
    """A role changed; `fields` names what."""

    role_id: str
    fields: tuple[str, ...]


class RoleDeleted(Event, frozen=True, kw_only=True):
    """A role is gone, and with it every assignment of it."""

    role_id: str


class KeyPublished(Event, frozen=True, kw_only=True):
    """A signing key stands in the JWK set; it does not sign yet."""

    kid: str
    algorithm: str


class KeyActivated(Event, frozen=True, kw_only=True):
    """A signing key signs from now on."""

    kid: str
    algorithm: str


class KeyRetired(Event, frozen=True, kw_only=True):
    """A signing key no longer signs and stays published until its last token has expired."""

    kid: str
    gone_at: int


class KeyWithdrawn(Event, frozen=True, kw_only=True):
    """A signing key left the JWK set; an emergency one takes its tokens along."""

    kid: str
    emergency: bool = False


class TrustAnchorAdded(Event, frozen=True, kw_only=True):
    """An authority vouches for certificates of this tenant's applications."""

    thumbprint: str
    subject: str


class TrustAnchorRemoved(Event, frozen=True, kw_only=True):
    """Certificates of this authority prove nothing any more."""

    thumbprint: str


class AuditPruned(Event, frozen=True, kw_only=True):
    """Events older than `before` were removed on purpose."""

    before: float
    rows: int


class InstanceExported(Event, frozen=True, kw_only=True):
    """All of the registry was written to a file, this tenant with it."""


class InstanceImported(Event, frozen=True, kw_only=True):
    """This tenant came from another instance's export."""


class InitialTokenCreated(Event, frozen=True, kw_only=True):
    """Applications may register themselves with a new initial access token."""

    token_id: str
    name: str
    uses: int
    expires_at: int


class InitialTokenRevoked(Event, frozen=True, kw_only=True):
    """Nobody registers with this initial access token any more."""

    token_id: str


class ApplicationRegistered(Event, frozen=True, kw_only=True):
    """An application registered itself (RFC 7591); `ApplicationCreated` stands beside this."""

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
    | AuditPruned | InstanceExported | InstanceImported
)  # fmt: skip
