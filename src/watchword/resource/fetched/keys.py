"""Fetch the issuer's public keys: discovered through its metadata, cached, refreshed, kept during an outage."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Generator
from email.utils import parsedate_to_datetime
from typing import Final

from watchword.jose import JoseError, KeySet
from watchword.resource.errors import KeysUnavailable
from watchword.resource.fetched.discovery import endpoint_of, metadata_url
from watchword.resource.fetched.fetch import Document, Fetch, FetchFailed, afetch, fetch
from watchword.resource.fetched.locks import Locks
from watchword.resource.fetched.url import checked_url

_log = logging.getLogger("watchword.resource")

DEFAULT_AGE: Final = 300.0
SHORTEST_AGE: Final = 10.0
LONGEST_AGE: Final = 3600.0
"""Seconds a set is taken as fresh: without max-age, and whatever max-age says."""
AFTER_FAILURE: Final = 5.0
"""Seconds after a failed fetch before the next one."""

_GONE: Final = (404, 410)
_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=\"?(\d{1,9})", re.ASCII | re.IGNORECASE)

Steps = Generator[str, Document, tuple[str, Document]]


class KeySource:
    """The current key set of one issuer.

    Args:
        jwks_uri: where the keys are; None asks the issuer's metadata (RFC 8414).
        metadata_keys: the metadata must be signed by one of these keys; None accepts unsigned metadata.
        now: Unix seconds.
        fetch: time limits and network.
        changed: called after a new set has replaced the old one.

    One fetch at a time across threads, and across the tasks of a loop; during a fetch the other callers use the old
    set. No hostile answer ever replaces a set; but an issuer that says twice that its keys are gone (404, 410) has
    none, as after its tenant was deleted.
    """

    def __init__(
        self,
        issuer: str,
        jwks_uri: str | None,
        *,
        now: Callable[[], float],
        fetch: Fetch,
        changed: Callable[[], None] = lambda: None,
        metadata_keys: KeySet | None = None,
    ) -> None:
        self._issuer = checked_url(issuer, fetch.insecure_http)
        self._given_uri = None if jwks_uri is None else checked_url(jwks_uri, fetch.insecure_http)
        self._known_uri = self._given_uri
        self._now, self._fetch, self._metadata_keys, self._changed = now, fetch, metadata_keys, changed
        self._keys: KeySet | None = None
        self._raw = b""
        self._fetched_at = self._fresh_until = self._not_before = self._unknown_after = float("-inf")
        self._why = "never fetched"
        self._said_gone = False
        self.clock_ahead: float | None = None
        """Seconds by which this machine's clock is ahead of the issuer's ``Date``; None when it sent none."""
        self._locks = Locks()

    def current(self) -> KeySet:
        """The set to verify with. Raises `KeysUnavailable`."""
        if self._due() and (lock := self._locks.thread()).acquire(blocking=self._usable() is None):
            try:
                if self._due():
                    self._refresh()
            finally:
                lock.release()
        return self._usable_or_raise()

    async def acurrent(self) -> KeySet:
        """`current`, for an event loop."""
        if self._due():
            lock = self._locks.loop()
            if self._usable() is None or not lock.locked():
                async with lock:
                    if self._due():
                        await self._arefresh()
        return self._usable_or_raise()

    def after_unknown(self, seen: KeySet) -> KeySet | None:
        """A set other than ``seen``, in which a key id was missing; None if there is no other."""
        if self._keys is seen and self._now() >= self._unknown_after:
            with self._locks.thread():
                if self._keys is seen and self._now() >= self._unknown_after:
                    self._refresh()
                    self._unknown_after = self._now() + self._fetch.cool_down
        return None if self._keys is seen else self._usable()

    async def aafter_unknown(self, seen: KeySet) -> KeySet | None:
        """`after_unknown`, for an event loop."""
        if self._keys is seen and self._now() >= self._unknown_after:
            async with self._locks.loop():
                if self._keys is seen and self._now() >= self._unknown_after:
                    await self._arefresh()
                    self._unknown_after = self._now() + self._fetch.cool_down
        return None if self._keys is seen else self._usable()

    def is_current(self, keys: KeySet) -> bool:
        """Whether ``keys`` is still the set in use."""
        return self._keys is keys

    def trusted_until(self, now: float) -> float:
        """Until when (Unix seconds) a token that the current set verified may be cached.

        Without this limit a token that is sent often would still be accepted after its key was withdrawn.
        """
        soon = self._fresh_until if now < self._fresh_until else now + AFTER_FAILURE
        return min(soon, self._fetched_at + self._fetch.outage)

    # -- fetching -------------------------------------------------------------------------------

    def _refresh(self) -> None:
        steps = self._steps()
        try:
            url = next(steps)
            while True:
                url = steps.send(fetch(url, self._fetch.timeout, self._fetch.transport))
        except StopIteration as done:
            self._keep(*done.value)
        except FetchFailed as error:
            self._fail(str(error), gone=error.status in _GONE)

    async def _arefresh(self) -> None:
        steps = self._steps()
        try:
            url = next(steps)
            while True:
                url = steps.send(await afetch(url, self._fetch.timeout, self._fetch.transport))
        except StopIteration as done:
            self._keep(*done.value)
        except FetchFailed as error:
            self._fail(str(error), gone=error.status in _GONE)

    def _steps(self) -> Steps:
        """What to fetch, without I/O: yields a URL, is sent its document."""
        uri = self._known_uri
        if uri is None:
            document = yield metadata_url(self._issuer)
            uri = endpoint_of(document, self._issuer, "jwks_uri", self._fetch.insecure_http, self._metadata_keys)
        return uri, (yield uri)

    def _keep(self, uri: str, document: Document) -> None:
        if document.body != self._raw or self._keys is None:
            try:
                keys = KeySet.parse(document.body)
            except JoseError as error:
                return self._fail(f"the key set is refused: {error}")
            if not len(keys):
                return self._fail("the key set has no key that can be used")
            self._keys, self._raw = keys, document.body
            self._changed()
        now = self._now()
        self._known_uri, self._fetched_at, self._not_before, self._said_gone = uri, now, now, False
        self._fresh_until = now + _age(document)
        self.clock_ahead = _clock_ahead(document, now)
        return None

    def _fail(self, why: str, *, gone: bool = False) -> None:
        """The first "gone" may mean that the keys have moved: the next fetch discovers them again."""
        self._why = why
        if gone and self._said_gone and self._keys is not None:
            self._keys, self._raw = None, b""
            self._changed()
        self._said_gone = gone
        self._known_uri = self._given_uri
        self._not_before = self._now() + AFTER_FAILURE
        _log.warning("the issuer's keys could not be fetched: %s", why)

    # -- state ----------------------------------------------------------------------------------

    def _due(self) -> bool:
        now = self._now()
        return now >= self._not_before and (self._keys is None or now >= self._fresh_until)

    def _usable(self) -> KeySet | None:
        return self._keys if self._now() < self._fetched_at + self._fetch.outage else None

    def _usable_or_raise(self) -> KeySet:
        keys = self._usable()
        if keys is None:
            raise KeysUnavailable(f"no keys of the issuer: {self._why}")
        return keys


def _age(document: Document) -> float:
    """Seconds, by max-age (RFC 9111 section 5.2.2.1) in bounds; no-store and no-cache: the shortest."""
    directives = document.headers.get("cache-control", "")
    if "no-store" in directives.lower() or "no-cache" in directives.lower():
        return SHORTEST_AGE
    found = _MAX_AGE.search(directives)
    return min(LONGEST_AGE, max(SHORTEST_AGE, float(found[1]))) if found else DEFAULT_AGE


def _clock_ahead(document: Document, now: float) -> float | None:
    try:
        return now - parsedate_to_datetime(document.headers.get("date", "")).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
