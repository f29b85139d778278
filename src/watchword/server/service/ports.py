"""What all services need from storage: reads for the view, the group commit, and transactions over the registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from msgspec import Struct

from ..audit.chain import Row
from ..audit.events import Event
from ..keys.model import SigningKey
from ..protocol.status_list import Reference
from ..registry.fleet.device_authority import DeviceAuthority
from ..registry.fleet.ports import FleetReads, FleetRecords, PlaceCounts, Places
from ..registry.limits import GroupLimit
from ..registry.model import Api, Application, Role, Tenant
from ..registry.ports import Claims, Collection, Holders, Lookup, RegistryReads, RegistryRecords
from ..registry.revocation import Revocation
from ..registry.trusted_issuer import TrustedIssuer

PATIENCE = 3.5
"""Seconds for one transaction of a request: with the rest of the request, less than the promised five."""


class StorageUnavailable(Exception):
    """The database is unreachable or too slow. It is unknown whether a commit took effect."""


class Contention(StorageUnavailable):
    """The transaction lost a race and was rolled back; nothing was written, so it can be retried."""


class Replayed(Exception):
    """Nothing was written: of the replay marks of this commit, `keys` had been used before."""

    def __init__(self, keys: frozenset[tuple[str, bytes]]) -> None:
        super().__init__("a proof was used before")
        self.keys = keys


class Change(Struct, frozen=True):
    """One entry of the change feed: what caches must drop.

    `ref` is an id, of applications one or more, each on a line of its own;
    for `revoked`, "token_id expiry"; for `revocation`, the audience that it is for ("": all).
    """

    seq: int
    tenant_id: str
    kind: str
    ref: str


class RequestMark(Struct, frozen=True):
    """A request with an `Idempotency-Key`; `fingerprint` is another one for another request of the same key."""

    tenant_id: str
    actor: str
    key: str
    fingerprint: bytes


class KeptAnswer(Struct, frozen=True):
    """What is stored of a request that was carried out, at `at` (seconds since the epoch).

    `sealed` is the encrypted answer; None until it is stored, which is after the commit of the request.
    """

    fingerprint: bytes
    at: int
    sealed: bytes | None


class CarriedOut(Exception):
    """Nothing was written: a request with this mark has been carried out before."""


class OpaqueRow(Struct, frozen=True):
    """An opaque token to store, by its hash; `claims` is JSON."""

    tenant_id: str
    hash: str
    expires_at: int
    claims: bytes


class MarkRow(Struct, frozen=True, order=True):
    """The mark of a used proof (replay protection); see `protocol/proof_jwt.py`."""

    tenant_id: str
    key: bytes
    expires_at: int


class TenantState(Struct, frozen=True):
    """The records of a tenant that a worker caches; applications are read one by one."""

    tenant: Tenant
    apis: list[Api]
    roles: list[Role]
    keys: list[SigningKey]
    revoked: dict[str, int]
    issuers: list[TrustedIssuer]
    authorities: list[DeviceAuthority]
    groups: Sequence[GroupLimit] = ()


class Reader(Protocol):
    """Reads for `View`. Every method raises `StorageUnavailable`."""

    async def tenant(self, slug: str, now: float) -> TenantState | None:
        """A live tenant with all that belongs to it."""

    async def application(self, tenant_id: str, client_id: str) -> Application | None:
        """One live application."""

    async def opaque(self, tenant_id: str, hash: str) -> bytes | None:
        """The claims of an opaque token."""

    async def changes(self, since: int) -> Sequence[Change]:
        """The change feed after `since`, oldest first."""

    async def newest_change(self) -> int:
        """The feed's last `seq`, 0 when it is empty."""

    async def close(self) -> None:
        """Let go of the connection."""


class Journal(Protocol):
    """Writes audit rows, opaque tokens and replay marks in one durable transaction, if nothing has changed."""

    async def commit(
        self, rows: Sequence[Row], tokens: Sequence[OpaqueRow], as_of: int, marks: Sequence[MarkRow] = ()
    ) -> Sequence[Change]:
        """Empty: committed and on disk. Otherwise nothing was written, because of these earlier changes.

        All replay marks are stored or, with `Replayed`, nothing is written: one statement decides (decision 0020).
        """

    async def save_uses(self, used: Mapping[tuple[str, str], int]) -> None:
        """Store when secrets were last used, by tenant and secret id, in an own transaction; later times stay."""

    async def close(self) -> None:
        """Let go of the connection."""


class SigningKeyReads(Protocol):
    """Signing keys, to read."""

    @property
    def keys(self) -> Lookup[SigningKey]:
        """The signing keys of each tenant."""


class SigningKeyRecords(SigningKeyReads, Protocol):
    """Signing keys, to read and to change."""

    @property
    def keys(self) -> Collection[SigningKey]:
        """The signing keys of each tenant."""


class SecretUses(Protocol):
    """When client secrets were used."""

    async def last_uses(self, tenant_id: str, secret_ids: Sequence[str]) -> dict[str, int]:
        """The last use of each secret, in seconds since the epoch, up to a minute old; unused secrets are absent."""


class Revocations(Protocol):
    """Revoke tokens and secrets, and announce revocations to the APIs."""

    async def revoke_token(
        self, tenant_id: str, token_id: str, expires_at: int, status: Reference | None = None, kept_until: int = 0
    ) -> bool:
        """Mark a token as revoked; False when it was already. Its bit in a status list stays set until `kept_until`."""

    async def use_up(self, tenant_id: str, secret_id: str, now: int) -> bool:
        """Withdraw a secret that has never been used; False when it was used, also at the same moment."""

    def announce(self, tenant_id: str, revocation: Revocation) -> None:
        """Tell the APIs that follow the feed; replaces an earlier revocation of the same thing."""


class AuditRecorder(Protocol):
    """Add events to the audit log."""

    def record(self, tenant_id: str, event: Event) -> None:
        """An audit event of this change."""


class Snapshot(RegistryReads, FleetReads, SigningKeyReads, Holders, PlaceCounts, SecretUses, Protocol):
    """The registry as it stood at one moment. Takes no lock; nothing can be changed through it."""


class Transaction(
    RegistryRecords, FleetRecords, SigningKeyRecords, Claims, Places, SecretUses, Revocations, AuditRecorder, Protocol
):
    """One change of the registry: everything in it, its audit events and its feed, or nothing.

    A function that needs only one of these ports names it: `AuditRecorder`, `Claims`, `Places` ...
    """


class Store(Protocol):
    """Opens transactions."""

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        """Read-only; read again inside a transaction before changing what was found here."""

    def transaction(
        self, patience: float = PATIENCE, mark: RequestMark | None = None
    ) -> AbstractAsyncContextManager[Transaction]:
        """Commits on a clean exit, before it returns; rolls back on an exception, and after `patience` seconds.

        `mark` is written with the change. If it was written before, raises `CarriedOut`.
        """


class Answers(Protocol):
    """The answers of requests with an `Idempotency-Key`. Every method raises `StorageUnavailable`."""

    async def find(self, mark: RequestMark) -> KeptAnswer | None:
        """What is stored under the mark's tenant, actor and key; the fingerprint may be another."""

    async def keep(self, mark: RequestMark, sealed: bytes) -> bool:
        """Store the answer with the mark that a transaction has written; False when there is no such mark."""
