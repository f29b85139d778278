"""The records of enrolment groups and codes, and the checks of a group's policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from .. import rules
from ..admin_rights import check_never_administers
from ..errors import Invalid
from ..model import SECRET_METHODS, Api, AuthMethod, Grant, Kind, RegistrationPolicy, Role
from ..rate_limit import RateLimit, check_rate_limit
from .device_authority import CERTIFICATE_LIFE, MAX_CERTIFICATE_LIFE, MIN_CERTIFICATE_LIFE

Way = Literal["code", "key", "certificate", "registration"]
"""How a device enrols: with a code, printed on it or shared by a batch; with an expected key; with its manufacturer's
certificate; or with an initial access token (RFC 7591)."""
Approval = Literal["none", "required"]
METHODS: tuple[AuthMethod, ...] = (
    "client_secret_basic",
    "client_secret_post",
    "client_secret_jwt",
    "private_key_jwt",
)
"""Authentication methods for devices: a secret from the server, or the device's own key."""
OWN_KEY: tuple[AuthMethod, ...] = ("private_key_jwt", "tls_client_auth")
"""With tls_client_auth a device sends a certificate signing request, and the tenant's own CA signs its certificate."""
ALLOWED: tuple[AuthMethod, ...] = (*METHODS, "tls_client_auth")
MAX_DEVICES = 10_000_000
MAX_CODES = 10_000
"""The most codes of one request."""
MAX_OPEN_CODES = 100_000
"""The most unused codes of one group."""
MAX_USES = 1_000_000
MAX_CODE_LIFE = 366 * 86_400
REPEAT_WITHIN = 600
"""Seconds within which a device that got no answer can ask for its secret again."""
MAX_LIFE = 10 * 366 * 86_400
MIN_LIFE = 60
PLACEHOLDERS = ("{serial}", "{id}")


class EnrolmentPolicy(Struct, frozen=True, kw_only=True):
    """A group's settings. Times are seconds since the epoch, lifetimes are seconds."""

    name: str
    kind: Kind = "device"
    auth_methods: tuple[AuthMethod, ...] = METHODS
    """Allowed authentication methods; a device without a key gets the first method with a secret."""
    grants: tuple[Grant, ...] = ()
    role_ids: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    name_pattern: str = "device-{id}"
    """`{serial}` is the device's serial number, which is then required; `{id}` the beginning of its client id."""
    max_devices: int | None = None
    """The most living applications in the group; None: no limit."""
    expires_at: int | None = None
    """No device can enrol after that; enrolled devices stay."""
    secret_lifetime: int | None = None
    require_bound: bool = False
    ways: tuple[Way, ...] = ("code",)
    """Empty: no device enrols by itself; administrators put applications into the group."""
    rate_limit: RateLimit | None = None
    """Rate limit of all its applications together."""
    only_expected: bool = False
    """Whether a device's serial number or key has to be on the group's list, whichever way it enrols."""
    approval: Approval = "none"
    """Whether an administrator has to approve each device."""
    anchors: str = ""
    """PEM of the CAs that signed the manufacturer's certificates, for the way `certificate`."""
    certificate_lifetime: int = CERTIFICATE_LIFE
    """Lifetime of the certificates that the tenant's own CA signs for the group's devices."""


class EnrolmentGroup(EnrolmentPolicy, frozen=True, kw_only=True):
    """A policy, with its id, name and version."""

    tenant_id: str
    group_id: str
    created_at: int
    version: int = 1

    def open(self, now: float) -> bool:
        """Whether devices can still enrol."""
        return self.expires_at is None or now < self.expires_at

    def device_name(self, serial: str | None, client_id: str) -> str:
        """The device's name by the group's pattern. Raises `Invalid` when a needed serial number is missing."""
        if "{serial}" in self.name_pattern and serial is None:
            raise Invalid("this group names its devices by serial number: send it", field="serial")
        return self.name_pattern.replace("{id}", client_id[:8]).replace("{serial}", serial or "")


class EnrolmentCode(Struct, frozen=True, kw_only=True):
    """A code with which `uses_left` more devices can enrol in a group. Times are seconds since the epoch."""

    tenant_id: str
    digest: str
    """The code's HMAC: the code cannot be made from the database."""
    group_id: str
    uses_left: int
    expires_at: int

    def live(self, now: float) -> bool:
        """Whether a device can still enrol with it."""
        return self.uses_left > 0 and now < self.expires_at


def check_codes(count: int, uses: int, expires_in: int) -> None:
    """Check the numbers of a request for codes. Raises `Invalid`."""
    for name, value, most in (
        ("count", count, MAX_CODES),
        ("uses", uses, MAX_USES),
        ("expires_in", expires_in, MAX_CODE_LIFE),
    ):
        if not 1 <= value <= most:
            raise Invalid(f"use 1 to {most}", field=name)


def check_group(group: EnrolmentGroup, apis: dict[str, Api], roles: Mapping[str, Role]) -> None:
    """Check the complete policy. Raises `Invalid`."""
    rules.check_name(group.name)
    _check_methods(group)
    rules.check_grants(group.grants, apis, "grants")
    rules.check_unique(group.role_ids, "role_ids")
    for role_id in group.role_ids:
        if role_id not in roles:
            raise Invalid(f"there is no role {role_id!r}", field="role_ids")
    check_never_administers(group.grants, group.role_ids, roles, apis)
    rules.check_labels(group.labels, "labels")
    check_pattern(group.name_pattern)
    if group.max_devices is not None and not 1 <= group.max_devices <= MAX_DEVICES:
        raise Invalid(f"use 1 to {MAX_DEVICES}, or null for no limit", field="max_devices")
    rules.check_moment(group.expires_at, "expires_at")
    _check_lives(group)
    check_rate_limit(group.rate_limit, "rate_limit")
    _check_ways(group)


def _check_ways(group: EnrolmentGroup) -> None:
    rules.check_unique(group.ways, "ways")
    if ("certificate" in group.ways) != bool(group.anchors):
        raise Invalid("anchors are the authorities of the way `certificate`: both, or neither", field="anchors")
    if "registration" in group.ways:
        _check_registers(group)
    if "key" in group.ways and not set(group.auth_methods) & set(OWN_KEY):
        raise Invalid(f"who comes with a key proves itself with it: take {' or '.join(OWN_KEY)}", field="auth_methods")


def _check_registers(group: EnrolmentGroup) -> None:
    """Registration (RFC 7591) answers at once, and has neither serial numbers nor proofs of possession."""
    if group.approval == "required" or group.only_expected or "{serial}" in group.name_pattern:
        raise Invalid("who registers cannot wait, and has no serial number: use another group for that", field="ways")
    if not set(group.auth_methods) & set(METHODS):
        raise Invalid(f"who registers proves itself by one of {', '.join(METHODS)}", field="auth_methods")


def registration_policy(policy: RegistrationPolicy, group: EnrolmentGroup) -> RegistrationPolicy:
    """The group's policy for registration, with the software statement rules of the initial access token."""
    return replace(
        policy, kind=group.kind, auth_methods=tuple(m for m in group.auth_methods if m in METHODS),
        grants=group.grants, labels=group.labels, secret_lifetime=group.secret_lifetime,
        require_bound=group.require_bound,
    )  # fmt: skip


def _check_methods(group: EnrolmentGroup) -> None:
    if not group.auth_methods or not set(group.auth_methods) <= set(ALLOWED):
        raise Invalid(f"name one or more of {', '.join(ALLOWED)}", field="auth_methods")
    rules.check_unique(group.auth_methods, "auth_methods")


def _check_lives(group: EnrolmentGroup) -> None:
    if not MIN_CERTIFICATE_LIFE <= group.certificate_lifetime <= MAX_CERTIFICATE_LIFE:
        raise Invalid(f"use {MIN_CERTIFICATE_LIFE} to {MAX_CERTIFICATE_LIFE} seconds", field="certificate_lifetime")
    if group.secret_lifetime is None:
        return
    if not MIN_LIFE <= group.secret_lifetime <= MAX_LIFE:
        raise Invalid(f"use {MIN_LIFE} to {MAX_LIFE} seconds", field="secret_lifetime")
    if not set(group.auth_methods) & set(SECRET_METHODS):
        raise Invalid("none of the methods has a secret", field="secret_lifetime")


def check_pattern(pattern: str) -> None:
    """Text with known placeholders. Raises `Invalid`."""
    rules.check_name(pattern, "name_pattern", 60)
    plain = pattern
    for placeholder in PLACEHOLDERS:
        plain = plain.replace(placeholder, "")
    if "{" in plain or "}" in plain:
        raise Invalid(f"the only placeholders are {' and '.join(PLACEHOLDERS)}", field="name_pattern")


def check_serial(serial: str) -> None:
    """A serial number: printable, and short enough for a certificate's subject. Raises `Invalid`."""
    rules.check_name(serial, "serial", 64)
