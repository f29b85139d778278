"""The operation that reads the audit log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from ....audit.chain import Row, events_of
from .. import shapes
from ..pages import limit
from ..routes import Reply, Request, Route

Recent = Callable[[str, int], Awaitable[list[Row]]]
"""(tenant id, at most so many) -> the newest rows of the audit log."""


class AuditHandlers:
    """The handler; one object per worker."""

    def __init__(self, recent: Recent) -> None:
        self._recent = recent

    def routes(self) -> list[Route]:
        """The operation on `/api/v1/audit`."""
        return [
            Route(method="GET", path="/api/v1/audit", scope="audit:read", summary="The newest audit events", handler=self.audit, query=("limit",)),
        ]  # fmt: skip

    async def audit(self, request: Request) -> Reply:
        """The newest events, newest first."""
        rows = await self._recent(request.caller.tenant_id, limit(request.query, 200))
        events = [event for row in rows for event in reversed(events_of(row))]
        return Reply(shapes.Page(items=[msgspec.to_builtins(event) for event in events[: limit(request.query, 200)]]))
