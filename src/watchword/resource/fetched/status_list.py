"""Token status lists (draft-ietf-oauth-status-list-21): look up whether a JWT was revoked in a list the issuer signed.

One list covers a million tokens, is fetched every few minutes and is used during short outages. It does not tell that
an application was disabled or that all its tokens were revoked: the feed of revocations and introspection do.
"""

from __future__ import annotations

import logging
import zlib
from collections import OrderedDict
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from watchword.jose import Algorithm, ClaimRefused, JoseError, KeySet, UnknownKey, verify_signature
from watchword.jose.compact import numeric_date
from watchword.jose.encoding import unb64url
from watchword.resource.errors import StatusUnknown, TokenInvalid
from watchword.resource.fetched.fetch import BIGGEST_DOCUMENT, Document, Fetch, FetchFailed, afetch, fetch
from watchword.resource.fetched.locks import Locks
from watchword.resource.fetched.url import checked_url

if TYPE_CHECKING:
    from watchword.resource.claims import Claims
    from watchword.resource.fetched.keys import KeySource

MEDIA_TYPE: Final = "application/statuslist+jwt"
BIGGEST_LIST: Final = 4 * 1024 * 1024
"""Bytes of statuses, decompressed. A few kilobytes can decompress to gigabytes."""
MOST_LISTS: Final = 200
"""Lists that are kept; the one that was fetched longest ago is removed first."""
DEFAULT_TTL: Final = 300.0
LONGEST_TTL: Final = 3_600.0
SHORTEST_TTL: Final = 1.0
AFTER_FAILURE: Final = 5.0
"""Seconds after a failed fetch before the next one of that list."""
CLOCKS_APART: Final = 30.0
_TYPES: Final = frozenset({"statuslist+jwt"})
_log = logging.getLogger("watchword.resource")


@dataclass(frozen=True, slots=True)
class StatusLists:
    """Look up each JWT in its status list: ``Verifier(Issuer(url, status_lists=StatusLists()), ...)``.

    Args:
        required: refuse tokens that name no list: their revocation could not be seen.
        max_stale: seconds beyond its ``ttl`` for which a list is used when no newer one can be fetched; never beyond
            its ``exp``. A revoked token is accepted for ``ttl`` plus this at most.

    A list is fetched from the issuer's own host only, and must be signed by a key of the issuer.
    """

    required: bool = True
    max_stale: float = 60.0


@dataclass(frozen=True, slots=True)
class StatusList:
    """A list as it was read. ``statuses`` are packed, ``bits`` for each token, the first in the lowest bits."""

    bits: int
    statuses: bytes
    ttl: float
    expires_at: float

    def status(self, idx: int) -> int | None:
        """The token's status; None when the list is not as long."""
        at = idx * self.bits
        if at >> 3 >= len(self.statuses):
            return None
        return self.statuses[at >> 3] >> (at & 7) & ((1 << self.bits) - 1)


@dataclass(frozen=True, slots=True)
class _Held:
    found: StatusList
    fresh_until: float
    usable_until: float


@dataclass(frozen=True, slots=True)
class _Keys:
    """A step that asks for the issuer's keys; ``than`` is a set in which a key was missing."""

    than: KeySet | None = None


_Steps = Generator[str | _Keys, Document | KeySet | None, StatusList]


class StatusSource:
    """The lists of one issuer. Raises `TokenInvalid` and `StatusUnknown`.

    One fetch at a time. During a fetch, other callers use the last list if it is usable.
    """

    def __init__(
        self,
        settings: StatusLists,
        issuer: str,
        keys: KeySource,
        algorithms: Collection[Algorithm],
        *,
        now: Callable[[], float],
        fetch: Fetch,
    ) -> None:
        self._settings, self._issuer, self._keys, self._algorithms = settings, issuer, keys, frozenset(algorithms)
        self._now, self._network = now, fetch
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._failed: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._locks = Locks()

    def check(self, claims: Claims) -> None:
        """Raises `TokenInvalid` if the token's list says that the token was revoked."""
        place = self._reference(claims)
        if place is None:
            return
        uri, idx = place
        if self._due(uri) and (lock := self._locks.thread()).acquire(blocking=self._usable(uri) is None):
            try:
                if self._due(uri):
                    self._fetch(uri)
            finally:
                lock.release()
        self._judge(uri, idx, claims)

    async def acheck(self, claims: Claims) -> None:
        """`check`, for an event loop."""
        place = self._reference(claims)
        if place is None:
            return
        uri, idx = place
        if self._due(uri):
            lock = self._locks.loop()
            if self._usable(uri) is None or not lock.locked():
                async with lock:
                    if self._due(uri):
                        await self._afetch(uri)
        self._judge(uri, idx, claims)

    def _reference(self, claims: Claims) -> tuple[str, int] | None:
        """URL and index of the token's status (section 6.2). None: the token has none, and none is required."""
        status = claims.raw.get("status")
        place = status.get("status_list") if isinstance(status, dict) else None
        if place is None:
            if self._settings.required:
                raise TokenInvalid("the token refers to no status list, and one is insisted on (status_list)")
            return None
        uri, idx = (place.get("uri"), place.get("idx")) if isinstance(place, dict) else (None, None)
        if not isinstance(uri, str) or type(idx) is not int or idx < 0:
            raise TokenInvalid("the token's reference to a status list has no uri or no idx")
        if uri in self._held:  # its address was looked at before it was fetched
            return uri, idx
        try:
            checked_url(uri, self._network.insecure_http)
        except ValueError as error:
            raise TokenInvalid(f"the address of the token's status list: {error}") from None
        if _origin(uri) != _origin(self._issuer):
            raise TokenInvalid("the token's status list is not on its issuer's own host")
        return uri, idx

    def _judge(self, uri: str, idx: int, claims: Claims) -> None:
        held = self._usable(uri)
        if held is None:
            why = self._failed.get(uri, (0.0, "it was never fetched"))[1]
            raise StatusUnknown(f"the status list {uri} is not known freshly enough: {why}")
        status = held.found.status(idx)
        if status is None:
            raise TokenInvalid(f"the status list {uri} has no place {idx}")
        if status != 0:
            kind = {1: "was revoked", 2: "is suspended"}.get(status, f"has the status {status}")
            raise TokenInvalid(f"the token {claims.raw.get('jti')!r} of {claims.client_id} {kind} (status list)")

    # -- fetching -------------------------------------------------------------------------------

    def _fetch(self, uri: str) -> None:
        asked_at, steps = self._now(), self._steps(uri)
        try:
            step = next(steps)
            while True:
                if isinstance(step, _Keys):
                    keys = self._keys.current() if step.than is None else self._keys.after_unknown(step.than)
                    step = steps.send(keys)
                else:
                    step = steps.send(fetch(step, self._network.timeout, self._network.transport, MEDIA_TYPE))
        except StopIteration as done:
            self._keep(uri, done.value, asked_at)
        except FetchFailed as error:
            self._fail(uri, str(error))

    async def _afetch(self, uri: str) -> None:
        asked_at, steps = self._now(), self._steps(uri)
        try:
            step = next(steps)
            while True:
                if isinstance(step, _Keys):
                    source = self._keys
                    keys = await (source.acurrent() if step.than is None else source.aafter_unknown(step.than))
                    step = steps.send(keys)
                else:
                    step = steps.send(await afetch(step, self._network.timeout, self._network.transport, MEDIA_TYPE))
        except StopIteration as done:
            self._keep(uri, done.value, asked_at)
        except FetchFailed as error:
            self._fail(uri, str(error))

    def _steps(self, uri: str) -> _Steps:
        """Without I/O: fetch the list and verify it with the cached keys, or with newer ones if its key is missing."""
        document = yield uri
        assert isinstance(document, Document)
        keys = yield _Keys()
        assert isinstance(keys, KeySet)
        try:
            try:
                return self._read(document, uri, keys)
            except UnknownKey:
                newer = yield _Keys(keys)
                if not isinstance(newer, KeySet):
                    raise
                return self._read(document, uri, newer)
        except JoseError as error:
            raise FetchFailed(f"the list is refused: {error.rule}") from None

    def _read(self, document: Document, uri: str, keys: KeySet) -> StatusList:
        return read_status_list(
            document.body, keys, issuer=self._issuer, uri=uri, algorithms=self._algorithms, now=self._now()
        )

    # -- state ----------------------------------------------------------------------------------

    def _keep(self, uri: str, found: StatusList, asked_at: float) -> None:
        """Store the list. Its age counts from the request: later revocations are not in it."""
        fresh_until = min(asked_at + found.ttl, found.expires_at)
        usable_until = min(fresh_until + self._settings.max_stale, found.expires_at)
        self._held[uri] = _Held(found, fresh_until, usable_until)
        self._held.move_to_end(uri)
        self._failed.pop(uri, None)
        if len(self._held) > MOST_LISTS:
            self._held.popitem(last=False)

    def _fail(self, uri: str, why: str) -> None:
        self._failed[uri] = self._now() + AFTER_FAILURE, why
        if len(self._failed) > MOST_LISTS:
            self._failed.popitem(last=False)
        _log.warning("the status list %s could not be read: %s", uri, why)

    def _due(self, uri: str) -> bool:
        now, held = self._now(), self._held.get(uri)
        if held is not None and now < held.fresh_until:
            return False
        failed = self._failed.get(uri)
        return failed is None or now >= failed[0]

    def _usable(self, uri: str) -> _Held | None:
        held = self._held.get(uri)
        return held if held is not None and self._now() < held.usable_until else None


def read_status_list(
    unverified_list: bytes,
    keys: KeySet,
    *,
    issuer: str,
    uri: str,
    algorithms: Collection[Algorithm],
    now: float,
) -> StatusList:
    """A status list token (sections 5.1 and 8.3) of this address, signed by the issuer. Raises a `JoseError`."""
    text = unverified_list.decode("ascii", "replace")
    claims = verify_signature(text, keys, algorithms=algorithms, typ=_TYPES, max_size=BIGGEST_DOCUMENT).claims
    if claims.get("sub") != uri:
        raise ClaimRefused("sub", "sub is not the address of the list that was asked for")
    if claims.get("iss", issuer) != issuer:
        raise ClaimRefused("iss", "the list is another issuer's")
    issued = numeric_date(claims, "iat", required=True)
    if issued is None or issued > now + CLOCKS_APART:
        raise ClaimRefused("iat", "the list is of the future by this machine's clock")
    expires = numeric_date(claims, "exp", required=False)
    if expires is not None and now >= expires:
        raise ClaimRefused("exp", f"the list expired {now - expires:.0f} s ago by this machine's clock")
    ttl = numeric_date(claims, "ttl", required=False)
    if ttl is not None and ttl <= 0:
        raise ClaimRefused("ttl", "ttl is not a positive number (section 5.1)")
    bits, statuses = _statuses(claims.get("status_list"))
    fresh = DEFAULT_TTL if ttl is None else min(LONGEST_TTL, max(SHORTEST_TTL, ttl))
    return StatusList(bits, statuses, fresh, float("inf") if expires is None else expires)


def _statuses(listed: Any) -> tuple[int, bytes]:
    """Section 4.2: ``bits`` and ``lst``, decompressed within bounds."""
    bits, lst = (listed.get("bits"), listed.get("lst")) if isinstance(listed, dict) else (None, None)
    if type(bits) is not int or bits not in (1, 2, 4, 8) or not isinstance(lst, str) or not lst.isascii():
        raise ClaimRefused("status_list", "status_list has no bits of 1, 2, 4 or 8, or no lst")
    inflate = zlib.decompressobj()
    try:
        statuses = inflate.decompress(unb64url(lst.encode()), BIGGEST_LIST)
    except zlib.error:
        raise ClaimRefused("status_list", "lst is not a ZLIB stream") from None
    if not inflate.eof or inflate.unconsumed_tail or inflate.unused_data:
        raise ClaimRefused("status_list", f"lst is cut off, longer than {BIGGEST_LIST} bytes, or has more behind it")
    return bits, statuses


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc.lower()
