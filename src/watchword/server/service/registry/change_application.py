"""Update, disable and delete applications, and revoke all tokens of one."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from ...audit.events import ApplicationDeleted, ApplicationUpdated, TokensCutOff
from ...registry.application_rules import Surroundings, check_application
from ...registry.certificates import check_anchor
from ...registry.client_keys import read_keys
from ...registry.errors import Conflict
from ...registry.model import KEY_METHODS, Application, AuthMethod, CertificateName, Grant, Kind, SigningAlgorithm
from ...registry.rate_limit import RateLimit
from ...registry.revocation import of_application
from ..desk import Caller, Desk, audited_change, changed_fields, check_version, found, surroundings_of
from ..ports import Transaction
from .client_key_changes import record_keys
from .identity_changes import record_identities
from .membership import leave, settle
from .rights import check_may_change

_ARMS = {
    "enabled",
    "grants",
    "role_ids",
    "auth_method",
    "grant_types",
    "keys",
    "jwks_uri",
    "secrets",
    "tls_client_auth",
    "require_bound",
    "require_dpop",
}
_ONE_SECRET = {"client_secret_basic", "client_secret_post"}
_NOT_ITSELF = "an administrator cannot disable, delete or disarm itself; use another one's token for that"


class ApplicationChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields that can be changed; absent fields keep their value (RFC 7396)."""

    name: str | UnsetType = UNSET
    kind: Kind | UnsetType = UNSET
    description: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    auth_method: AuthMethod | UnsetType = UNSET
    grant_types: tuple[str, ...] | UnsetType = UNSET
    grants: tuple[Grant, ...] | UnsetType = UNSET
    role_ids: tuple[str, ...] | UnsetType = UNSET
    default_api_id: str | UnsetType | None = UNSET
    labels: dict[str, str] | UnsetType = UNSET
    jwks: dict[str, Any] | UnsetType = UNSET
    jwks_uri: str | UnsetType = UNSET
    tls_client_auth: CertificateName | UnsetType = UNSET
    require_bound: bool | UnsetType = UNSET
    introspection_signed_response_alg: SigningAlgorithm | UnsetType | None = UNSET
    details_types: tuple[str, ...] | UnsetType = UNSET
    exchange_from: tuple[str, ...] | UnsetType = UNSET
    may_act: str | UnsetType | None = UNSET
    require_dpop: bool | UnsetType = UNSET
    group_id: str | UnsetType | None = UNSET
    serial: str | UnsetType | None = UNSET
    rate_limit: RateLimit | UnsetType | None = UNSET


def given(change: Struct) -> dict[str, Any]:
    """The fields that are present in a change."""
    return {name: value for name in change.__struct_fields__ if (value := getattr(change, name)) is not UNSET}


async def update_application(
    desk: Desk,
    caller: Caller,
    client_id: str,
    change: ApplicationChange,
    expected: int | None = None,
) -> Application:
    """Checked on its final state. Raises `NotFound`, `VersionMismatch`, `Invalid`."""
    if isinstance(change.jwks_uri, str):
        await desk.check_address(change.jwks_uri, caller.tenant_id)
    async with desk.store.transaction() as tx:
        before: Application = found(await tx.applications.get(caller.tenant_id, client_id), "application")
        check_version(before, expected)
        around = await surroundings_of(tx, caller.tenant_id)
        after = changed_application(desk, caller, before, change, around)
        if after is before:
            return before
        await check_may_change(tx, caller, before, after)
        await settle(tx, before, after)
        await tx.applications.replace(after)
        record_change(tx, desk, caller, before, after)
        record_keys(tx, desk, caller, before, after)
        record_identities(tx, desk, caller, before, after)
    return after


def changed_application(
    desk: Desk, caller: Caller, before: Application, change: ApplicationChange, around: Surroundings
) -> Application:
    """The changed record; `before` itself when nothing changes. Raises `Invalid`, `Conflict`."""
    after = _changed(_still_there(before, around), change, int(desk.clock()))
    fields = changed_fields(before, after)
    if not fields:
        return before
    if before.client_id == caller.actor and _ARMS & set(fields):
        raise Conflict(_NOT_ITSELF)
    after = replace(after, version=before.version + 1)
    check_application(after, around)
    if "tls_client_auth" in fields:
        check_anchor(after.tls_client_auth, around.tenant.anchors)
    return after


def record_change(tx: Transaction, desk: Desk, caller: Caller, before: Application, after: Application) -> None:
    """Record the audit event, and announce to the APIs that it was enabled or disabled."""
    fields = changed_fields(before, after)
    if "enabled" in fields:
        tx.announce(caller.tenant_id, of_application(after, desk.clock()))
    told = audited_change(before, after)
    tx.record(caller.tenant_id, ApplicationUpdated(client_id=after.client_id, **told, **desk.said(caller)))


def _still_there(application: Application, around: Surroundings) -> Application:
    """The record without references to deleted APIs, scopes, roles and issuers, which must not block a change."""
    apis, roles, issuers = around.apis, around.roles, around.issuers
    return replace(
        application,
        grants=tuple(
            replace(grant, scopes=tuple(name for name in grant.scopes if name in apis[grant.api_id].scope_names()))
            for grant in application.grants
            if grant.api_id in apis
        ),
        role_ids=tuple(role_id for role_id in application.role_ids if role_id in roles),
        default_api_id=application.default_api_id if application.default_api_id in apis else None,
        exchange_from=tuple(api_id for api_id in application.exchange_from if api_id in apis),
        details_types=tuple(
            name
            for name in application.details_types
            if any(name == kind.name for api in apis.values() for kind in api.details_types)
        ),
        identities=tuple(rule for rule in application.identities if rule.issuer_id in issuers),
    )


def _changed(before: Application, change: ApplicationChange, at: int) -> Application:
    """Apply the change; a new authentication method removes the credentials of the old one."""
    fields = given(change)
    if "jwks" in fields:
        known = {key.kid: key for key in before.keys}
        read = read_keys(fields.pop("jwks"), at)
        fields["keys"] = tuple(known[k.kid] if k.kid in known and known[k.kid].jwk == k.jwk else k for k in read)
        fields.setdefault("jwks_uri", None)
    elif "jwks_uri" in fields:
        fields["keys"] = ()
    after = replace(before, **fields)
    if after.auth_method == before.auth_method or {after.auth_method, before.auth_method} <= _ONE_SECRET:
        return after
    if after.auth_method not in KEY_METHODS and not {"keys", "jwks_uri"} & fields.keys():
        after = replace(after, keys=(), jwks_uri=None)
    if after.auth_method != "tls_client_auth" and "tls_client_auth" not in fields:
        after = replace(after, tls_client_auth=None)
    return replace(after, secrets=(), identities=())


async def cut_off_tokens(desk: Desk, caller: Caller, client_id: str) -> Application:
    """Revoke all tokens issued to the application until now; later tokens are valid."""
    async with desk.store.transaction() as tx:
        before: Application = found(await tx.applications.get(caller.tenant_id, client_id), "application")
        await check_may_change(tx, caller, before)
        after = replace(before, not_before_ms=int(desk.clock() * 1000), version=before.version + 1)
        await tx.applications.replace(after)
        tx.announce(caller.tenant_id, of_application(after, desk.clock()))
        tx.record(caller.tenant_id, TokensCutOff(client_id=client_id, **desk.said(caller)))
    return after


async def delete_application(desk: Desk, caller: Caller, client_id: str, expected: int | None = None) -> None:
    """Its tokens become inactive; its client id is never reused."""
    async with desk.store.transaction() as tx:
        before: Application = found(await tx.applications.get(caller.tenant_id, client_id), "application")
        check_version(before, expected)
        await remove_application(desk, tx, caller, before)


async def remove_application(desk: Desk, tx: Transaction, caller: Caller, before: Application) -> None:
    """`delete_application` as a part of a larger change."""
    if before.client_id == caller.actor:
        raise Conflict(_NOT_ITSELF)
    await check_may_change(tx, caller, before)
    await retire_application(desk, tx, caller, before)


async def retire_application(desk: Desk, tx: Transaction, caller: Caller, before: Application) -> None:
    """`remove_application`, also for an application that deletes its own registration."""
    await leave(tx, before)
    after = replace(
        before,
        secrets=(),
        keys=(),
        identities=(),
        registration=None,
        deleted_at=int(desk.clock()),
        version=before.version + 1,
    )
    await tx.applications.remove(after)
    tx.announce(caller.tenant_id, of_application(after, desk.clock()))
    tx.record(
        caller.tenant_id,
        ApplicationDeleted(client_id=before.client_id, **desk.said(caller)),
    )
