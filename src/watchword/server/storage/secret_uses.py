"""When client secrets were last used, inside a transaction or a snapshot."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from . import schema
from .each import for_each
from .session import Session


class SecretUses(Session):
    """Reads the times that the workers write (`service/clients/secret_use.py`)."""

    async def last_uses(self, tenant_id: str, secret_ids: Sequence[str]) -> dict[str, int]:
        """By secret id, in seconds since the epoch; secrets that were never used are absent."""
        if not secret_ids:
            return {}
        t = schema.secret_use
        query = sa.select(t.c.secret_id, t.c.last_used_at).where(t.c.tenant_id == tenant_id)
        found = await self.connection.execute(for_each(self.dialect, secret_ids, t.c.secret_id, query))
        return {row[0]: row[1] for row in found.fetchall()}
