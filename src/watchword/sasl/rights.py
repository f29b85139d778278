"""What a token's scopes let a client publish and subscribe to, at brokers that leave it to us (NATS, Mosquitto).

>>> rights = read_rights({"nats.pub:devices.dev-1.>", "openid"}, "nats")
>>> rights.publish, rights.subscribe
(('devices.dev-1.>',), ())
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


class Bearer(Protocol):
    """Whom a good token names, and for how long; `watchword.resource.Claims` is one. Unix seconds."""

    @property
    def client_id(self) -> str: ...

    @property
    def scopes(self) -> frozenset[str]: ...

    @property
    def expires_at(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Rights:
    """Patterns in the broker's own words, sorted; an empty one means nothing at all, never everything."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.publish or self.subscribe)


def read_rights(scopes: Iterable[str], word: str) -> Rights:
    """``WORD.pub:PATTERN`` and ``WORD.sub:PATTERN``; other scopes are somebody else's and are passed over."""
    held = sorted(scopes)
    return Rights(_after(held, f"{word}.pub:"), _after(held, f"{word}.sub:"))


def _after(scopes: list[str], prefix: str) -> tuple[str, ...]:
    return tuple(scope.removeprefix(prefix) for scope in scopes if scope.startswith(prefix))
