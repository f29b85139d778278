"""The base class of all audit events."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Event(Struct, frozen=True, kw_only=True, tag_field="event", tag=True, omit_defaults=True):
    """The fields of every event."""

    at: float
    actor: str = "system"
    request_id: str = ""


class Updated(Event, frozen=True, kw_only=True):
    """The fields of every event that tells of a changed record; see `changes.py`."""

    fields: tuple[str, ...]
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
