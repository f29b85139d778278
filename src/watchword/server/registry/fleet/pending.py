"""The record of a device that waits for an administrator's approval."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from .enrolment import Way

State = Literal["waiting", "approved", "denied"]
MAX_WAITING = 1_000
"""Devices of one group that can wait at the same time."""
WAITS = 7 * 86_400
"""Seconds after which a waiting request expires; the device then has to ask again from the start."""
COLLECTS = 30 * 86_400
"""Seconds within which an approved device has to ask again."""
KEPT = 30 * 86_400
"""Seconds that an expired request is kept, undecided or not collected."""


class PendingEnrolment(Struct, frozen=True, kw_only=True):
    """A device's request to enrol. Enrolling the device deletes it; a denied request stays."""

    tenant_id: str
    pending_id: str
    group_id: str
    state: State = "waiting"
    mark: str
    """Recognizes repeated requests of the same device."""
    ticket: str
    """The HMAC of the ticket with which the device asks again; empty for devices that authenticate each time."""
    way: Way
    serial: str | None = None
    key: str = ""
    """The thumbprint of the key that identifies the device."""
    own_key: str = ""
    """The thumbprint of the key that is to be registered or certified."""
    source: str = ""
    """The network address of the first request."""
    requested_at: int
    expires_at: int
    decided_by: str = ""
    version: int = 1

    def live(self, now: float) -> bool:
        """Whether it has not expired; a denial never expires."""
        return self.state == "denied" or now < self.expires_at
