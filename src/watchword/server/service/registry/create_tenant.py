"""Create a tenant with its signing keys, its administration API and its first administrator, in one transaction."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ...audit.events import ApiCreated, ApplicationCreated, ClientKeyAdded, Event, SecretCreated, TenantCreated
from ...keys import rotation
from ...keys.rotation import Policy
from ...registry import rules
from ...registry.client_keys import read_keys
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


Keep = Callable[[str, str], None]
"""Called with client id and secret before the commit: what it raises, makes nothing of it happen."""


class FirstAdmin(Struct, frozen=True):
    """A new administrator. The secret is shown once; it is empty for an administrator with a key."""

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

    async def __call__(
        self,
        slug: str,
        name: str,
        caller: Caller | None = None,
        *,
        keep: Keep | None = None,
        jwks: Mapping[str, Any] | None = None,
    ) -> FirstAdmin:
        """Create the tenant, and its administrator with a secret, or with the keys of `jwks` (private_key_jwt).

        Raises `Invalid` for a slug or keys that are none, `Conflict` for a slug that was ever used, and what `keep`
        raises; then nothing is created.

        Only the audit log of the caller's tenant names the caller: no tenant sees client ids of another.
        """
        rules.check_slug(slug)
        rules.check_name(name)
        now = self._clock()
        request_id = caller.request_id if caller is not None else ""
        said: dict[str, Any] = {"at": now, "request_id": request_id}
        tenant = Tenant(tenant_id=self.new_id(), slug=slug, name=name, created_at=int(now))
        api = self._admin_api(tenant, slug, int(now))
        admin, text = self._administrator(tenant, api, jwks, int(now))
        async with self._store.transaction(mark=caller.mark if caller is not None else None) as tx:
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
            for event in credential_events(admin, **said):
                tx.record(tenant.tenant_id, event)
            steps = rotation.plan([], STANDARD, now, self._policy)
            await self._keys.take(tx, tenant.tenant_id, [], steps, request_id=request_id)
            if caller is not None:
                tx.record(caller.tenant_id, TenantCreated(slug=slug, actor=caller.actor, **said))
            if keep is not None:
                keep(admin.client_id, text)
        return FirstAdmin(tenant, admin.client_id, text)

    def _admin_api(self, tenant: Tenant, slug: str, at: int) -> Api:
        return Api(
            tenant_id=tenant.tenant_id, api_id=self.new_id(), identifier=ADMIN_API, name="Watchword administration",
            scopes=admin_scopes(slug), created_at=at,
        )  # fmt: skip

    def _administrator(
        self, tenant: Tenant, api: Api, jwks: Mapping[str, Any] | None, at: int
    ) -> tuple[Application, str]:
        text = generate(self._random(32)) if jwks is None else ""
        secret = Secret(id=self.new_id(), digest=digest(self._pepper, text.encode()), created_at=at) if text else None
        admin = administrator(
            tenant, api, self.new_id(), secret=secret, jwks=jwks, at=at,
            description="Made with the tenant; holds every administration scope.",
        )  # fmt: skip
        return admin, text


def admin_scopes(slug: str) -> tuple[Scope, ...]:
    """The scopes of the administration API; those on tenants exist in the default tenant only."""
    return tuple(
        Scope(name=name, description=text)
        for name, text in ADMIN_SCOPES.items()
        if slug == DEFAULT or not name.startswith("tenants:")
    )


def administrator(
    tenant: Tenant,
    api: Api,
    client_id: str,
    *,
    secret: Secret | None,
    jwks: Mapping[str, Any] | None,
    at: int,
    description: str,
) -> Application:
    """An application with every administration scope, and a secret or keys. Raises `Invalid` for keys that are none."""
    grant = Grant(api_id=api.api_id, scopes=tuple(scope.name for scope in api.scopes))
    made = Application(
        tenant_id=tenant.tenant_id, client_id=client_id, name="administrator", description=description,
        grants=(grant,), created_at=at,
    )  # fmt: skip
    if secret is not None:
        return replace(made, secrets=(secret,))
    return replace(made, auth_method="private_key_jwt", keys=read_keys(jwks or {}, at))


def credential_events(admin: Application, **said: Any) -> list[Event]:
    """What it authenticates with, for the audit log."""
    secrets: list[Event] = [SecretCreated(client_id=admin.client_id, secret_id=one.id, **said) for one in admin.secrets]
    keys = [ClientKeyAdded(client_id=admin.client_id, kid=k.kid, algorithm=k.jwk["alg"], **said) for k in admin.keys]
    return [*secrets, *keys]
