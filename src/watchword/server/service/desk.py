"""What the administrative verbs share: storage, time, randomness, and the caller."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ..audit.changes import audited_change as audited_change
from ..audit.changes import changed_fields as changed_fields
from ..protocol.grants import GRANTS
from ..registry.application_rules import Surroundings
from ..registry.errors import NotFound, VersionMismatch
from ..registry.model import Api, Application, Role, Secret, Tenant
from ..registry.ports import RegistryReads
from ..registry.rules import check_moment
from ..registry.secret_text import digest, generate, sealed_place
from ..registry.trusted_issuer import TrustedIssuer
from .ports import RequestMark, Snapshot, Store, Transaction

EVERYTHING = 100_000


class Caller(Struct, frozen=True):
    """The tenant and the client id of the application that makes a change; recorded in every audit event."""

    tenant_id: str
    actor: str
    request_id: str = ""
    scopes: frozenset[str] = frozenset()
    """The scopes of its token at the administration API; none for an application that changes itself."""
    mark: RequestMark | None = None
    """Of a request with an `Idempotency-Key`; see `Desk.transaction`."""


class Desk(Struct, frozen=True, kw_only=True):
    """What an administrative verb needs; one per worker."""

    store: Store
    pepper: bytes
    clock: Callable[[], float]
    random_bytes: Callable[[int], bytes]
    seal: Callable[[bytes, str], bytes]
    """Encrypts for one place in the database, under the master key."""
    check_address: Callable[[str, str], Awaitable[None]]
    """(URL, tenant id): raises `Invalid` for a URL that keys are never fetched from."""

    def transaction(self, caller: Caller) -> AbstractAsyncContextManager[Transaction]:
        """The one transaction of a verb that creates: it also writes the mark of the caller's request.

        Raises `CarriedOut` when that request was carried out before. A verb calls it once a request.
        """
        return self.store.transaction(mark=caller.mark)

    def new_id(self) -> str:
        """A lower-case UUID, never reused: the rows of deleted records stay."""
        return str(uuid.UUID(bytes=self.random_bytes(16), version=4))

    def said(self, caller: Caller) -> dict[str, Any]:
        """The fields that every audit event has."""
        return {
            "at": self.clock(),
            "actor": caller.actor,
            "request_id": caller.request_id,
        }

    def new_secret(self, expires_at: int | None = None, made_of: bytes | None = None) -> tuple[Secret, str]:
        """A secret to store and its text, shown once. `made_of`: 32 unguessable bytes in place of random ones.

        Raises `Invalid` for an end that is no date.
        """
        check_moment(expires_at, "expires_at")
        text = generate(self.random_bytes(32) if made_of is None else made_of)
        kept = Secret(
            id=self.new_id(),
            digest=digest(self.pepper, text.encode()),
            created_at=int(self.clock()),
            expires_at=expires_at,
        )
        return kept, text

    def kept_for(self, application: Application, secret: Secret, text: str) -> Secret:
        """The secret as it is stored: with its encrypted text for client_secret_jwt (decision 0021)."""
        if application.auth_method != "client_secret_jwt":
            return secret
        place = sealed_place(application.tenant_id, application.client_id, secret.id)
        return replace(secret, sealed=self.seal(text.encode(), place))


async def apis_of(tx: RegistryReads, tenant_id: str) -> dict[str, Api]:
    """All APIs of a tenant by id."""
    return {api.api_id: api for api in await tx.apis.page(tenant_id, None, EVERYTHING)}


async def issuers_of(tx: RegistryReads, tenant_id: str) -> dict[str, TrustedIssuer]:
    """All issuers that a tenant trusts, by id."""
    return {issuer.issuer_id: issuer for issuer in await tx.issuers.page(tenant_id, None, EVERYTHING)}


async def roles_of(tx: RegistryReads, tenant_id: str) -> dict[str, Role]:
    """All roles of a tenant by id."""
    return {role.role_id: role for role in await tx.roles.page(tenant_id, None, EVERYTHING)}


async def surroundings_of(tx: Transaction | Snapshot, tenant_id: str) -> Surroundings:
    """What the rules about applications of a tenant depend on: its APIs, roles and issuers."""
    tenant: Tenant = found(await tx.tenants.get("", tenant_id), "tenant")
    keys = await tx.keys.page(tenant_id, None, EVERYTHING)
    signs = frozenset(str(key.algorithm) for key in keys if key.state == "active")
    return Surroundings(
        tenant,
        await apis_of(tx, tenant_id),
        await roles_of(tx, tenant_id),
        await issuers_of(tx, tenant_id),
        signs,
        tuple(GRANTS),
    )


def found(record: Any, what: str) -> Any:
    """The record, or `NotFound`."""
    if record is None:
        raise NotFound(f"there is no such {what} in this tenant")
    return record


def check_version(record: Any, expected: int | None) -> None:
    """If-Match (RFC 9110 section 13.1.1): raises `VersionMismatch`."""
    if expected is not None and record.version != expected:
        raise VersionMismatch("it was changed meanwhile; read it again and repeat your change")
