"""A cache with a bound that many share: whoever fills it loses his own entries first (against a noisy neighbour)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

V = TypeVar("V")


class Kept(Generic[V]):
    """At most `most` entries, each for `seconds` after its last change. `owner_of` a key: who fills the cache with it.

    When it is full, an owner with his part of it or more loses his oldest entry; otherwise the oldest of all goes.
    """

    def __init__(self, most: int, seconds: float, clock: Callable[[], float], owner_of: Callable[[Any], str]) -> None:
        self._most, self._seconds, self._clock, self._owner_of = most, seconds, clock, owner_of
        self._all: OrderedDict[Any, tuple[float, V]] = OrderedDict()
        self._by_owner: dict[str, OrderedDict[Any, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, key: Any) -> bool:
        self._forget_old()
        return key in self._all

    def __getitem__(self, key: Any) -> V:
        """Raises KeyError."""
        self._forget_old()
        return self._all[key][1]

    def __setitem__(self, key: Any, value: V) -> None:
        self._forget_old()
        owner = self._owner_of(key)
        if key in self._all:
            self._forget(key)
        elif len(self._all) >= self._most:
            own = self._by_owner.get(owner, ())
            greedy = len(own) >= max(1, self._most // len(self._by_owner))
            self._forget(next(iter(own if greedy else self._all)))
        self._all[key] = self._clock(), value
        self._by_owner.setdefault(owner, OrderedDict())[key] = None

    def _forget_old(self) -> None:
        ended = self._clock() - self._seconds
        while self._all and next(iter(self._all.values()))[0] <= ended:
            self._forget(next(iter(self._all)))

    def _forget(self, key: Any) -> None:
        del self._all[key]
        owner = self._owner_of(key)
        del self._by_owner[owner][key]
        if not self._by_owner[owner]:
            del self._by_owner[owner]
