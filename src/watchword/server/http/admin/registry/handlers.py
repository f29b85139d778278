"""The operations: each calls one verb in `service/` and shapes its answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ....audit.chain import Row, events_of
from ....registry.errors import Invalid
from ....service.desk import EVERYTHING, Desk, found
from ....service.keys.rotate_key import RotateKey
from ....service.registry.change_application import (
    ApplicationChange,
    cut_off_tokens,
    delete_application,
    update_application,
)
from ....service.registry.change_tenant import TenantChange, update_tenant
from ....service.registry.client_key_changes import NewClientKey, add_client_key, remove_client_key
from ....service.registry.create_application import NewApplication, create_application
from ....service.registry.create_tenant import DEFAULT, CreateTenant
from ....service.registry.define_api import ApiChange, NewApi, create_api, delete_api, update_api
from ....service.registry.define_role import NewRole, RoleChange, create_role, delete_role, update_role
from ....service.registry.delete_tenant import delete_tenant
from ....service.registry.quarantine_application import quarantine_application, release_application
from ....service.registry.rotate_secret import revoke_secret, rotate_secret
from ....service.registry.trust_anchors import NewAnchors, add_anchors, remove_anchor
from .. import shapes
from ..pages import LIST, Pages, limit
from ..routes import Reply, Request, Route

SecretUse = Callable[[str, Sequence[str]], Awaitable[dict[str, int]]]
Recent = Callable[[str, int], Awaitable[list[Row]]]
_A, _P, _R, _T = "/api/v1/applications", "/api/v1/apis", "/api/v1/roles", "/api/v1/trust-anchors"


class Rotation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`overlap`: seconds for which the older secret still works."""

    overlap: int = 86_400
    expires_at: int | None = None


class Isolation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`reason` is for whoever looks at the application."""

    reason: str = ""


class KeyRotation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which algorithm's key to turn."""

    algorithm: str = "ES256"


class NewTenant(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tenant to create."""

    slug: str
    name: str


class AdminHandlers:
    """One object per worker."""

    def __init__(
        self, desk: Desk, keys: RotateKey, tenants: CreateTenant, issuer_of: Callable[[str], str],
        secret_use: SecretUse, recent: Recent, pages: Pages, max_old_secrets: int,
    ) -> None:  # fmt: skip
        self._desk, self._keys, self._tenants, self._issuer_of = (
            desk,
            keys,
            tenants,
            issuer_of,
        )
        self._used, self._recent, self._pages, self._keep_old = secret_use, recent, pages, max_old_secrets

    def routes(self) -> list[Route]:
        """The whole admin API."""
        one_app, one_api, one_role = (
            f"{_A}/{{client_id}}",
            f"{_P}/{{api_id}}",
            f"{_R}/{{role_id}}",
        )
        return [
            Route(method="GET", path=_A, scope="applications:read", summary="List applications", handler=self.list_applications, reply=shapes.ApplicationShape, query=LIST),
            Route(method="POST", path=_A, scope="applications:write", summary="Register an application; its secret is shown once", handler=self.create_application, body=NewApplication, reply=shapes.NewApplicationShape, status=201),
            Route(method="GET", path=one_app, scope="applications:read", summary="Show an application", handler=self.show_application, reply=shapes.ApplicationShape),
            Route(method="PATCH", path=one_app, scope="applications:write", summary="Change an application", handler=self.update_application, body=ApplicationChange, reply=shapes.ApplicationShape),
            Route(method="DELETE", path=one_app, scope="applications:write", summary="Delete an application", handler=self.delete_application, status=204),
            Route(method="POST", path=f"{one_app}/secrets", scope="applications:write", summary="Rotate the secret; the new one is shown once", handler=self.rotate_secret, body=Rotation, reply=shapes.NewSecretShape, status=201),
            Route(method="DELETE", path=f"{one_app}/secrets/{{secret_id}}", scope="applications:write", summary="End one secret now", handler=self.revoke_secret, status=204),
            Route(method="POST", path=f"{one_app}/keys", scope="applications:write", summary="Add a public key; it works beside the others", handler=self.add_client_key, body=NewClientKey, reply=shapes.ApplicationShape, status=201),
            Route(method="DELETE", path=f"{one_app}/keys/{{kid}}", scope="applications:write", summary="Remove a public key now", handler=self.remove_client_key, status=204),
            Route(method="POST", path=f"{one_app}/cut-off", scope="applications:write", summary="Make every token issued so far inactive", handler=self.cut_off, reply=shapes.ApplicationShape),
            Route(method="POST", path=f"{one_app}/quarantine", scope="applications:write", summary="Stop an application until somebody has looked at it", handler=self.quarantine, body=Isolation, reply=shapes.ApplicationShape),
            Route(method="POST", path=f"{one_app}/release", scope="applications:write", summary="Let an application out of quarantine", handler=self.release, reply=shapes.ApplicationShape),
            Route(method="GET", path=_P, scope="apis:read", summary="List APIs", handler=self.list_apis, reply=shapes.ApiShape, query=LIST),
            Route(method="POST", path=_P, scope="apis:write", summary="Create an API", handler=self.create_api, body=NewApi, reply=shapes.ApiShape, status=201),
            Route(method="GET", path=one_api, scope="apis:read", summary="Show an API", handler=self.show_api, reply=shapes.ApiShape),
            Route(method="PATCH", path=one_api, scope="apis:write", summary="Change an API", handler=self.update_api, body=ApiChange, reply=shapes.ApiShape),
            Route(method="DELETE", path=one_api, scope="apis:write", summary="Delete an API", handler=self.delete_api, status=204),
            Route(method="GET", path=_R, scope="apis:read", summary="List roles", handler=self.list_roles, reply=shapes.RoleShape, query=LIST),
            Route(method="POST", path=_R, scope="apis:write", summary="Create a role", handler=self.create_role, body=NewRole, reply=shapes.RoleShape, status=201),
            Route(method="GET", path=one_role, scope="apis:read", summary="Show a role", handler=self.show_role, reply=shapes.RoleShape),
            Route(method="PATCH", path=one_role, scope="apis:write", summary="Change a role", handler=self.update_role, body=RoleChange, reply=shapes.RoleShape),
            Route(method="DELETE", path=one_role, scope="apis:write", summary="Delete a role", handler=self.delete_role, status=204),
            Route(method="GET", path="/api/v1/keys", scope="keys:read", summary="List signing keys", handler=self.list_keys, reply=shapes.KeyShape),
            Route(method="POST", path="/api/v1/keys/rotate", scope="keys:write", summary="Turn to the next signing key", handler=self.rotate_key, body=KeyRotation, reply=shapes.KeyShape),
            Route(method="DELETE", path="/api/v1/keys/{kid}", scope="keys:write", summary="Withdraw a compromised key at once", handler=self.withdraw_key, status=204),
            Route(method="GET", path=_T, scope="keys:read", summary="List the trust anchors of client certificates", handler=self.list_anchors, reply=shapes.AnchorShape),
            Route(method="POST", path=_T, scope="keys:write", summary="Trust authorities for client certificates", handler=self.add_anchors, body=NewAnchors, reply=shapes.AnchorShape, status=201),
            Route(method="DELETE", path=f"{_T}/{{thumbprint}}", scope="keys:write", summary="Trust an authority no more", handler=self.remove_anchor, status=204),
            Route(method="GET", path="/api/v1/audit", scope="audit:read", summary="The newest audit events", handler=self.audit, query=("limit",)),
            Route(method="GET", path="/api/v1/tenants", scope="tenants:read", summary="List tenants", handler=self.list_tenants, reply=shapes.TenantShape, default_tenant_only=True),
            Route(method="POST", path="/api/v1/tenants", scope="tenants:write", summary="Create a tenant and its administrator", handler=self.create_tenant, body=NewTenant, reply=shapes.NewTenantShape, status=201, default_tenant_only=True),
            Route(method="PATCH", path="/api/v1/tenants/{slug}", scope="tenants:write", summary="Change a tenant, such as its profile", handler=self.update_tenant, body=TenantChange, reply=shapes.TenantShape, default_tenant_only=True),
            Route(method="DELETE", path="/api/v1/tenants/{slug}", scope="tenants:write", summary="Delete a tenant", handler=self.delete_tenant, status=204, default_tenant_only=True),
        ]  # fmt: skip

    async def list_applications(self, request: Request) -> Reply:
        """By name."""
        page, following = await self._pages.page(request, "applications", lambda a: (a.name, a.client_id))
        used = await self._used(request.caller.tenant_id, [s.id for a in page for s in a.secrets])
        return Reply(shapes.Page(items=[shapes.application_shape(a, used) for a in page], next=following))

    async def create_application(self, request: Request) -> Reply:
        """201 with the secret."""
        made, text = await create_application(self._desk, request.caller, request.body)
        shape = shapes.NewApplicationShape(**shapes.application_fields(made, {}), client_secret=text)  # type: ignore[arg-type]
        return Reply(shape, 201, made.version, f"{_A}/{made.client_id}")

    async def show_application(self, request: Request) -> Reply:
        """With an ETag."""
        async with self._desk.store.snapshot() as tx:
            a = found(
                await tx.applications.get(request.caller.tenant_id, request.path["client_id"]),
                "application",
            )
        return await self._application(request, a)

    async def update_application(self, request: Request) -> Reply:
        """If-Match guards it."""
        a = await update_application(
            self._desk,
            request.caller,
            request.path["client_id"],
            request.body,
            request.expected,
        )
        return await self._application(request, a)

    async def delete_application(self, request: Request) -> Reply:
        """204."""
        await delete_application(self._desk, request.caller, request.path["client_id"], request.expected)
        return Reply(status=204)

    async def rotate_secret(self, request: Request) -> Reply:
        """201 with the new secret."""
        client_id = request.path["client_id"]
        _, kept, text = await rotate_secret(
            self._desk,
            request.caller,
            client_id,
            request.body.overlap,
            self._keep_old,
            request.body.expires_at,
        )
        return Reply(
            shapes.NewSecretShape(
                client_id=client_id,
                secret_id=kept.id,
                client_secret=text,
                expires_at=kept.expires_at,
            ),
            201,
        )

    async def revoke_secret(self, request: Request) -> Reply:
        """204."""
        await revoke_secret(
            self._desk,
            request.caller,
            request.path["client_id"],
            request.path["secret_id"],
        )
        return Reply(status=204)

    async def add_client_key(self, request: Request) -> Reply:
        """201 with the application."""
        a = await add_client_key(self._desk, request.caller, request.path["client_id"], request.body)
        return replace(await self._application(request, a), status=201)

    async def remove_client_key(self, request: Request) -> Reply:
        """204."""
        await remove_client_key(self._desk, request.caller, request.path["client_id"], request.path["kid"])
        return Reply(status=204)

    async def cut_off(self, request: Request) -> Reply:
        """The application."""
        return await self._application(
            request,
            await cut_off_tokens(self._desk, request.caller, request.path["client_id"]),
        )

    async def quarantine(self, request: Request) -> Reply:
        """The application; its tokens are inactive from now on."""
        place = self._desk, request.caller, request.path["client_id"]
        return await self._application(
            request, await quarantine_application(*place, request.body.reason, request.expected)
        )

    async def release(self, request: Request) -> Reply:
        """The application, as it was before."""
        place = self._desk, request.caller, request.path["client_id"]
        return await self._application(request, await release_application(*place, request.expected))

    async def list_apis(self, request: Request) -> Reply:
        """By identifier."""
        page, following = await self._pages.page(request, "apis", lambda a: (a.identifier, a.api_id))
        return Reply(shapes.Page(items=[shapes.api_shape(a) for a in page], next=following))

    async def create_api(self, request: Request) -> Reply:
        """201."""
        a = await create_api(self._desk, self._keys, request.caller, request.body)
        return Reply(shapes.api_shape(a), 201, a.version, f"{_P}/{a.api_id}")

    async def show_api(self, request: Request) -> Reply:
        """With an ETag."""
        async with self._desk.store.snapshot() as tx:
            a = found(
                await tx.apis.get(request.caller.tenant_id, request.path["api_id"]),
                "API",
            )
        return Reply(shapes.api_shape(a), version=a.version)

    async def update_api(self, request: Request) -> Reply:
        """If-Match guards it."""
        a = await update_api(
            self._desk,
            self._keys,
            request.caller,
            request.path["api_id"],
            request.body,
            request.expected,
        )
        return Reply(shapes.api_shape(a), version=a.version)

    async def delete_api(self, request: Request) -> Reply:
        """204."""
        await delete_api(self._desk, request.caller, request.path["api_id"], request.expected)
        return Reply(status=204)

    async def list_roles(self, request: Request) -> Reply:
        """By name."""
        page, following = await self._pages.page(request, "roles", lambda r: (r.name, r.role_id))
        return Reply(shapes.Page(items=[shapes.role_shape(r) for r in page], next=following))

    async def create_role(self, request: Request) -> Reply:
        """201."""
        r = await create_role(self._desk, request.caller, request.body)
        return Reply(shapes.role_shape(r), 201, r.version, f"{_R}/{r.role_id}")

    async def show_role(self, request: Request) -> Reply:
        """With an ETag."""
        async with self._desk.store.snapshot() as tx:
            r = found(
                await tx.roles.get(request.caller.tenant_id, request.path["role_id"]),
                "role",
            )
        return Reply(shapes.role_shape(r), version=r.version)

    async def update_role(self, request: Request) -> Reply:
        """If-Match guards it."""
        r = await update_role(
            self._desk,
            request.caller,
            request.path["role_id"],
            request.body,
            request.expected,
        )
        return Reply(shapes.role_shape(r), version=r.version)

    async def delete_role(self, request: Request) -> Reply:
        """204."""
        await delete_role(self._desk, request.caller, request.path["role_id"], request.expected)
        return Reply(status=204)

    async def list_keys(self, request: Request) -> Reply:
        """All of the tenant's, the gone ones too."""
        return Reply(shapes.Page(items=list(await self._keys_of(request))))

    async def rotate_key(self, request: Request) -> Reply:
        """The keys after the turn."""
        await self._keys.by_hand(
            request.caller.tenant_id,
            request.body.algorithm,
            request.caller.actor,
            request.caller.request_id,
        )
        return Reply(shapes.Page(items=list(await self._keys_of(request))))

    async def withdraw_key(self, request: Request) -> Reply:
        """204; tokens of that key are inactive from now on."""
        await self._keys.in_emergency(
            request.caller.tenant_id,
            request.path["kid"],
            request.caller.actor,
            request.caller.request_id,
        )
        return Reply(status=204)

    async def list_anchors(self, request: Request) -> Reply:
        """In the order in which they were added."""
        async with self._desk.store.snapshot() as tx:
            tenant = found(await tx.tenants.get("", request.caller.tenant_id), "tenant")
        return Reply(shapes.Page(items=[shapes.anchor_shape(anchor) for anchor in tenant.anchors]))

    async def add_anchors(self, request: Request) -> Reply:
        """201 with all of them."""
        anchors = await add_anchors(self._desk, request.caller, request.body)
        return Reply(shapes.Page(items=[shapes.anchor_shape(anchor) for anchor in anchors]), 201)

    async def remove_anchor(self, request: Request) -> Reply:
        """204."""
        await remove_anchor(self._desk, request.caller, request.path["thumbprint"])
        return Reply(status=204)

    async def audit(self, request: Request) -> Reply:
        """Newest first."""
        rows = await self._recent(request.caller.tenant_id, limit(request.query, 200))
        events = [event for row in rows for event in reversed(events_of(row))]
        return Reply(shapes.Page(items=[msgspec.to_builtins(event) for event in events[: limit(request.query, 200)]]))

    async def list_tenants(self, request: Request) -> Reply:
        """By slug."""
        async with self._desk.store.snapshot() as tx:
            tenants = await tx.tenants.page("", None, EVERYTHING)
        return Reply(shapes.Page(items=[shapes.TenantShape(**shapes.tenant_fields(t)) for t in tenants]))  # type: ignore[arg-type]

    async def create_tenant(self, request: Request) -> Reply:
        """201 with the administrator's secret."""
        first = await self._tenants(request.body.slug, request.body.name, request.caller)
        shape = shapes.NewTenantShape(
            **shapes.tenant_fields(first.tenant),  # type: ignore[arg-type]
            issuer=self._issuer_of(first.tenant.slug), client_id=first.client_id, client_secret=first.client_secret,
        )  # fmt: skip
        return Reply(shape, 201)

    async def update_tenant(self, request: Request) -> Reply:
        """The tenant as it is now."""
        changed = await update_tenant(self._desk, request.caller, request.path["slug"], request.body, request.expected)
        shape = shapes.TenantShape(**shapes.tenant_fields(changed))  # type: ignore[arg-type]
        return Reply(shape, version=changed.version)

    async def delete_tenant(self, request: Request) -> Reply:
        """204."""
        if request.path["slug"] == DEFAULT:
            raise Invalid("the default tenant administers the others and stays", field="slug")
        await delete_tenant(self._desk, request.caller, request.path["slug"])
        return Reply(status=204)

    async def _application(self, request: Request, a: Any) -> Reply:
        used = await self._used(request.caller.tenant_id, [s.id for s in a.secrets])
        return Reply(shapes.application_shape(a, used), version=a.version)

    async def _keys_of(self, request: Request) -> list[shapes.KeyShape]:
        async with self._desk.store.snapshot() as tx:
            keys = await tx.keys.page(request.caller.tenant_id, None, EVERYTHING)
        return [shapes.key_shape(key) for key in sorted(keys, key=lambda k: (k.algorithm, -k.published_at))]
