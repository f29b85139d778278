"""The connections of a worker: a ceiling for all of them, and a share for each source when it is reached."""

from __future__ import annotations

import ipaddress
from collections.abc import Container
from itertools import islice
from typing import Protocol

RESERVE = 100
"""Connections above the ceiling for those who ask whether we live: no answer would have us restarted."""
_SCARCE = 0.8
"""Of the ceiling: from here on idle connections end sooner."""
_LOOKED_AT = 32
"""Connections of a source among which an idle one is looked for."""


class Member(Protocol):
    """A connection."""

    @property
    def idle(self) -> bool: ...

    def close(self) -> None: ...


class Crowd:
    """Every connection from its acceptance to its end, TLS handshakes included.

    Where there is no room, whoever holds the most gives one up to whoever holds fewer; the greediest source itself is
    turned away. Addresses of `proxies` are many callers each, and give up nothing.
    """

    def __init__(self, ceiling: int | None, proxies: Container[str] = ()) -> None:
        self._ceiling, self._proxies = ceiling or 1_000_000, proxies
        self._source_of: dict[Member, str] = {}
        self._held: dict[str, dict[Member, None]] = {}
        self._by_size: dict[int, dict[str, None]] = {}
        self._most = 0

    def __len__(self) -> int:
        return len(self._source_of)

    @property
    def scarce(self) -> bool:
        """Whether an idle connection takes a place that somebody will need."""
        return len(self._source_of) > self._ceiling * _SCARCE

    @property
    def overrun(self) -> bool:
        """Whether even those who ask for our health have no place left."""
        return len(self._source_of) > self._ceiling + RESERVE

    def enter(self, member: Member, address: str, instead_of: Member | None = None) -> bool:
        """Whether it stands above the ceiling; another may be closed for it. `instead_of`: who was it until now."""
        if instead_of in self._source_of:
            source = self._source_of.pop(instead_of)
            own = self._held[source]
            del own[instead_of]
            self._source_of[member], own[member] = source, None
            return len(self._source_of) > self._ceiling
        source = self._source(address)
        self._source_of[member] = source
        own = self._held.setdefault(source, {})
        own[member] = None
        if source:
            self._resize(source, len(own) - 1, len(own))
        return len(self._source_of) > self._ceiling and not self._gives_up_one(len(own) if source else 0)

    def leave(self, member: Member) -> None:
        """It ended."""
        source = self._source_of.pop(member, None)
        if source is None:
            return
        own = self._held[source]
        del own[member]
        if source:
            self._resize(source, len(own) + 1, len(own))
        if not own:
            del self._held[source]

    def _gives_up_one(self, own: int) -> bool:
        if self._most <= own:
            return False
        greediest = self._held[next(iter(self._by_size[self._most]))]
        some = list(islice(greediest, _LOOKED_AT))
        leaves = next((each for each in some if each.idle), some[0])
        self.leave(leaves)
        leaves.close()
        return True

    def _resize(self, source: str, before: int, now: int) -> None:
        if before:
            del self._by_size[before][source]
            if not self._by_size[before]:
                del self._by_size[before]
        if now:
            self._by_size.setdefault(now, {})[source] = None
        if now > self._most or self._most not in self._by_size:
            self._most = now

    def _source(self, address: str) -> str:
        """An address, the /64 of one of IPv6; empty: it counts for many."""
        if not address or address in self._proxies:
            return ""
        if ":" not in address:
            return address
        try:
            return ipaddress.IPv6Address(address.partition("%")[0]).packed[:8].hex()
        except ValueError:
            return address
