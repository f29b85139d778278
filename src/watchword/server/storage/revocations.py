"""Revoke tokens, announce revocations to the APIs, and withdraw a secret that has never been used."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..protocol.status_list import Reference
from ..registry.revocation import Revocation
from . import schema
from .session import Session


class Revocations(Session):
    """Revocations of one transaction; `write_revocations` inserts the announced ones at its end."""

    def __init__(self, connection: AsyncConnection, *, writes: bool = True) -> None:
        super().__init__(connection, writes=writes)
        self.revocations: list[tuple[str, Revocation]] = []

    async def revoke_token(
        self, tenant_id: str, token_id: str, expires_at: int, status: Reference | None = None, kept_until: int = 0
    ) -> bool:
        """One atomic statement decides between concurrent requests. Also sets the bit in the token's status list."""
        values = {
            "tenant_id": tenant_id,
            "token_id": token_id,
            "expires_at": expires_at,
        }
        if not await self.count(self.insert(schema.revoked).values(**values).on_conflict_do_nothing()):
            return False
        if status is not None:
            place = {"tenant_id": tenant_id, "list_name": status.list_name, "idx": status.idx}
            await self.run(sa.insert(schema.status_entry).values(**place, expires_at=kept_until))
        self.feed[tenant_id, "revoked", f"{token_id} {expires_at}"] = None
        return True

    async def use_up(self, tenant_id: str, secret_id: str, now: int) -> bool:
        """Insert the row that records a first use; a concurrent first use waits for this commit and then fails."""
        values = {"tenant_id": tenant_id, "secret_id": secret_id, "last_used_at": now}
        return bool(await self.count(self.insert(schema.secret_use).values(**values).on_conflict_do_nothing()))

    def announce(self, tenant_id: str, revocation: Revocation) -> None:
        """Collected, and inserted at the end of the transaction, where `seq` is in commit order."""
        self.revocations.append((tenant_id, revocation))
        self.feed[tenant_id, "revocation", revocation.audience] = None

    async def write_revocations(self) -> None:
        """Insert what was announced; each replaces an earlier revocation of the same thing."""
        if not self.revocations:
            return
        t = schema.revocation
        names = ("tenant_id", "kind", "ref", "audience")
        same = [t.c[name] == sa.bindparam(f"of_{name}") for name in names]
        said = [{"tenant_id": tenant_id, **msgspec.structs.asdict(each)} for tenant_id, each in self.revocations]
        said = list({tuple(row[name] for name in names): row for row in said}.values())
        await self.connection.execute(
            sa.delete(t).where(*same), [{f"of_{name}": row[name] for name in names} for row in said]
        )
        await self.connection.execute(sa.insert(t), said)
