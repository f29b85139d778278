"""Set the scopes that an application offers on the App ID surface, as an API whose identifier is the client id."""

from __future__ import annotations

from ...registry.appid import check_offered, is_application
from ...registry.model import Api, Application, Scope
from ..desk import Caller, Desk, found
from ..keys.rotate_key import RotateKey
from .change_application import remove_application
from .define_api import ApiChange, NewApi, add_api, change_api, remove_api


async def offer_scopes(
    desk: Desk, keys: RotateKey, caller: Caller, client_id: str, names: tuple[str, ...]
) -> tuple[str, ...]:
    """Replaces all scopes; a removed scope is removed from every role. Raises `NotFound`, `Invalid`."""
    check_offered(client_id, names)
    async with desk.store.transaction() as tx:
        application: Application = found(await tx.applications.get(caller.tenant_id, client_id), "application")
        before: Api | None = await tx.apis.find(caller.tenant_id, client_id)
        known = {scope.name: scope for scope in before.scopes} if before is not None else {}
        scopes = tuple(known.get(name, Scope(name=name)) for name in names)
        if before is not None:
            await change_api(desk, keys, tx, caller, before, ApiChange(scopes=scopes))
        elif scopes:
            wanted = NewApi(identifier=client_id, name=application.name, scopes=scopes)
            await add_api(desk, keys, tx, caller, wanted)
    return names


async def delete_with_scopes(desk: Desk, caller: Caller, client_id: str) -> None:
    """Delete the application and its scopes, in one transaction. Raises `NotFound`, `Conflict`."""
    async with desk.store.transaction() as tx:
        before: Application = found(await tx.applications.get(caller.tenant_id, client_id), "application")
        await remove_application(desk, tx, caller, before)
        offered: Api | None = await tx.apis.find(caller.tenant_id, client_id) if is_application(client_id) else None
        if offered is not None:
            await remove_api(desk, tx, caller, offered)
