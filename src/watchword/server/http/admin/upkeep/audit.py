"""The operation that reads the audit log."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from ....audit.search import EVENT_NAMES, Page, Place, Wanted, moment
from ....registry.errors import Invalid
from .. import shapes
from ..cursors import Cursors
from ..pages import limit
from ..routes import Reply, Request, Route

_ABOUT: Final = {
    "limit": "How many events, 1 to 500; 200 by default.",
    "cursor": "`next` of the page before. A page may be short or empty, and still have a `next`.",
    "event": "Events of this type only, such as `ApplicationUpdated`.",
    "client_id": "Events that this application caused (`actor`), or that are about it.",
    "request_id": "Events of this request only.",
    "since": "Events from this time on: ISO 8601, UTC unless it says otherwise.",
    "until": "Events before this time: ISO 8601, UTC unless it says otherwise.",
}


class Searching(Protocol):
    """The audit log."""

    async def search(self, tenant_id: str, wanted: Wanted, after: Place | None, most: int) -> Page:
        """The next `most` wanted events, newest first; a page may be short and still have a next one."""


class AuditHandlers:
    """The handler; one object per worker."""

    def __init__(self, log: Searching, cursors: Cursors) -> None:
        self._log, self._cursors = log, cursors

    def routes(self) -> list[Route]:
        """The operation on `/api/v1/audit`."""
        return [
            Route(method="GET", path="/api/v1/audit", scope="audit:read", summary="Audit events, newest first", handler=self.audit, query=tuple(_ABOUT), about=_ABOUT),
        ]  # fmt: skip

    async def audit(self, request: Request) -> Reply:
        """The wanted events, newest first."""
        tenant_id, wanted = request.caller.tenant_id, _wanted(request)
        of = (
            "audit",
            *(request.query.get(name, "") for name in ("event", "client_id", "request_id", "since", "until")),
        )
        cursor = request.query.get("cursor")
        after = _place(*self._cursors.read(cursor, tenant_id, *of)) if cursor else None
        page = await self._log.search(tenant_id, wanted, after, limit(request.query, 200))
        items: list[object] = [msgspec.to_builtins(event) for event in page.events]
        following = self._cursors.write(_texts(page.following), tenant_id, *of) if page.following is not None else None
        return Reply(shapes.Page(items=items, next=following))


def _wanted(request: Request) -> Wanted:
    event = request.query.get("event", "")
    if event and event not in EVENT_NAMES:
        raise Invalid("there is no event of this name; the names are in docs/audit.md", field="event")
    return Wanted(
        event=event,
        client_id=request.query.get("client_id", ""),
        request_id=request.query.get("request_id", ""),
        since=_moment(request, "since"),
        until=_moment(request, "until"),
    )


def _moment(request: Request, name: str) -> float | None:
    text = request.query.get(name)
    try:
        return moment(text) if text else None
    except (ValueError, OverflowError):
        raise Invalid("use a date or time in ISO 8601, such as 2026-01-31T12:00:00Z", field=name) from None


def _texts(place: Place) -> tuple[str, str]:
    return repr(place.at), f"{place.chain}/{place.seq}/{place.index}"


def _place(at: str, rest: str) -> Place:
    chain, seq, index = rest.split("/")
    return Place(float(at), chain, int(seq), int(index))
