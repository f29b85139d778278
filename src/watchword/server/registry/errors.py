"""What can be wrong with a change to the registry.

RegistryError
├── Invalid           the input breaks a rule; names the field
├── NotFound          no such thing in this tenant
├── Conflict          it exists already, or something still uses it
└── VersionMismatch   somebody changed it first
"""

from __future__ import annotations


class RegistryError(Exception):
    """Base; never raised itself. `public` may be shown to whoever asked."""

    def __init__(self, public: str, *, field: str | None = None) -> None:
        super().__init__(public)
        self.public = public
        self.field = field


class Invalid(RegistryError):
    """The input breaks a rule; `field` names where."""


class NotFound(RegistryError):
    """There is no such thing in this tenant."""


class Conflict(RegistryError):
    """It exists already, or something still uses it."""


class VersionMismatch(RegistryError):
    """Somebody changed it first; read it again and repeat the change."""
