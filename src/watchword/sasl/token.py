"""Protocols for token sources. `watchword.sasl` does not import `watchword.client`, whose tokens fit them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol


class HeldToken(Protocol):
    """What `watchword.client.AccessToken` is: the token, and when it expires (Unix seconds)."""

    @property
    def value(self) -> str: ...

    @property
    def expires_at(self) -> float: ...


TokenSource = Callable[[], HeldToken]
"""``ClientCredentials(...).token``: a token that is valid now, from a cache or fetched."""
AsyncTokenSource = Callable[[], Awaitable[HeldToken]]
"""``ClientCredentials(...).atoken``."""
