"""The operations of the App ID management API: each calls one verb in `service/` and shapes its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import UNSET, Raw, UnsetType

from ...registry.errors import Invalid
from ...registry.model import Api, Application, Grant, Role
from ...registry.rules import check_name
from ...service.desk import Desk, apis_of, found, roles_of
from ...service.keys.rotate_key import RotateKey
from ...service.registry.change_application import ApplicationChange, update_application
from ...service.registry.configure_appid import configure_appid
from ...service.registry.create_application import NewApplication, create_application
from ...service.registry.define_role import NewRole, RoleChange, create_role, delete_role, update_role
from ...service.registry.offer_scopes import delete_with_scopes, offer_scopes
from ..admin.routes import Reply, Request, Route
from ..wire import encode_json
from . import shapes

_ROOT = "/management/v4/{tenant}"
_A, _R = f"{_ROOT}/applications", f"{_ROOT}/roles"
MAX_NAME = 50
AT_ONCE = 200
"""Applications of a list that are read in one go: 2 to 3 ms of the event loop."""


class AppIdHandlers:
    """One object per worker. Paths carry the tenant's slug, which is what App ID calls `tenantId`."""

    def __init__(self, desk: Desk, keys: RotateKey, issuer_of: Callable[[str], str], base_url: str) -> None:
        self._desk, self._keys, self._issuer_of, self._base_url = desk, keys, issuer_of, base_url

    def routes(self) -> list[Route]:
        """The calls that make sense for applications, with the statuses that IBM's generated clients expect."""
        one_app, one_role = f"{_A}/{{client_id}}", f"{_R}/{{role_id}}"
        return [
            Route(method="GET", path=_A, scope="applications:read", summary="List applications", handler=self.list_applications),
            Route(method="POST", path=_A, scope="applications:write", summary="Register an application", handler=self.create_application, body=shapes.NewApplicationBody),
            Route(method="GET", path=one_app, scope="applications:read", summary="Show an application", handler=self.show_application),
            Route(method="PUT", path=one_app, scope="applications:write", summary="Rename an application", handler=self.rename_application, body=shapes.RenamedBody, status=201),
            Route(method="DELETE", path=one_app, scope="applications:write", summary="Delete an application", handler=self.delete_application, status=204),
            Route(method="GET", path=f"{one_app}/scopes", scope="apis:read", summary="Scopes on offer", handler=self.show_scopes),
            Route(method="PUT", path=f"{one_app}/scopes", scope="apis:write", summary="Replace the scopes on offer", handler=self.set_scopes, body=shapes.ScopesBody),
            Route(method="GET", path=f"{one_app}/roles", scope="applications:read", summary="Roles of an application", handler=self.show_application_roles),
            Route(method="PUT", path=f"{one_app}/roles", scope="applications:write", summary="Replace the roles of an application", handler=self.set_application_roles, body=shapes.RoleIdsBody),
            Route(method="GET", path=_R, scope="apis:read", summary="List roles", handler=self.list_roles),
            Route(method="POST", path=_R, scope="apis:write", summary="Create a role", handler=self.create_role, body=shapes.RoleBody, status=201),
            Route(method="GET", path=one_role, scope="apis:read", summary="Show a role", handler=self.show_role),
            Route(method="PUT", path=one_role, scope="apis:write", summary="Replace a role", handler=self.replace_role, body=shapes.RoleBody),
            Route(method="DELETE", path=one_role, scope="apis:write", summary="Delete a role", handler=self.delete_role, status=202),
            Route(method="GET", path=f"{_ROOT}/config/tokens", scope="apis:read", summary="How tokens look", handler=self.show_tokens),
            Route(method="PUT", path=f"{_ROOT}/config/tokens", scope="apis:write", summary="Replace how tokens look", handler=self.set_tokens, body=shapes.TokensBody),
        ]  # fmt: skip

    async def list_applications(self, request: Request) -> Reply:
        """All of them: App ID's list has no pages. It is read in slices, so that other requests run between them.

        Each slice is a snapshot of its own: an application that is renamed meanwhile may be missing or listed twice.
        """
        parts: list[bytes] = []
        after: tuple[str, str] | None = None
        while True:
            async with self._desk.store.snapshot() as tx:
                page = await tx.applications.page(request.caller.tenant_id, after, AT_ONCE)
            if page:
                parts.append(encode_json([self._shape(request, a) for a in page])[1:-1])
            if len(page) < AT_ONCE:
                return Reply({"applications": Raw(b"[%b]" % b",".join(parts))})
            after = page[-1].name, page[-1].client_id

    async def create_application(self, request: Request) -> Reply:
        """200 with the secret, which is shown here and never again."""
        body: shapes.NewApplicationBody = request.body
        check_name(body.name, limit=MAX_NAME)
        if body.type == "singlepageapp":
            raise Invalid("a single-page application keeps no secret; register a regularwebapp", field="type")
        made, text = await create_application(self._desk, request.caller, NewApplication(name=body.name))
        return Reply(self._shape(request, made, UNSET if text is None else text))

    async def show_application(self, request: Request) -> Reply:
        """Without the secret."""
        return Reply(self._shape(request, await self._application(request)))

    async def rename_application(self, request: Request) -> Reply:
        """201, as IBM's clients expect."""
        check_name(request.body.name, limit=MAX_NAME)
        change = ApplicationChange(name=request.body.name)
        renamed = await update_application(self._desk, request.caller, request.path["client_id"], change)
        return Reply(self._shape(request, renamed), 201)

    async def delete_application(self, request: Request) -> Reply:
        """204; the scopes that it offered leave every role."""
        await delete_with_scopes(self._desk, request.caller, request.path["client_id"])
        return Reply(status=204)

    async def show_scopes(self, request: Request) -> Reply:
        """Empty for an application that offers none."""
        client_id = (await self._application(request)).client_id
        async with self._desk.store.snapshot() as tx:
            api: Api | None = await tx.apis.find(request.caller.tenant_id, client_id)
        return Reply({"scopes": [scope.name for scope in api.scopes] if api is not None else []})

    async def set_scopes(self, request: Request) -> Reply:
        """Replaces all."""
        client_id = request.path["client_id"]
        names = await offer_scopes(self._desk, self._keys, request.caller, client_id, request.body.scopes)
        return Reply({"scopes": names})

    async def show_application_roles(self, request: Request) -> Reply:
        """Ids and names."""
        return await self._application_roles(request, await self._application(request))

    async def set_application_roles(self, request: Request) -> Reply:
        """Replaces all."""
        change = ApplicationChange(role_ids=request.body.roles.ids)
        changed = await update_application(self._desk, request.caller, request.path["client_id"], change)
        return await self._application_roles(request, changed)

    async def list_roles(self, request: Request) -> Reply:
        """All of them."""
        async with self._desk.store.snapshot() as tx:
            roles, apis = await roles_of(tx, request.caller.tenant_id), await apis_of(tx, request.caller.tenant_id)
        return Reply({"roles": [_role_shape(role, apis) for role in roles.values()]})

    async def create_role(self, request: Request) -> Reply:
        """201."""
        body: shapes.RoleBody = request.body
        wanted = NewRole(name=body.name, description=body.description, access=await self._grants(request, body.access))
        return await self._role(request, await create_role(self._desk, request.caller, wanted), 201)

    async def show_role(self, request: Request) -> Reply:
        """One role."""
        async with self._desk.store.snapshot() as tx:
            role: Role = found(await tx.roles.get(request.caller.tenant_id, request.path["role_id"]), "role")
        return await self._role(request, role)

    async def replace_role(self, request: Request) -> Reply:
        """The whole of it."""
        body: shapes.RoleBody = request.body
        access = await self._grants(request, body.access)
        change = RoleChange(name=body.name, description=body.description, access=access)
        return await self._role(request, await update_role(self._desk, request.caller, request.path["role_id"], change))

    async def delete_role(self, request: Request) -> Reply:
        """202; applications that hold it hold nothing of it any more."""
        await delete_role(self._desk, request.caller, request.path["role_id"])
        return Reply(status=202)

    async def show_tokens(self, request: Request) -> Reply:
        """Lifetime and claims; what belongs to users is off."""
        async with self._desk.store.snapshot() as tx:
            tenant = found(await tx.tenants.get("", request.caller.tenant_id), "tenant")
        return Reply(shapes.tokens_shape(tenant))

    async def set_tokens(self, request: Request) -> Reply:
        """Replaces the whole."""
        body: shapes.TokensBody = request.body
        tenant = await configure_appid(self._desk, request.caller, body.access.expires_in, body.claims())
        return Reply(shapes.tokens_shape(tenant))

    async def _application(self, request: Request) -> Application:
        async with self._desk.store.snapshot() as tx:
            a: Application = found(
                await tx.applications.get(request.caller.tenant_id, request.path["client_id"]), "application"
            )
        return a

    async def _application_roles(self, request: Request, a: Application) -> Reply:
        async with self._desk.store.snapshot() as tx:
            known = await roles_of(tx, a.tenant_id)
        listed = [{"id": role_id, "name": known[role_id].name} for role_id in a.role_ids if role_id in known]
        return Reply({"roles": listed})

    async def _role(self, request: Request, role: Role, status: int = 200) -> Reply:
        async with self._desk.store.snapshot() as tx:
            return Reply(_role_shape(role, await apis_of(tx, request.caller.tenant_id)), status)

    async def _grants(self, request: Request, access: Iterable[shapes.AccessBody]) -> tuple[Grant, ...]:
        """`application_id` is an API's identifier; that of an application which offers scopes is its client id."""
        async with self._desk.store.snapshot() as tx:
            apis = await apis_of(tx, request.caller.tenant_id)
        by_identifier = {api.identifier: api.api_id for api in apis.values()}
        unknown = [entry.application_id for entry in access if entry.application_id not in by_identifier]
        if unknown:
            raise Invalid(f"{unknown[0][:60]!r} offers no scopes: PUT its /scopes first", field="access")
        return tuple(Grant(api_id=by_identifier[entry.application_id], scopes=entry.scopes) for entry in access)

    def _shape(self, request: Request, a: Application, secret: str | UnsetType = UNSET) -> shapes.ApplicationShape:
        slug = request.path["tenant"]
        issuer = self._issuer_of(slug)
        return shapes.ApplicationShape(
            client_id=a.client_id, tenant_id=slug, secret=secret, name=a.name, o_auth_server_url=issuer,
            profiles_url=self._base_url, discovery_endpoint=f"{issuer}/.well-known/openid-configuration",
            type="regularwebapp",
        )  # fmt: skip


def _role_shape(role: Role, apis: dict[str, Api]) -> dict[str, Any]:
    access = [
        {"application_id": apis[grant.api_id].identifier, "scopes": grant.scopes}
        for grant in role.access
        if grant.api_id in apis
    ]
    return {"id": role.role_id, "name": role.name, "description": role.description, "access": access}
