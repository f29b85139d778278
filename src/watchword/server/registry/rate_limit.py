"""A rate limit: tokens a second, and a burst."""

from __future__ import annotations

from msgspec import Struct

from .errors import Invalid

MAX_PER_SECOND, MIN_PER_SECOND, MAX_BURST = 100_000.0, 1 / 3_600, 1_000_000


class RateLimit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tokens a second on average, and the most at one moment."""

    per_second: float
    burst: int


def check_rate_limit(limit: RateLimit | None, field: str) -> None:
    """Raises `Invalid`. None is no limit."""
    if limit is None:
        return
    if not MIN_PER_SECOND <= limit.per_second <= MAX_PER_SECOND:
        raise Invalid(f"per_second is from one an hour (1/3600) to {MAX_PER_SECOND:.0f}", field=field)
    if not 1 <= limit.burst <= MAX_BURST:
        raise Invalid(f"burst is from 1 to {MAX_BURST}", field=field)
