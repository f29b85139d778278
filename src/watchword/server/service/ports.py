"""What the services need from storage: reading for the view, one group commit, one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from msgspec import Struct

from ..audit.chain import Row
from ..audit.events import Event
from ..keys.model import SigningKey
from ..protocol.status_list import Reference
from ..registry.device_authority import DeviceAuthority
from ..registry.enrolment import EnrolmentGroup
from ..registry.limits import GroupLimit
from ..registry.model import Api, Application, InitialToken, Role, Tenant
from ..registry.ports import (
    Codes,
    CodeShelf,
    Collection,
    Expected,
    ExpectedShelf,
    Fleet,
    FleetShelf,
    PendingCollection,
    PendingShelf,
    Shelf,
)
from ..registry.revocation import Revocation
from ..registry.trusted_issuer import TrustedIssuer

PATIENCE = 3.5
"""Seconds for one transaction of a request: with what comes before and after it, less than the promised five."""


class StorageUnavailable(Exception):
    """The database is away, or too slow to wait for. Whether a commit was taken is unknown."""


class Contention(StorageUnavailable):
    """The database gave another transaction the right of way; nothing of ours was written, so do it again."""


class Replayed(Exception):
    """Nothing was written: of the marks that were to be consumed, `keys` had been consumed before."""

    def __init__(self, keys: frozenset[tuple[str, bytes]]) -> None:
        super().__init__("a proof was used before")
        self.keys = keys


class Change(Struct, frozen=True):
    """One entry of the change feed: what caches must forget.

    `ref` is an id, of applications one or more, each on a line of its own;
    for `revoked`, "token_id expiry"; for `revocation`, the audience that has news ("": all).
    """

    seq: int
    tenant_id: str
    kind: str
    ref: str


class OpaqueRow(Struct, frozen=True):
    """An opaque token to be kept, by its hash; `claims` is JSON."""

    tenant_id: str
    hash: str
    expires_at: int
    claims: bytes


class MarkRow(Struct, frozen=True, order=True):
    """A proof that is used up; see `protocol/proof_jwt.py`."""

    tenant_id: str
    key: bytes
    expires_at: int


class Spending(Struct, frozen=True):
    """What one worker gave out within a limit: `cost` seconds of its rate, `count` tokens.

    `begins` is where its debt would end without them (`protocol/rate.py`), in seconds since the epoch.
    """

    tenant_id: str
    subject: str
    begins: float
    cost: float
    count: int


class TenantState(Struct, frozen=True):
    """All of a tenant that a worker keeps in memory; applications come one by one."""

    tenant: Tenant
    apis: list[Api]
    roles: list[Role]
    keys: list[SigningKey]
    revoked: dict[str, int]
    issuers: list[TrustedIssuer]
    authorities: list[DeviceAuthority]
    groups: Sequence[GroupLimit] = ()


class Reader(Protocol):
    """Reads for the view. Every method raises `StorageUnavailable`."""

    async def tenant(self, slug: str, now: float) -> TenantState | None:
        """A live tenant with all that belongs to it."""

    async def application(self, tenant_id: str, client_id: str) -> Application | None:
        """One live application."""

    async def opaque(self, tenant_id: str, hash: str) -> bytes | None:
        """The claims of an opaque token."""

    async def changes(self, since: int) -> Sequence[Change]:
        """The feed behind `since`, oldest first."""

    async def newest_change(self) -> int:
        """The feed's last `seq`, 0 when it is empty."""

    async def close(self) -> None:
        """Let go of the connection."""


class RevocationReader(Protocol):
    """Reads what APIs are told. Both methods raise `StorageUnavailable`."""

    async def revocations(
        self, tenant_id: str, audience: str, after: int, now: int, limit: int
    ) -> Sequence[tuple[int, Revocation]]:
        """For this API or for all, behind `after`, not expired, with their `seq`, which grows in commit order."""

    async def newest_revocation(self) -> int:
        """The greatest `seq` that is kept, 0 when there is none."""


class StatusReader(Protocol):
    """Reads what status lists are made of. Raises `StorageUnavailable`."""

    async def revoked_indexes(self, tenant_id: str, list_name: str) -> Sequence[int]:
        """The places of the list's revoked tokens."""


class Journal(Protocol):
    """Writes audit rows and opaque tokens, and consumes marks, in one durable transaction, if nothing has changed."""

    async def commit(
        self, rows: Sequence[Row], tokens: Sequence[OpaqueRow], as_of: int, marks: Sequence[MarkRow] = ()
    ) -> Sequence[Change]:
        """Empty: committed and on disk. Otherwise nothing was written, and these changes came first.

        All marks are consumed or, with `Replayed`, nothing is written: one statement decides (decision 0020).
        """

    async def save_uses(self, used: Mapping[tuple[str, str], int]) -> None:
        """When secrets were last used, by tenant and secret id, in a transaction of its own; no time goes back."""

    async def close(self) -> None:
        """Let go of the connection."""


class Debts(Protocol):
    """What all workers and nodes spent of each limit. What a power cut takes of it harms nobody."""

    async def add(self, spendings: Sequence[Spending]) -> Sequence[float]:
        """Until when each debt has to be worked off now, in the order of `spendings`, of which no two have one subject.

        One statement each adds and tells. Raises `StorageUnavailable`.
        """

    async def close(self) -> None:
        """Let go of the connection."""


class Transaction(Protocol):
    """One change of the registry: everything in it, its audit events and its feed, or nothing."""

    @property
    def tenants(self) -> Collection[Tenant]:
        """Records of one kind."""

    @property
    def applications(self) -> Collection[Application]:
        """Records of one kind."""

    @property
    def apis(self) -> Collection[Api]:
        """Records of one kind."""

    @property
    def roles(self) -> Collection[Role]:
        """Records of one kind."""

    @property
    def keys(self) -> Collection[SigningKey]:
        """Records of one kind."""

    @property
    def initial_tokens(self) -> Collection[InitialToken]:
        """Records of one kind."""

    @property
    def issuers(self) -> Collection[TrustedIssuer]:
        """Records of one kind."""

    @property
    def device_authorities(self) -> Collection[DeviceAuthority]:
        """Records of one kind."""

    @property
    def enrolment_groups(self) -> Collection[EnrolmentGroup]:
        """Records of one kind."""

    @property
    def codes(self) -> Codes:
        """With which devices enrol."""

    @property
    def pending(self) -> PendingCollection:
        """Devices that wait for approval."""

    @property
    def expected(self) -> Expected:
        """Devices that may still come."""

    @property
    def fleet(self) -> Fleet:
        """Applications by the thousand."""

    async def claim(self, tenant_id: str, kind: str, value: str, holder: str) -> None:
        """What only one application may be; raises `Conflict` when another one is, at the same moment too."""

    async def release(self, tenant_id: str, holder: str, kind: str = "") -> None:
        """Everything that it had claimed, or that of one kind."""

    async def holder(self, tenant_id: str, kind: str, value: str) -> str | None:
        """Whose claim it is: the client id, None when nobody has it."""

    async def take_place(self, tenant_id: str, group_id: str, limit: int | None, count: int = 1) -> bool:
        """So many places more in an enrolment group; False, and none taken, when that would be more than `limit`.

        One statement counts and compares."""

    async def leave_place(self, tenant_id: str, group_id: str) -> None:
        """Give one back."""

    async def places(self, tenant_id: str, group_ids: Sequence[str]) -> dict[str, int]:
        """How many applications are in each of these enrolment groups; empty ones are absent."""

    async def revoke_token(
        self, tenant_id: str, token_id: str, expires_at: int, status: Reference | None = None, kept_until: int = 0
    ) -> bool:
        """Mark a token as revoked; False when it was already. Its bit in a status list stays set until `kept_until`."""

    async def use_up(self, tenant_id: str, secret_id: str, now: int) -> bool:
        """A secret that nobody has used is used by nobody any more; False when it was, at the same moment too."""

    def announce(self, tenant_id: str, revocation: Revocation) -> None:
        """Tell the APIs that follow the feed; takes the place of what was said of the same thing before."""

    def record(self, tenant_id: str, event: Event) -> None:
        """An audit event of this change."""


class Snapshot(Protocol):
    """The registry as it stood at one moment. Takes no lock; nothing can be changed through it."""

    @property
    def tenants(self) -> Shelf[Tenant]:
        """Records of one kind."""

    @property
    def applications(self) -> Shelf[Application]:
        """Records of one kind."""

    @property
    def apis(self) -> Shelf[Api]:
        """Records of one kind."""

    @property
    def roles(self) -> Shelf[Role]:
        """Records of one kind."""

    @property
    def keys(self) -> Shelf[SigningKey]:
        """Records of one kind."""

    @property
    def initial_tokens(self) -> Shelf[InitialToken]:
        """Records of one kind."""

    @property
    def issuers(self) -> Shelf[TrustedIssuer]:
        """Records of one kind."""

    @property
    def device_authorities(self) -> Shelf[DeviceAuthority]:
        """Records of one kind."""

    @property
    def enrolment_groups(self) -> Shelf[EnrolmentGroup]:
        """Records of one kind."""

    async def holder(self, tenant_id: str, kind: str, value: str) -> str | None:
        """Whose claim it is: the client id, None when nobody has it."""

    async def places(self, tenant_id: str, group_ids: Sequence[str]) -> dict[str, int]:
        """How many applications are in each of these enrolment groups; empty ones are absent."""

    @property
    def codes(self) -> CodeShelf:
        """With which devices enrol."""

    @property
    def pending(self) -> PendingShelf:
        """Devices that wait for approval."""

    @property
    def expected(self) -> ExpectedShelf:
        """Devices that may still come."""

    @property
    def fleet(self) -> FleetShelf:
        """Applications by the thousand."""


class Store(Protocol):
    """Opens transactions."""

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        """To look at; whoever changes what it found there asks again inside a transaction."""

    def transaction(self, patience: float = PATIENCE) -> AbstractAsyncContextManager[Transaction]:
        """Commits on a clean exit, before it returns; rolls back on an exception, and after `patience` seconds."""
