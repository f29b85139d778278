"""Give out places in status lists: each worker from lists of its own, without asking or telling anybody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from ...protocol.status_list import CHANCE, PATH, RANDOM, SIZE, USE, ListName, Scatter
from ...registry.model import SigningAlgorithm
from ..view import TenantView


class Begun(Struct):
    """A list that indexes are given out of; nobody else has it, for its name holds 80 bits of chance."""

    uri: str
    made_at: int
    scatter: Scatter
    given: int = 0


class StatusIndexes:
    """One object per worker. What it forgets when the worker ends is how far it came; the next begins new lists."""

    def __init__(
        self, key: bytes, issuer_of: Callable[[str], str], random_bytes: Callable[[int], bytes], size: int = SIZE
    ) -> None:
        self._key, self._issuer_of, self._random, self._size = key, issuer_of, random_bytes, size
        self._begun: dict[tuple[str, str], Begun] = {}

    def next(self, tenant: TenantView, algorithm: SigningAlgorithm, now: float) -> dict[str, Any]:
        """The `status` claim of one token (section 6.2); no other token ever has the same."""
        place = tenant.tenant.tenant_id, algorithm
        found = self._begun.get(place)
        if found is None or found.given >= self._size or not found.made_at <= now < found.made_at + USE:
            found = self._begin(tenant, algorithm, int(now))
            self._begun[place] = found
        number, found.given = found.given, found.given + 1
        return {"status_list": {"idx": found.scatter.index(number), "uri": found.uri}}

    def _begin(self, tenant: TenantView, algorithm: SigningAlgorithm, now: int) -> Begun:
        for place in [place for place, begun in self._begun.items() if now >= begun.made_at + USE]:
            del self._begun[place]
        name = ListName(now, algorithm, self._random(RANDOM)).write(self._key, tenant.tenant.tenant_id)
        uri = f"{self._issuer_of(tenant.tenant.slug)}/{PATH}{name}"
        return Begun(uri, now, Scatter(self._random(CHANCE)))
