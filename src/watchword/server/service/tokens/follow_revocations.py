"""Follow revocations: an API learns what it must refuse without asking about each token."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from ...protocol.errors import InvalidRequest, InvalidTarget, Unavailable
from ...registry.revocation import EVERY_API, Revocation
from ..ports import Change, StorageUnavailable
from ..view import View
from .introspect_token import may_introspect
from .ports import RevocationReader

PAGE: Final = 1_000
LONGEST_WAIT: Final = 5.0
"""Seconds for which a request without news is held open; a server that stops waits for them."""
MOST_WAITING: Final = 1_000
"""Requests of one worker that are held open; the next are answered at once, and come again by themselves."""
_CURSOR_DIGITS: Final = 18


class Page(Struct, frozen=True):
    """Revocations behind a cursor, oldest first, and the next cursor; `more`: ask again at once."""

    revocations: list[dict[str, Any]]
    cursor: str
    more: bool


class FollowRevocations:
    """Reads the database, never a memory that could be behind it; one look-up a page."""

    def __init__(self, view: View, reader: RevocationReader, clock: Callable[[], float]) -> None:
        self._view, self._reader, self._clock = view, reader, clock
        self._waiting: dict[asyncio.Future[None], tuple[str, str]] = {}
        view.listeners.append(self._wake)

    async def __call__(self, slug: str, caller_id: str, audience: str, cursor: str, wait: float) -> Page:
        """What concerns `audience` and came after `cursor` ("": from the start), held for `wait` seconds at most.

        Raises:
            InvalidRequest: not a cursor of ours. InvalidTarget: no such API, or the caller may not introspect
                its tokens; one and the same for both. Unavailable: the database is away.
        """
        after = _read_cursor(cursor)
        try:
            return await self._next(slug, caller_id, audience, after, min(wait, LONGEST_WAIT))
        except StorageUnavailable as error:
            raise Unavailable("the database is away; try again", detail=str(error)) from None

    async def _next(self, slug: str, caller_id: str, audience: str, after: int, wait: float) -> Page:
        loop = asyncio.get_running_loop()
        ends = loop.time() + wait
        while True:
            # Who may know is asked again after every wait: a right that was taken away ends the feed.
            tenant_id = await self._tenant_id(slug, caller_id, audience)
            news = loop.create_future()
            self._waiting[news] = tenant_id, audience
            try:
                page = await self._read(tenant_id, audience, after)
                left = ends - loop.time()
                if page.revocations or left <= 0 or len(self._waiting) > MOST_WAITING:
                    return page
                await asyncio.wait({news}, timeout=left)
            finally:
                del self._waiting[news]

    async def _tenant_id(self, slug: str, caller_id: str, audience: str) -> str:
        await self._view.must_be_fresh()
        tenant = await self._view.tenant(slug)
        if tenant is None or not may_introspect(tenant, caller_id, audience):
            raise InvalidTarget("this application may not introspect tokens of that API; its introspectors may")
        return tenant.tenant.tenant_id

    async def _read(self, tenant_id: str, audience: str, after: int) -> Page:
        now = self._clock()
        rows = await self._reader.revocations(tenant_id, audience, after, int(now), PAGE)
        if not rows and after > await self._reader.newest_revocation():
            # A cursor from another life of this database, as after a restore: what it has seen says nothing.
            after = 0
            rows = await self._reader.revocations(tenant_id, audience, after, int(now), PAGE)
        newest = rows[-1][0] if rows else after
        return Page([_told(row, audience) for _, row in rows], str(newest), len(rows) == PAGE)

    def _wake(self, change: Change) -> None:
        if change.kind != "revocation":
            return
        for news, (tenant_id, audience) in self._waiting.items():
            if tenant_id == change.tenant_id and change.ref in (EVERY_API, audience) and not news.done():
                news.set_result(None)


def _told(revocation: Revocation, audience: str) -> dict[str, Any]:
    if revocation.kind == "token":
        return {"jti": revocation.ref, "exp": revocation.expires_at}
    return {
        "application": application_mark(revocation.ref, audience),
        "enabled": revocation.enabled,
        "not_before_ms": revocation.not_before_ms,
        "exp": revocation.expires_at,
    }


def application_mark(client_id: str, audience: str) -> str:
    """Who knows the client id, from a token, recognises it; two APIs cannot compare what they were told."""
    digest = hashlib.sha256(f"{audience}\n{client_id}".encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _read_cursor(unverified_cursor: str) -> int:
    if not unverified_cursor:
        return 0
    if not (unverified_cursor.isascii() and unverified_cursor.isdigit() and len(unverified_cursor) <= _CURSOR_DIGITS):
        raise InvalidRequest("cursor is not one that this endpoint gave; leave it out to begin again")
    return int(unverified_cursor)
