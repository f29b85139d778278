"""One transaction over the registry: its records, its audit events and its change feed entries, all or nothing.

On PostgreSQL an advisory lock taken before the feed is written keeps `change.seq` in commit order; SQLite has one
writer anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..audit.chain import Row
from ..audit.events import Event
from ..keys.model import SigningKey
from ..registry.fleet.device_authority import DeviceAuthority
from ..registry.fleet.enrolment import EnrolmentGroup
from ..registry.model import Api, InitialToken, Role, Tenant
from ..registry.trusted_issuer import TrustedIssuer
from ..service.ports import CarriedOut, Change, RequestMark
from . import schema
from .claims import Claims, Places
from .codes import Codes
from .expected import Expected
from .fleet import Applications, Fleet
from .pending import Pending
from .revocations import Revocations
from .secret_uses import SecretUses
from .table import Table

_FEED_LOCK = 0x7761746368
_IDS_AN_ENTRY = 500


class RegistryTransaction(Claims, Places, SecretUses, Revocations):
    """One change of the registry; also used for snapshots, which only read."""

    def __init__(self, connection: AsyncConnection, *, writes: bool = True) -> None:
        super().__init__(connection, writes=writes)
        self.events: dict[str, list[Event]] = {}
        self.tenants = Table(self, schema.tenant, Tenant, lambda r: ("", r.tenant_id, r.slug))
        self.applications = Applications(self)
        self.fleet = Fleet(self)
        self.codes = Codes(self)
        self.expected = Expected(self)
        self.pending = Pending(self)
        self.apis = Table(self, schema.api, Api, lambda r: (r.tenant_id, r.api_id, r.identifier))
        self.roles = Table(self, schema.role, Role, lambda r: (r.tenant_id, r.role_id, r.name))
        self.initial_tokens = Table(
            self, schema.initial_token, InitialToken, lambda r: (r.tenant_id, r.token_id, r.name), remembered=False
        )
        self.keys = Table(
            self, schema.signing_key, SigningKey,
            lambda r: (r.tenant_id, r.kid, r.kid), lambda r: {"algorithm": r.algorithm, "state": r.state},
        )  # fmt: skip

        self.enrolment_groups = Table(
            self, schema.enrolment_group, EnrolmentGroup, lambda r: (r.tenant_id, r.group_id, r.name)
        )
        self.device_authorities = Table(
            self, schema.device_authority, DeviceAuthority, lambda r: (r.tenant_id, r.authority_id, r.authority_id)
        )
        self.issuers = Table(
            self, schema.trusted_issuer, TrustedIssuer, lambda r: (r.tenant_id, r.issuer_id, r.issuer)
        )  # fmt: skip

    def record(self, tenant_id: str, event: Event) -> None:
        """Add an audit event to this change."""
        self.events.setdefault(tenant_id, []).append(event)

    async def mark(self, mark: RequestMark, at: int) -> None:
        """Write the mark of this request. Of concurrent requests the later ones wait for the first to end.

        Raises `CarriedOut` when the key was used before.
        """
        statement = self.insert(schema.idempotency_key).values(at=at, **msgspec.structs.asdict(mark))
        if not await self.count(statement.on_conflict_do_nothing()):
            raise CarriedOut

    async def finish(self, rows: Sequence[Row]) -> list[Change]:
        """Write the audit rows, the revocations and the change feed, as the last statements before the commit."""
        if rows:
            await self.connection.execute(sa.insert(schema.audit), [msgspec.structs.asdict(row) for row in rows])
        if not self.feed:
            return []
        if self.dialect == "postgresql":
            await self.connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_FEED_LOCK)))
        await self.write_revocations()
        changes = []
        for tenant_id, kind, ref in _together(self.feed):
            statement = sa.insert(schema.change).values(tenant_id=tenant_id, kind=kind, ref=ref)
            result = await self.connection.execute(statement)
            key = result.inserted_primary_key
            assert key is not None
            changes.append(Change(key[0], tenant_id, kind, ref))
        return changes


def _together(feed: Iterable[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """The feed entries, with up to 500 applications in one: workers read the change of a fleet in one go."""
    applications: dict[str, list[str]] = {}
    others: list[tuple[str, str, str]] = []
    for tenant_id, kind, ref in feed:
        if kind == "application":
            applications.setdefault(tenant_id, []).append(ref)
        else:
            others.append((tenant_id, kind, ref))
    many = [
        (tenant_id, "application", "\n".join(refs[start : start + _IDS_AN_ENTRY]))
        for tenant_id, refs in applications.items()
        for start in range(0, len(refs), _IDS_AN_ENTRY)
    ]
    return [*many, *others]
