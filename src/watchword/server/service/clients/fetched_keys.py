"""Fetch and cache keys from a URL (`jwks_uri`) of an application or trusted issuer.

Fetched keys are cached for `CACHED` seconds, and until `STALE` when the URL does not answer. An answer without usable
keys (an empty set, 404, 410) removes the cached keys: their owner took them away. A missing key causes another fetch,
at most once in `COOL_DOWN` seconds, so that callers cannot cause endless fetches (CVE-2026-48524).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import structlog

from ....jose import JoseError, Read
from ..kept import Kept

T = TypeVar("T")
CACHED = 300.0
STALE = 3_600.0
COOL_DOWN = 30.0
MAX_PLACES = 10_000
"""Of all tenants: one that has more of them loses its own."""
Fetch = Callable[[str, str], Awaitable[bytes]]
"""(URL, id of the tenant whose turn it is) -> the body. Raises `FetchFailed`."""
_log = structlog.get_logger("watchword.fetched_keys")


class FetchFailed(Exception):
    """The URL gave no valid answer. The same text for every reason; `detail` is for the operator's log.

    `answered` tells that the URL's owner did answer, without keys; otherwise the URL was unreachable or in trouble.
    """

    def __init__(self, detail: str, *, answered: bool = False) -> None:
        super().__init__("the address cannot be used")
        self.detail, self.answered = detail, answered


class _Remote(Generic[T]):
    """The cached keys of one URL."""

    __slots__ = ("asked_at", "fetched_at", "found", "sought_at", "turn")

    def __init__(self, nothing: T) -> None:
        self.turn, self.found = asyncio.Lock(), nothing
        self.fetched_at = self.asked_at = self.sought_at = float("-inf")


class FetchedKeys(Generic[T]):
    """One object per worker and kind of keys; `nothing` is the value when no keys can be fetched."""

    def __init__(self, nothing: T, clock: Callable[[], float]) -> None:
        self._nothing, self._clock = nothing, clock
        self._remotes: Kept[_Remote[T]] = Kept(MAX_PLACES, float("inf"), clock, lambda place: str(place[0]))

    async def get(self, place: tuple[str, ...], ask: Callable[[], Awaitable[T]], lacks: Callable[[T], bool]) -> T:
        """The keys of `place` (a tenant's id first); `ask` fetches them, and raises `FetchFailed` or a `JoseError`.

        `lacks` tells whether the cached keys lack the needed one.
        """
        if place not in self._remotes:
            self._remotes[place] = _Remote(self._nothing)
        remote = self._remotes[place]
        if self._due(remote, lacks):
            async with remote.turn:  # requests that waited here find the keys that the first one fetched
                if self._due(remote, lacks):
                    await self._ask(place, ask, remote)
        return remote.found if self._age(remote.fetched_at) <= STALE else self._nothing

    def _due(self, remote: _Remote[T], lacks: Callable[[T], bool]) -> bool:
        """An ordinary fetch does not delay the fetch for a missing key: that key may have been added since."""
        if self._age(remote.fetched_at) > CACHED:
            return self._age(remote.asked_at) >= COOL_DOWN
        return lacks(remote.found) and self._age(remote.sought_at) >= COOL_DOWN

    def _age(self, at: float) -> float:
        """The age by wall time; infinite after the clock was set back."""
        age = self._clock() - at
        return age if age >= 0 else float("inf")

    async def _ask(self, place: tuple[str, ...], ask: Callable[[], Awaitable[T]], remote: _Remote[T]) -> None:
        for_missing_key = self._age(remote.fetched_at) <= CACHED
        try:
            remote.found = await ask()
            remote.fetched_at = self._clock()
        except (FetchFailed, JoseError) as error:
            _log.warning("keys cannot be fetched", place=place, why=error.detail)
            if isinstance(error, JoseError) or error.answered:
                remote.found, remote.fetched_at = self._nothing, float("-inf")
        remote.asked_at = self._clock()  # not before: concurrent requests wait for this answer
        if for_missing_key:
            remote.sought_at = remote.asked_at


def wanted_kid(unverified: Read | None) -> str | None:
    """The key id that a JWT names, unverified."""
    if unverified is None:
        return None
    unverified_kid = unverified.token.unverified_header.get("kid")
    return unverified_kid if isinstance(unverified_kid, str) else None
