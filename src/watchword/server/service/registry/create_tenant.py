"""Create a tenant with its signing keys, its administration API and its first administrator, in one transaction."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from ...audit.events import ApiCreated, ApplicationCreated, SecretCreated, TenantCreated
from ...keys import rotation
from ...keys.rotation import Policy
from ...registry import rules
from ...registry.model import ADMIN_API, Api, Application, Grant, Scope, Secret, Tenant
from ...registry.secret_text import digest, generate
from ..desk import Caller
from ..keys.rotate_key import STANDARD, RotateKey
from ..ports import Store

ADMIN_SCOPES: dict[str, str] = {
    "applications:read": "See applications",
    "applications:write": "Create, change and delete applications; hand out and end secrets",
    "apis:read": "See APIs and roles",
    "apis:write": "Create, change and delete APIs and roles",
    "keys:read": "See signing keys",
    "keys:write": "Rotate signing keys",
    "audit:read": "Read the audit log",
    "tokens:introspect": "Introspect with an access token",
    "tenants:read": "See tenants (default tenant only)",
    "tenants:write": "Create, change and delete tenants (default tenant only)",
}
DEFAULT = "default"


class FirstAdmin(Struct, frozen=True):
    """A new tenant, and the credentials of its first administrator, which are shown once."""

    tenant: Tenant
    client_id: str
    client_secret: str

    def __repr__(self) -> str:
        return "FirstAdmin(...)"


class CreateTenant:
    """The verb. A slug is never used twice, not even after deletion."""

    def __init__(
        self,
        *,
        store: Store,
        keys: RotateKey,
        policy: Policy,
        pepper: bytes,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._store, self._keys, self._policy = store, keys, policy
        self._pepper, self._clock, self._random = pepper, clock, random_bytes

    def new_id(self) -> str:
        """A lower-case UUID."""
        return str(uuid.UUID(bytes=self._random(16), version=4))

    async def __call__(self, slug: str, name: str, caller: Caller | None = None) -> FirstAdmin:
        """Create it. Raises `Invalid` for a malformed slug, `Conflict` for one that was ever used.

        Only the audit log of the caller's tenant names the caller: no tenant sees client ids of another.
        """
        rules.check_slug(slug)
        rules.check_name(name)
        now = self._clock()
        request_id = caller.request_id if caller is not None else ""
        said: dict[str, Any] = {"at": now, "request_id": request_id}
        tenant = Tenant(tenant_id=self.new_id(), slug=slug, name=name, created_at=int(now))
        api = self._admin_api(tenant, slug, int(now))
        text = generate(self._random(32))
        secret = Secret(
            id=self.new_id(),
            digest=digest(self._pepper, text.encode()),
            created_at=int(now),
        )
        admin = self._administrator(tenant, api, secret, int(now))
        async with self._store.transaction() as tx:
            await tx.tenants.add(tenant)
            await tx.apis.add(api)
            await tx.applications.add(admin)
            tx.record(tenant.tenant_id, TenantCreated(slug=slug, **said))
            tx.record(
                tenant.tenant_id,
                ApiCreated(api_id=api.api_id, identifier=api.identifier, **said),
            )
            tx.record(
                tenant.tenant_id,
                ApplicationCreated(client_id=admin.client_id, name=admin.name, **said),
            )
            tx.record(
                tenant.tenant_id,
                SecretCreated(client_id=admin.client_id, secret_id=secret.id, **said),
            )
            steps = rotation.plan([], STANDARD, now, self._policy)
            await self._keys.take(tx, tenant.tenant_id, [], steps, request_id=request_id)
            if caller is not None:
                tx.record(caller.tenant_id, TenantCreated(slug=slug, actor=caller.actor, **said))
        return FirstAdmin(tenant, admin.client_id, text)

    def _admin_api(self, tenant: Tenant, slug: str, at: int) -> Api:
        scopes = tuple(
            Scope(name=name, description=text)
            for name, text in ADMIN_SCOPES.items()
            if slug == DEFAULT or not name.startswith("tenants:")
        )
        return Api(
            tenant_id=tenant.tenant_id, api_id=self.new_id(), identifier=ADMIN_API, name="Watchword administration",
            scopes=scopes, created_at=at,
        )  # fmt: skip

    def _administrator(self, tenant: Tenant, api: Api, secret: Secret, at: int) -> Application:
        grant = Grant(api_id=api.api_id, scopes=tuple(scope.name for scope in api.scopes))
        return Application(
            tenant_id=tenant.tenant_id, client_id=self.new_id(), name="administrator",
            description="Made with the tenant; holds every administration scope.",
            secrets=(secret,), grants=(grant,), created_at=at,
        )  # fmt: skip
