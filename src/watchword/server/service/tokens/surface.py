"""What differs between the surfaces that issue tokens, and the token that a surface makes."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from ...protocol.access import Access
from ...protocol.grants.grant import Grants
from ..ports import OpaqueRow
from ..view import TenantView


class Minted(Struct, frozen=True):
    """A token before it is committed and answered, with the members that are recorded."""

    token: str
    token_id: str
    audience: tuple[str, ...]
    scope: str
    expires_at: int
    row: OpaqueRow | None = None
    txn: str = ""
    """The transaction of a transaction token."""

    def __repr__(self) -> str:
        return "Minted(...)"


Mint = Callable[[TenantView, Access, float, str], Minted]
"""Makes the token of one surface: (tenant, access, now, token id)."""


class Surface(Struct, frozen=True):
    """What differs between the native issuer and the App ID surface."""

    name: str
    mint: Mint
    grants: Grants
    """The grants that the surface allows."""
