"""What an event of a change says about the record before and after it: bounded in size, and never a secret."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from msgspec import Struct

HIDDEN = frozenset({"digest", "sealed", "statement"})
"""Members that are left out at any depth: HMACs of secrets, encrypted secrets, and software statements, which can be
used again. Bytes are left out as well."""
_PUBLIC_OF_A_KEY = ("kid", "kty", "crv", "alg", "use")
MOST_OF_A_FIELD = 1_024
MOST = 8_192
"""Bytes of JSON: of one field, and of all together. What is larger is replaced by its length and SHA-256."""


def changed_fields(before: Struct, after: Struct) -> tuple[str, ...]:
    """The names of the fields that differ, without `version`."""
    return tuple(
        name for name in before.__struct_fields__ if name != "version" and getattr(before, name) != getattr(after, name)
    )


def audited_change(before: Struct, after: Struct) -> dict[str, Any]:
    """The fields of an event that tells a change: `fields`, `before` and `after`."""
    names = changed_fields(before, after)
    room = [MOST]
    return {
        "fields": names,
        "before": {name: _bounded(getattr(before, name), room) for name in names},
        "after": {name: _bounded(getattr(after, name), room) for name in names},
    }


def _bounded(value: Any, room: list[int]) -> Any:
    shown = _shown(value)
    encoded = msgspec.json.encode(shown)
    if len(encoded) > min(MOST_OF_A_FIELD, room[0]):
        shown = {"bytes": len(encoded), "sha256": hashlib.sha256(encoded).hexdigest()}
    else:
        room[0] -= len(encoded)
    return shown


def _shown(value: Any) -> Any:
    if isinstance(value, Struct):
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        return {name: _shown(item) for name, item in fields.items() if _may_be_shown(name, item)}
    if isinstance(value, dict):
        if "kty" in value:
            return {name: value[name] for name in _PUBLIC_OF_A_KEY if name in value}
        return {str(name): _shown(item) for name, item in value.items() if _may_be_shown(str(name), item)}
    if isinstance(value, (list, tuple)):
        return [_shown(item) for item in value if not isinstance(item, bytes)]
    return None if isinstance(value, bytes) else value


def _may_be_shown(name: str, value: Any) -> bool:
    return name not in HIDDEN and not isinstance(value, (bytes, bytearray, memoryview))
