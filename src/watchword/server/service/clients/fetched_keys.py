"""Fetch and cache keys from a URL (`jwks_uri`) of an application or trusted issuer.

Fetched keys are cached for `CACHED` seconds, and until `STALE` when the URL does not answer. A missing key causes
another fetch, at most once in `COOL_DOWN` seconds, so that callers cannot cause endless fetches, and a failed fetch
removes no valid keys (CVE-2026-48524).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import structlog

from ....jose import JoseError, Read

T = TypeVar("T")
CACHED = 300.0
STALE = 3_600.0
COOL_DOWN = 30.0
MAX_PLACES = 10_000
Fetch = Callable[[str], Awaitable[bytes]]
_log = structlog.get_logger("watchword.fetched_keys")


class FetchFailed(Exception):
    """The URL gave no valid answer. The same text for every reason; `detail` is for the operator's log."""

    def __init__(self, detail: str) -> None:
        super().__init__("the address cannot be used")
        self.detail = detail


class _Remote(Generic[T]):
    """The cached keys of one URL."""

    __slots__ = ("asked_at", "fetched_at", "found", "turn")

    def __init__(self, nothing: T) -> None:
        self.turn, self.found = asyncio.Lock(), nothing
        self.fetched_at = self.asked_at = float("-inf")


class FetchedKeys(Generic[T]):
    """One object per worker and kind of keys; `nothing` is the value when no keys can be fetched."""

    def __init__(self, nothing: T, clock: Callable[[], float]) -> None:
        self._nothing, self._clock = nothing, clock
        self._remotes: OrderedDict[tuple[str, ...], _Remote[T]] = OrderedDict()

    async def get(self, place: tuple[str, ...], ask: Callable[[], Awaitable[T]], lacks: Callable[[T], bool]) -> T:
        """The keys of `place`, the cache key; `ask` fetches them, and raises `FetchFailed` or a `JoseError`.

        `lacks` tells whether the cached keys lack the needed one.
        """
        remote = self._remotes.setdefault(place, _Remote(self._nothing))
        if len(self._remotes) > MAX_PLACES:
            self._remotes.popitem(last=False)
        if self._due(remote, lacks):
            async with remote.turn:  # requests that waited here find the keys that the first one fetched
                if self._due(remote, lacks):
                    await self._ask(place, ask, remote)
        return remote.found if self._age(remote.fetched_at) <= STALE else self._nothing

    def _due(self, remote: _Remote[T], lacks: Callable[[T], bool]) -> bool:
        if self._age(remote.asked_at) < COOL_DOWN:
            return False
        return self._age(remote.fetched_at) > CACHED or lacks(remote.found)

    def _age(self, at: float) -> float:
        """The age by wall time; infinite after the clock was set back."""
        age = self._clock() - at
        return age if age >= 0 else float("inf")

    async def _ask(self, place: tuple[str, ...], ask: Callable[[], Awaitable[T]], remote: _Remote[T]) -> None:
        try:
            remote.found = await ask()
            remote.fetched_at = self._clock()
        except (FetchFailed, JoseError) as error:
            _log.warning("keys cannot be fetched", place=place, why=error.detail)
        remote.asked_at = self._clock()  # not before: concurrent requests wait for this answer


def wanted_kid(unverified: Read | None) -> str | None:
    """The key id that a JWT names, unverified."""
    if unverified is None:
        return None
    unverified_kid = unverified.token.unverified_header.get("kid")
    return unverified_kid if isinstance(unverified_kid, str) else None
