"""What every audit event has."""

from __future__ import annotations

from msgspec import Struct


class Event(Struct, frozen=True, kw_only=True, tag_field="event", tag=True, omit_defaults=True):
    """What all events say."""

    at: float
    actor: str = "system"
    request_id: str = ""
