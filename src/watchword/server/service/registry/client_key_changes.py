"""Add and remove the public keys of an application, so that they can be changed without a gap."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ...audit.events import ClientKeyAdded, ClientKeyRemoved
from ...registry.client_keys import MAX_KEYS, read_key
from ...registry.errors import Conflict, Invalid, NotFound
from ...registry.model import Application
from ..desk import Caller, Desk, found
from ..ports import AuditRecorder
from .rights import check_may_change


class NewClientKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A public JWK (RFC 7517 section 4)."""

    jwk: dict[str, Any]


async def add_client_key(desk: Desk, caller: Caller, client_id: str, wanted: NewClientKey) -> Application:
    """The key is accepted beside the older ones as soon as this returns. Raises `Invalid`, `Conflict`, `NotFound`."""
    key = read_key(wanted.jwk, int(desk.clock()))
    async with desk.transaction(caller) as tx:
        before: Application = found(await tx.applications.get(caller.tenant_id, client_id), "application")
        await check_may_change(tx, caller, before)
        if not before.keys:
            raise Conflict("this application has no keys by value; change its auth_method, jwks or jwks_uri")
        if len(before.keys) >= MAX_KEYS:
            raise Invalid(f"an application has at most {MAX_KEYS} keys: remove one first", field="jwk")
        if any(known.kid == key.kid for known in before.keys):
            raise Conflict(f"there is a key {key.kid!r} already; give the new one another kid")
        after = replace(before, keys=(*before.keys, key), version=before.version + 1)
        await tx.applications.replace(after)
        record_keys(tx, desk, caller, before, after)
    return after


async def remove_client_key(desk: Desk, caller: Caller, client_id: str, kid: str) -> Application:
    """The key is rejected as soon as this returns. The last key cannot be removed."""
    async with desk.store.transaction() as tx:
        before: Application = found(await tx.applications.get(caller.tenant_id, client_id), "application")
        await check_may_change(tx, caller, before)
        rest = tuple(key for key in before.keys if key.kid != kid)
        if len(rest) == len(before.keys):
            raise NotFound("there is no such key")
        if not rest:
            raise Conflict("this is the last key: add its successor first, or disable the application")
        after = replace(before, keys=rest, version=before.version + 1)
        await tx.applications.replace(after)
        record_keys(tx, desk, caller, before, after)
    return after


def record_keys(tx: AuditRecorder, desk: Desk, caller: Caller, before: Application, after: Application) -> None:
    """One event for each added or removed key; both for a key that was replaced under its kid."""
    said = desk.said(caller)
    old, new = ({key.kid: key.jwk for key in each.keys} for each in (before, after))
    for kid, jwk in old.items():
        if new.get(kid) != jwk:
            tx.record(caller.tenant_id, ClientKeyRemoved(client_id=after.client_id, kid=kid, **said))
    for kid, jwk in new.items():
        if old.get(kid) != jwk:
            event = ClientKeyAdded(client_id=after.client_id, kid=kid, algorithm=jwk["alg"], **said)
            tx.record(caller.tenant_id, event)
