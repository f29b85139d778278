"""The arithmetic of limits: the generic cell rate algorithm (ITU-T I.371), on one number a subject.

That number is the second until which what was admitted has to be worked off at the limit's rate: its debt. It needs no
window that begins anew, and two nodes' debts add up.
"""

from __future__ import annotations

import ipaddress
import math

from ..registry.rate_limit import RateLimit

LONGEST_WAIT = 24.0
"""Seconds. With its jitter it stays below what our own callers are patient for (`client/flow.py`, LONGEST_PAUSE)."""
_ROUNDING = 1e-3
"""Seconds: what long sums of floats near the present differ by, and no request is refused for. At most half a turn."""


def wait(until: float, now: float, limit: RateLimit) -> float:
    """Seconds until one more fits within the limit; 0.0: it fits now."""
    over = until - now - (limit.burst - 1) / limit.per_second
    return over if over > min(_ROUNDING, 0.5 / limit.per_second) else 0.0


def spent(until: float, now: float, limit: RateLimit, count: int = 1) -> float:
    """The debt's new end, after `count` more."""
    return (until if until > now else now) + count / limit.per_second


def share_of(limit: RateLimit) -> int:
    """How much a worker spends before it tells the others: a tenth of the burst, or a hundredth of a second's rate."""
    return max(1, limit.burst // 10, int(limit.per_second / 100))


def merged(until: float, untold: int, shared: float, limit: RateLimit) -> float:
    """A worker's debt, of which `untold` are not in it, with the debt that all have together."""
    own = untold / limit.per_second
    return max(until - own, shared) + own


def turn(queue_until: float, now: float, per_second: float) -> float:
    """When one who is refused may come again, so that all who are refused come one after another, and not at once."""
    return min(max(queue_until, now) + 1 / per_second, now + LONGEST_WAIT)


def retry_after(seconds: float, chance: float) -> int:
    """Whole seconds (RFC 9110 section 10.2.3): at least one, and by chance (0 to 1) up to a quarter, or one, more."""
    least = max(1, math.ceil(seconds))
    return least + int(chance * (max(1.0, least / 4) + 1))


def source_of(address: str) -> str:
    """Who counts as one: an IPv4 address, or the /64 that an IPv6 network hands to one customer (RFC 6177)."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
