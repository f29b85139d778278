"""The base class of all audit events."""

from __future__ import annotations

from msgspec import Struct


class Event(Struct, frozen=True, kw_only=True, tag_field="event", tag=True, omit_defaults=True):
    """The fields of every event."""

    at: float
    actor: str = "system"
    request_id: str = ""
