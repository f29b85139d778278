"""Add, change and remove trusted issuers, with whose tokens applications can authenticate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from ...audit.events import IssuerDistrusted, IssuerTrusted, TrustedIssuerUpdated
from ...registry.errors import Conflict, Invalid
from ...registry.issuers import PRESETS, check_issuer, read_keys
from ...registry.model import Application
from ...registry.trusted_issuer import IssuerKind, TrustedIssuer
from ..desk import Caller, Desk, audited_change, changed_fields, check_version, found
from .change_application import given
from .rights import check_may_speak_for

MAX_ISSUERS = 1_000


class NewIssuer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of a new issuer; `kind` chooses the defaults, and the claims that identity rules have to fix.

    `jwks` (a JWK set, or a SPIFFE bundle) or `jwks_uri` says where its keys are; with neither, its discovery document.
    """

    issuer: str
    kind: IssuerKind = "oidc"
    jwks: dict[str, Any] | None = None
    jwks_uri: str | None = None
    algorithms: tuple[str, ...] | None = None
    audiences: tuple[str, ...] = ()
    max_life: int | None = None
    single_use: bool | None = None


class IssuerChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields that can be changed; absent fields keep their value. `jwks` and `jwks_uri` replace each other."""

    enabled: bool | UnsetType = UNSET
    jwks: dict[str, Any] | UnsetType = UNSET
    jwks_uri: str | UnsetType | None = UNSET
    algorithms: tuple[str, ...] | UnsetType = UNSET
    audiences: tuple[str, ...] | UnsetType = UNSET
    max_life: int | UnsetType = UNSET
    single_use: bool | UnsetType = UNSET


async def trust_issuer(desk: Desk, caller: Caller, wanted: NewIssuer) -> TrustedIssuer:
    """Trusted as soon as this returns; applications need identity rules to use it. Raises `Invalid`, `Conflict`."""
    preset = PRESETS[wanted.kind]
    keys, authorities = read_keys(wanted.jwks) if wanted.jwks is not None else ((), ())
    issuer = TrustedIssuer(
        tenant_id=caller.tenant_id,
        issuer_id=desk.new_id(),
        issuer=wanted.issuer,
        kind=wanted.kind,
        jwks_uri=wanted.jwks_uri,
        keys=keys,
        authorities=authorities,
        algorithms=preset.algorithms if wanted.algorithms is None else wanted.algorithms,
        audiences=wanted.audiences,
        max_life=preset.max_life if wanted.max_life is None else wanted.max_life,
        single_use=preset.single_use if wanted.single_use is None else wanted.single_use,
        created_at=int(desk.clock()),
    )
    check_issuer(issuer)
    await _check_address(desk, issuer)
    async with desk.transaction(caller) as tx:
        if await tx.issuers.find(caller.tenant_id, issuer.issuer) is not None:
            raise Conflict(f"{issuer.issuer} is trusted already; change what is believed of it")
        if len(await tx.issuers.page(caller.tenant_id, None, MAX_ISSUERS)) >= MAX_ISSUERS:
            raise Invalid(f"a tenant trusts at most {MAX_ISSUERS} issuers: remove one first", field="issuer")
        await tx.issuers.add(issuer)
        event = IssuerTrusted(issuer_id=issuer.issuer_id, issuer=issuer.issuer, **desk.said(caller))
        tx.record(caller.tenant_id, event)
    return issuer


async def update_issuer(
    desk: Desk, caller: Caller, issuer_id: str, change: IssuerChange, expected: int | None = None
) -> TrustedIssuer:
    """Checked on its final state. Raises `NotFound`, `VersionMismatch`, `Invalid`."""
    async with desk.store.snapshot() as look:
        seen: TrustedIssuer = found(await look.issuers.get(caller.tenant_id, issuer_id), "trusted issuer")
    if change.jwks_uri is not UNSET:
        await _check_address(desk, _changed(seen, change))  # outside of the transaction, because it may take seconds
    async with desk.store.transaction() as tx:
        before: TrustedIssuer = found(await tx.issuers.get(caller.tenant_id, issuer_id), "trusted issuer")
        check_version(before, expected)
        after = _changed(before, change)
        fields = changed_fields(before, after)
        if not fields:
            return before
        check_issuer(after)
        await check_may_speak_for(tx, caller, _believes(issuer_id))
        after = replace(after, version=before.version + 1)
        await tx.issuers.replace(after)
        event = TrustedIssuerUpdated(issuer_id=issuer_id, **audited_change(before, after), **desk.said(caller))
        tx.record(caller.tenant_id, event)
    return after


async def distrust_issuer(desk: Desk, caller: Caller, issuer_id: str, expected: int | None = None) -> None:
    """Stop trusting an issuer. Rules about it never match again, even if the issuer is added again."""
    async with desk.store.transaction() as tx:
        before: TrustedIssuer = found(await tx.issuers.get(caller.tenant_id, issuer_id), "trusted issuer")
        check_version(before, expected)
        await tx.issuers.remove(replace(before, enabled=False, version=before.version + 1))
        event = IssuerDistrusted(issuer_id=issuer_id, issuer=before.issuer, **desk.said(caller))
        tx.record(caller.tenant_id, event)


def _believes(issuer_id: str) -> Callable[[Application], bool]:
    """The applications with a rule about this issuer."""
    return lambda application: any(rule.issuer_id == issuer_id for rule in application.identities)


def _changed(before: TrustedIssuer, change: IssuerChange) -> TrustedIssuer:
    fields = given(change)
    if "jwks" in fields:
        fields["keys"], fields["authorities"] = read_keys(fields.pop("jwks"))
        fields.setdefault("jwks_uri", None)
    elif "jwks_uri" in fields:
        fields["keys"], fields["authorities"] = (), ()
    return replace(before, **fields)


async def _check_address(desk: Desk, issuer: TrustedIssuer) -> None:
    """Check the address of its keys; not needed with keys given by value."""
    if issuer.keys or issuer.authorities:
        return
    try:
        await desk.check_address(issuer.jwks_uri or issuer.issuer, issuer.tenant_id)
    except Invalid as error:
        if issuer.jwks_uri is not None:
            raise
        raise Invalid(
            f"its discovery document cannot be fetched: {error.public}; or give its keys by value, as jwks",
            field="issuer",
        ) from None
