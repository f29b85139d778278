"""Arithmetic of rate limits: the generic cell rate algorithm (ITU-T I.371), with one number for each subject.

That number, the debt, is the time at which the admitted tokens are worked off at the limit's rate. It needs no
time windows, and the debts of two nodes can be added.
"""

from __future__ import annotations

import ipaddress
import math

from ..registry.rate_limit import RateLimit

LONGEST_WAIT = 24.0
"""Seconds. With its jitter it stays below the longest pause of our own client (`client/flow.py`, LONGEST_PAUSE)."""
_ROUNDING = 1e-3
"""Seconds: the tolerance for rounding in long sums of floats. At most half an interval."""


def wait(until: float, now: float, limit: RateLimit) -> float:
    """Seconds until one more token fits within the limit; 0.0: it fits now."""
    over = until - now - (limit.burst - 1) / limit.per_second
    return over if over > min(_ROUNDING, 0.5 / limit.per_second) else 0.0


def spent(until: float, now: float, limit: RateLimit, count: int = 1) -> float:
    """The new debt, after `count` more tokens."""
    return (until if until > now else now) + count / limit.per_second


def share_of(limit: RateLimit) -> int:
    """What a worker spends before it shares its debt: a tenth of the burst, or a hundredth of a second's rate."""
    return max(1, limit.burst // 10, int(limit.per_second / 100))


def merged(until: float, untold: int, shared: float, limit: RateLimit) -> float:
    """The shared debt of all workers, with this worker's `untold` spending added."""
    own = untold / limit.per_second
    return max(until - own, shared) + own


def turn(queue_until: float, now: float, per_second: float) -> float:
    """When a rejected request may be repeated: staggered, so that retries do not come all at once (thundering herd)."""
    return min(max(queue_until, now) + 1 / per_second, now + LONGEST_WAIT)


def retry_after(seconds: float, chance: float) -> int:
    """Whole seconds (RFC 9110 section 10.2.3): at least one, plus jitter by `chance` (0 to 1)."""
    least = max(1, math.ceil(seconds))
    return least + int(chance * (max(1.0, least / 4) + 1))


def source_of(address: str) -> str:
    """The address that counts as one source: an IPv4 address, or the /64 of an IPv6 address (RFC 6177)."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))


def network_of(address: str) -> str:
    """The network of an address, for sums: the /24 of an IPv4 address, the /64 of an IPv6 address."""
    source = source_of(address)
    if source == "unknown" or "/" in source:
        return source
    return str(ipaddress.IPv4Network(f"{source}/24", strict=False))
