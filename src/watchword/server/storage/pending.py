"""Store the devices that wait for approval."""

from __future__ import annotations

import sqlalchemy as sa

from ..registry.fleet.pending import PendingEnrolment, State
from .schema import pending_enrolment as t
from .session import Session
from .table import Table


class Pending(Table[PendingEnrolment]):
    """The pending enrolments, inside a transaction or a snapshot. No worker caches them."""

    def __init__(self, session: Session) -> None:
        super().__init__(
            session, t, PendingEnrolment, lambda r: (r.tenant_id, r.pending_id, f"{r.requested_at:012}"),
            lambda r: {
                "group_id": r.group_id, "state": r.state, "mark": r.mark, "ticket": r.ticket or None,
                "expires_at": r.expires_at,
            },
            remembered=False,
        )  # fmt: skip

    async def by_mark(self, tenant_id: str, mark: str) -> PendingEnrolment | None:
        """The pending enrolment with this mark, by which a device's repeated requests are recognized."""
        return await self._one(sa.select(t.c.body).where(t.c.tenant_id == tenant_id, t.c.mark == mark))

    async def by_ticket(self, tenant_id: str, ticket: str) -> PendingEnrolment | None:
        """The pending enrolment with this digest of a ticket."""
        return await self._one(sa.select(t.c.body).where(t.c.tenant_id == tenant_id, t.c.ticket == ticket))

    async def of_state(
        self, tenant_id: str, state: State, group_id: str, now: int, after: tuple[str, str] | None, limit: int
    ) -> list[PendingEnrolment]:
        """The oldest first; of all groups when none is given. Leaves out expired ones, except denials."""
        query = sa.select(t.c.body).where(t.c.tenant_id == tenant_id, t.c.state == state)
        if state != "denied":
            query = query.where(t.c.expires_at > now)
        if group_id:
            query = query.where(t.c.group_id == group_id)
        if after is not None:
            query = query.where(sa.tuple_(t.c.sort, t.c.id) > sa.tuple_(sa.literal(after[0]), sa.literal(after[1])))
        return [self._decode(row[0]) for row in await self._session.run(query.order_by(t.c.sort, t.c.id).limit(limit))]

    async def count_waiting(self, tenant_id: str, group_id: str, now: int) -> int:
        """The number of unexpired waiting devices of a group; exact while the group is locked."""
        where = (t.c.tenant_id == tenant_id, t.c.group_id == group_id, t.c.state == "waiting", t.c.expires_at > now)
        return int((await self._session.run(sa.select(sa.func.count()).select_from(t).where(*where)))[0][0])

    async def drop(self, tenant_id: str, group_id: str, pending_id: str = "") -> int:
        """Delete one, or all of a group; returns their number."""
        statement = sa.delete(t).where(t.c.tenant_id == tenant_id, t.c.group_id == group_id)
        return await self._session.count(statement.where(t.c.id == pending_id) if pending_id else statement)
