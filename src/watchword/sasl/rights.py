"""Turn a token's scopes into the permissions to publish and to subscribe, for NATS and Mosquitto.

>>> rights = read_rights({"nats.pub:devices.dev-1.>", "openid"}, "nats")
>>> rights.publish, rights.subscribe
(('devices.dev-1.>',), ())
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


class Bearer(Protocol):
    """The claims of a good token, such as `watchword.resource.Claims`. Times are Unix seconds."""

    @property
    def client_id(self) -> str: ...

    @property
    def scopes(self) -> frozenset[str]: ...

    @property
    def expires_at(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Rights:
    """Patterns in the broker's syntax, sorted. An empty tuple allows nothing, never everything."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.publish or self.subscribe)


def read_rights(scopes: Iterable[str], word: str) -> Rights:
    """``WORD.pub:PATTERN`` and ``WORD.sub:PATTERN``; other scopes are ignored."""
    held = sorted(scopes)
    return Rights(_after(held, f"{word}.pub:"), _after(held, f"{word}.sub:"))


def _after(scopes: list[str], prefix: str) -> tuple[str, ...]:
    return tuple(scope.removeprefix(prefix) for scope in scopes if scope.startswith(prefix))
