"""Rules for a device that waits for approval: when to ask again, and what to send."""

from __future__ import annotations

from ..registry.fleet.pending import PendingEnrolment
from .enrolment import EnrolmentRequest
from .errors import EnrolmentDenied, EnrolmentRefused

_SOONEST, _LATEST = 30, 3_600


def ask_again_in(pending: PendingEnrolment, now: float) -> int:
    """Seconds: a tenth of the time that it has waited, so that devices that wait for days cost little."""
    return int(min(_LATEST, max(_SOONEST, (now - pending.requested_at) / 10)))


def check_asks_again(pending: PendingEnrolment, wanted: EnrolmentRequest, own_key: str) -> None:
    """Check that a repeated request is the same as the first. Raises `EnrolmentDenied` (final), `EnrolmentRefused`."""
    if pending.state == "denied":
        raise EnrolmentDenied
    if own_key != pending.own_key or wanted.serial not in (None, pending.serial):
        raise EnrolmentRefused("it asked with another key or serial number: send the same request again", rule="repeat")
