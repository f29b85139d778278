"""The errors of changes to the registry.

RegistryError
├── Invalid           the input breaks a rule; names the field
├── NotFound          no such thing in this tenant
├── Conflict          it exists already, or something still uses it
├── Forbidden         the caller does not hold at the administration API what this needs
└── VersionMismatch   another request changed it first
"""

from __future__ import annotations


class RegistryError(Exception):
    """Base class; never raised itself. `public` is shown to the caller."""

    def __init__(self, public: str, *, field: str | None = None) -> None:
        super().__init__(public)
        self.public = public
        self.field = field


class Invalid(RegistryError):
    """The input breaks a rule; `field` names the field."""


class NotFound(RegistryError):
    """There is no such thing in this tenant."""


class Conflict(RegistryError):
    """It exists already, or something else still uses it."""


class Forbidden(RegistryError):
    """The caller does not hold at the administration API what this change needs."""


class VersionMismatch(RegistryError):
    """Another request changed it first; read it again and repeat the change."""
