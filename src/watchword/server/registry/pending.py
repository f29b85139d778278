"""Devices that wait until an administrator has looked at them."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from .enrolment import Way

State = Literal["waiting", "approved", "denied"]
MAX_WAITING = 1_000
"""Of one group."""
WAITS = 7 * 86_400
"""Seconds that a device waits; when it asks again after that, it begins anew."""
COLLECTS = 30 * 86_400
"""Seconds that a device has to come for what was approved."""
KEPT = 30 * 86_400
"""Seconds that one is kept which nobody decided, or nobody came for."""


class PendingEnrolment(Struct, frozen=True, kw_only=True):
    """Who asked to become what. It is gone when the device has become an application; a denied one stays."""

    tenant_id: str
    pending_id: str
    group_id: str
    state: State = "waiting"
    mark: str
    """By which the device's repeats are known."""
    ticket: str
    """The digest of the text by which it may ask again; empty for who has to prove itself each time."""
    way: Way
    serial: str | None = None
    key: str = ""
    """The thumbprint of the key that shows which device it is."""
    own_key: str = ""
    """Of the key that is to be registered, or certified."""
    source: str = ""
    """The network address that asked first."""
    requested_at: int
    expires_at: int
    decided_by: str = ""
    version: int = 1

    def live(self, now: float) -> bool:
        """Whether its time is not over; a denial has no end."""
        return self.state == "denied" or now < self.expires_at
