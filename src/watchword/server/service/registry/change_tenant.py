"""Change a tenant's settings, from the default tenant."""

from __future__ import annotations

from collections.abc import AsyncIterator

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from ...audit.events import TenantUpdated
from ...registry.errors import Conflict, Invalid
from ...registry.model import Application, ProfileName, Tenant, TransactionTokens
from ...registry.ports import RegistryReads
from ...registry.profiles import PROFILES, Profile, api_gap, application_gap
from ...registry.rate_limit import RateLimit, check_rate_limit
from ...registry.rules import check_transaction_tokens
from ..desk import EVERYTHING, Caller, Desk, apis_of, audited_change, changed_fields, check_version, found
from ..ports import Transaction
from .change_application import given
from .create_tenant import DEFAULT

_PAGE = 1_000
MAX_NAMED = 20
"""The most applications and APIs that a refusal names."""


class TenantChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields that can be changed; absent fields keep their value (RFC 7396)."""

    profile: ProfileName | UnsetType = UNSET
    transaction_tokens: TransactionTokens | UnsetType | None = UNSET
    rate_limit: RateLimit | UnsetType | None = UNSET
    several_apis: bool | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


async def update_tenant(
    desk: Desk, caller: Caller, slug: str, change: TenantChange, expected: int | None = None
) -> Tenant:
    """Recorded in both tenants' audit logs; the caller's client id only in its own tenant's log.

    Raises:
        NotFound, VersionMismatch, Invalid.
        Conflict: a profile under which an application would stop working; names them and says what each lacks.
            A trust domain that another tenant serves.
    """
    async with desk.store.transaction() as tx:
        before: Tenant = found(await tx.tenants.find("", slug), "tenant")
        check_version(before, expected)
        after = replace(before, **given(change))
        fields = changed_fields(before, after)
        if not fields:
            return before
        if not after.enabled and after.slug == DEFAULT:
            raise Invalid("the default tenant administers the others and stays enabled", field="enabled")
        check_rate_limit(after.rate_limit, "rate_limit")
        if "profile" in fields:
            await _check_profile(tx, after)
        if after.transaction_tokens is not None and "transaction_tokens" in fields:
            check_transaction_tokens(after.transaction_tokens)
            await _check_trust_domain(tx, after, after.transaction_tokens.trust_domain)
        after = replace(after, version=before.version + 1)
        await tx.tenants.replace(after)
        said, told = desk.said(caller), audited_change(before, after)
        tx.record(caller.tenant_id, TenantUpdated(slug=slug, **told, **said))
        if after.tenant_id != caller.tenant_id:
            unnamed = {"at": said["at"], "request_id": caller.request_id}
            tx.record(after.tenant_id, TenantUpdated(slug=slug, **told, **unnamed))
    return after


async def _check_trust_domain(tx: Transaction, tenant: Tenant, trust_domain: str) -> None:
    """A trust domain has exactly one token service (draft-ietf-oauth-transaction-tokens-10 section 10)."""
    for other in await tx.tenants.page("", None, EVERYTHING):
        taken = other.transaction_tokens
        if other.tenant_id != tenant.tenant_id and taken is not None and taken.trust_domain == trust_domain:
            raise Conflict(
                "another tenant issues transaction tokens for this trust domain, which has one token service only",
                field="transaction_tokens.trust_domain",
            )


async def _check_profile(tx: Transaction, tenant: Tenant) -> None:
    named: list[str] = []
    async for gap in gaps(tx, tenant.tenant_id, PROFILES[tenant.profile]):
        if len(named) == MAX_NAMED:
            named.append("and more")
            break
        named.append(gap)
    if named:
        raise Conflict(
            f"under the profile {tenant.profile} these would stop working; change, disable or delete them first: "
            + "; ".join(named),
            field="profile",
        )


async def gaps(tx: RegistryReads, tenant_id: str, profile: Profile) -> AsyncIterator[str]:
    """Each enabled API and application that would break a profile's rules, with the reason."""
    for api in (await apis_of(tx, tenant_id)).values():
        gap = api_gap(profile, api) if api.enabled else ""
        if gap:
            yield f"API {api.identifier} ({gap})"
    after: tuple[str, str] | None = None
    while True:
        page: list[Application] = list(await tx.applications.page(tenant_id, after, _PAGE))
        for application in page:
            gap = application_gap(profile, application) if application.enabled else ""
            if gap:
                yield f"application {application.name} {application.client_id} ({gap})"
        if len(page) < _PAGE:
            return
        after = page[-1].name, page[-1].client_id
