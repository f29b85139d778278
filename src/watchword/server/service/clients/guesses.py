"""Who keeps failing to prove himself is told to slow down; who proves himself is never refused for it.

Credentials are judged first and failures counted after, by source and not by application: an outsider who fails in an
application's name fails for himself. The memory is of a fixed size whatever is sent and from how many addresses.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from hashlib import blake2b

from ...protocol.rate import source_of, spent, wait
from ...registry.rate_limit import RateLimit

REMEMBERED = 20_000
"""Sources, and pairs of a source and a client id; beyond it, the one that failed longest ago is forgotten."""
FREE = 100
"""Wrong proofs of one application by one source, before it is told to slow down."""
OF_ANY = 3
"""Times as many are free of any application: one network address may be a whole fleet's, with broken devices in it."""


class Guesses:
    """One object per worker. `salt` keeps others from making two sources share a place."""

    def __init__(self, salt: bytes, free: int = FREE) -> None:
        self._salt = salt
        self._of_one = RateLimit(per_second=0.2, burst=free)
        self._of_source = RateLimit(per_second=5.0, burst=OF_ANY * free)
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        """How many places are taken."""
        return len(self._until)

    def failed(self, unverified_client_id: str, peer: str, now: float) -> int:
        """Count one failure. Whole seconds to wait, when it was one too many; else 0."""
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
