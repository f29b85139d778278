"""Store enrolment codes; one atomic statement counts a use, so concurrent devices never use a code too often."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from msgspec.structs import asdict

from ..registry.fleet.enrolment import EnrolmentCode
from .schema import enrolment_code as t
from .session import Session


class Codes:
    """The enrolment codes, inside a transaction or a snapshot."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def get(self, tenant_id: str, digest: str) -> EnrolmentCode | None:
        """The code with this HMAC; None when there is none or it was withdrawn."""
        rows = await self._session.run(sa.select(t).where(t.c.tenant_id == tenant_id, t.c.digest == digest))
        return EnrolmentCode(**rows[0]._mapping) if rows else None

    async def add(self, codes: Sequence[EnrolmentCode]) -> None:
        """Insert."""
        await self._session.connection.execute(sa.insert(t), [asdict(code) for code in codes])

    async def use(self, tenant_id: str, digest: str, now: int) -> bool:
        """Count one use; False when no use is left or the code has expired. One atomic statement."""
        living = (t.c.tenant_id == tenant_id, t.c.digest == digest, t.c.uses_left > 0, t.c.expires_at > now)
        return bool(await self._session.count(sa.update(t).where(*living).values(uses_left=t.c.uses_left - 1)))

    async def withdraw(self, tenant_id: str, group_id: str) -> int:
        """Delete all codes of a group; returns their number."""
        return await self._session.count(sa.delete(t).where(t.c.tenant_id == tenant_id, t.c.group_id == group_id))

    async def count_open(self, tenant_id: str, group_id: str, now: int) -> int:
        """The number of unexpired codes of a group with uses left."""
        of_group = (t.c.tenant_id == tenant_id, t.c.group_id == group_id)
        query = sa.select(sa.func.count()).select_from(t).where(*of_group, t.c.uses_left > 0, t.c.expires_at > now)
        return int((await self._session.run(query))[0][0])
