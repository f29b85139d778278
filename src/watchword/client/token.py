"""An access token in the client, and the rule for when to renew it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

LONGEST_MARGIN = 60.0
"""Seconds before expiry at which renewal starts, at most."""
MARGIN_SHARE = 0.2
"""The margin of a short token, as a share of its life."""
JITTER_SHARE = 0.25
"""By how much of itself the margin may grow, so that a fleet does not renew in one second."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """``value`` goes after ``Bearer`` or ``DPoP``; ``expires_at`` is Unix seconds.

    ``scope`` is the granted one, with spaces; None if neither the request nor the answer names a scope.
    """

    value: str = field(repr=False)
    expires_at: float
    scope: str | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A token in the cache, and the time (Unix seconds) from which it is renewed."""

    token: AccessToken
    renew_at: float


def hold(token: AccessToken, *, asked_at: float, chance: float, until: float = math.inf) -> Held:
    """Decide once when to renew: ``min(60 s, 20 % of life)`` before expiry, up to a quarter of that earlier.

    ``chance`` is a random number in [0, 1). A token that ends at ``until`` (to the margin) is used to its end: no new
    one could live longer, and there would be ever more, ever shorter ones.
    """
    margin = min(LONGEST_MARGIN, MARGIN_SHARE * (token.expires_at - asked_at))
    if until - token.expires_at <= margin:
        return Held(token, token.expires_at)
    return Held(token, token.expires_at - margin * (1 + JITTER_SHARE * chance))
