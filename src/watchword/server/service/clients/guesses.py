"""Rate limit failed client authentications, without ever locking out an application with the right credentials.

Credentials are checked first and failures counted afterwards, by source address and not by application alone, so
that strangers cannot lock out an application by using its client id. The memory has a fixed size.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from hashlib import blake2b

from ...protocol.rate import source_of, spent, wait
from ...registry.rate_limit import RateLimit

REMEMBERED = 20_000
"""Sources, and pairs of a source and a client id, that are remembered; beyond that the oldest is dropped."""
FREE = 100
"""Failures of one source with one client id before it gets 429."""
OF_ANY = 3
"""Times as many failures are free for all client ids together: a whole fleet may share one network address."""


class Guesses:
    """One object per worker. `salt` prevents callers from making two sources share a counter."""

    def __init__(self, salt: bytes, free: int = FREE) -> None:
        self._salt = salt
        self._of_one = RateLimit(per_second=0.2, burst=free)
        self._of_source = RateLimit(per_second=5.0, burst=OF_ANY * free)
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        """The number of counters in use."""
        return len(self._until)

    def failed(self, unverified_client_id: str, peer: str, now: float) -> int:
        """Count one failure. Returns whole seconds to wait when the limit is exceeded, else 0."""
        source = source_of(peer)
        seconds = self._count(source, self._of_source, now)
        return max(seconds, self._count(f"{source} {unverified_client_id}", self._of_one, now))

    def _count(self, subject: str, limit: RateLimit, now: float) -> int:
        key = blake2b(subject.encode("utf-8", "surrogatepass"), key=self._salt, digest_size=12).digest()
        until = self._until.pop(key, 0.0)
        seconds = wait(until, now, limit)
        self._until[key] = until if seconds else spent(until, now, limit)
        if len(self._until) > REMEMBERED:
            self._until.popitem(last=False)
        return math.ceil(seconds)
