"""Enrolment groups: what a device becomes that enrols itself, how it may, and how many may."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from . import rules
from .errors import Invalid
from .model import ADMIN_API, SECRET_METHODS, Api, AuthMethod, Grant, Kind
from .rate_limit import RateLimit, check_rate_limit

Way = Literal["code"]
"""A code that was printed on it, or that a batch of devices shares."""
METHODS: tuple[AuthMethod, ...] = (
    "client_secret_basic",
    "client_secret_post",
    "client_secret_jwt",
    "private_key_jwt",
)
"""What a device can be given, or can bring: a secret, or its own key."""
MAX_DEVICES = 10_000_000
MAX_CODES = 10_000
"""Of one request."""
MAX_USES = 1_000_000
MAX_CODE_LIFE = 366 * 86_400
REPEAT_WITHIN = 600
"""Seconds in which a device that got no answer may ask for its secret again."""
MAX_LIFE = 10 * 366 * 86_400
MIN_LIFE = 60
PLACEHOLDERS = ("{serial}", "{id}")


class EnrolmentGroup(Struct, frozen=True, kw_only=True):
    """Times are seconds since the epoch, lives are seconds."""

    tenant_id: str
    group_id: str
    name: str
    kind: Kind = "device"
    auth_methods: tuple[AuthMethod, ...] = METHODS
    """What its devices may prove themselves with; of those with a secret, the first is given to who brings nothing."""
    grants: tuple[Grant, ...] = ()
    role_ids: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    name_pattern: str = "device-{id}"
    """`{serial}` is the device's serial number, which it then needs; `{id}` the beginning of its client id."""
    max_devices: int | None = None
    """How many living applications may be in it; None: no limit."""
    expires_at: int | None = None
    """From then on nobody enrols; who did stays."""
    secret_lifetime: int | None = None
    require_bound: bool = False
    ways: tuple[Way, ...] = ("code",)
    """None: nobody enrols by itself, administrators put applications into it."""
    rate_limit: RateLimit | None = None
    """How many tokens its applications may be given together."""
    created_at: int
    version: int = 1

    def open(self, now: float) -> bool:
        """Whether devices still enrol."""
        return self.expires_at is None or now < self.expires_at

    def device_name(self, serial: str | None, client_id: str) -> str:
        """By its pattern. Raises `Invalid` when that needs a serial number and there is none."""
        if "{serial}" in self.name_pattern and serial is None:
            raise Invalid("this group names its devices by serial number: send it", field="serial")
        return self.name_pattern.replace("{id}", client_id[:8]).replace("{serial}", serial or "")


class EnrolmentCode(Struct, frozen=True, kw_only=True):
    """Lets `uses_left` devices more into a group, each once. Times are seconds since the epoch."""

    tenant_id: str
    digest: str
    """The code's HMAC: whoever has the database cannot make the code."""
    group_id: str
    uses_left: int
    expires_at: int

    def live(self, now: float) -> bool:
        """Whether a device may still enrol with it."""
        return self.uses_left > 0 and now < self.expires_at


def check_codes(count: int, uses: int, expires_in: int) -> None:
    """What may be asked for at once. Raises `Invalid`."""
    for name, value, most in (
        ("count", count, MAX_CODES),
        ("uses", uses, MAX_USES),
        ("expires_in", expires_in, MAX_CODE_LIFE),
    ):
        if not 1 <= value <= most:
            raise Invalid(f"use 1 to {most}", field=name)


def check_group(group: EnrolmentGroup, apis: dict[str, Api], roles: set[str]) -> None:
    """On the final state. Raises `Invalid`."""
    rules.check_name(group.name)
    _check_methods(group)
    rules.check_grants(group.grants, apis, "grants")
    if any(apis[grant.api_id].identifier == ADMIN_API for grant in group.grants):
        raise Invalid("nobody enrols as an administrator", field="grants")
    rules.check_unique(group.role_ids, "role_ids")
    for role_id in group.role_ids:
        if role_id not in roles:
            raise Invalid(f"there is no role {role_id!r}", field="role_ids")
    rules.check_labels(group.labels, "labels")
    check_pattern(group.name_pattern)
    if group.max_devices is not None and not 1 <= group.max_devices <= MAX_DEVICES:
        raise Invalid(f"use 1 to {MAX_DEVICES}, or null for no limit", field="max_devices")
    _check_lives(group)
    check_rate_limit(group.rate_limit, "rate_limit")
    rules.check_unique(group.ways, "ways")


def _check_methods(group: EnrolmentGroup) -> None:
    if not group.auth_methods or not set(group.auth_methods) <= set(METHODS):
        raise Invalid(f"name one or more of {', '.join(METHODS)}", field="auth_methods")
    rules.check_unique(group.auth_methods, "auth_methods")


def _check_lives(group: EnrolmentGroup) -> None:
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
    """What manufacturers print: printable, and short enough for a certificate's subject. Raises `Invalid`."""
    rules.check_name(serial, "serial", 64)
