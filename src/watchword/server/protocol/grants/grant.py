"""What a grant is: everything the server has to know about one way to ask for a token."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from ..access import Access
from ..request import Form, TokenRequest
from ..standing import Standing


class ShownToken(Struct, frozen=True):
    """A token of this issuer in a request; the grant needs its claims."""

    unverified: str
    type: str = ""
    """`typ` in the header of the JWT; empty for an access token of any format."""

    def __repr__(self) -> str:
        return "ShownToken(...)"


Seen = tuple[Mapping[str, Any] | None, ...]
"""The verified claims of each shown token, in the same order; None for a token that is not active."""
Judge = Callable[[Standing, TokenRequest, Seen], Access]
"""Decides what the application gets. Pure; raises an `OAuthError`."""


class Grant(Struct, frozen=True):
    """One grant type (RFC 6749 section 4), as one row of the table of grants."""

    grant_type: str
    judge: Judge
    read: Callable[[Form], object] | None = None
    """Reads the parameters that only this grant has into `TokenRequest.members`. Checks nothing, raises nothing."""
    repeatable: frozenset[str] = frozenset()
    """The parameters that may be repeated in this grant, beside `resource`."""
    shown: Callable[[Standing, TokenRequest], tuple[ShownToken, ...]] | None = None
    """The tokens in the request. They are verified before `judge` is called. Raises an `OAuthError`."""


Grants = Mapping[str, Grant]
"""Grants by grant type: those of a surface."""
