"""The cache of a worker: tenants, APIs, roles, keys and the applications that were asked for.

The view follows the change feed. It is fresh when the feed was read successfully within the last
second; a service that answers "yes" from memory without writing (introspection) checks that first.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence

from ...jose import KeySet, PrivateKey
from ...jose.certificates import TrustAnchors
from ...jose.sealing import MasterKey
from ..protocol.standing import Standing, granted_scopes
from ..registry.certificates import trust_anchors
from ..registry.fleet.device_authority import DeviceAuthority
from ..registry.limits import limits_of
from ..registry.model import Api, Role, Tenant
from ..registry.profiles import PROFILES, Profile
from ..registry.rate_limit import RateLimit
from ..registry.rules import is_printable
from ..registry.trusted_issuer import TrustedIssuer
from .ports import Change, Reader, StorageUnavailable, TenantState
from .sealed_keys import open_keys

MAX_APPLICATIONS = 50_000
_NOBODY = "00000000-0000-4000-8000-000000000000"
FRESH = 1.0
FORGET_AFTER = 900.0


class TenantView:
    """One tenant in memory."""

    def __init__(self, state: TenantState, master: MasterKey) -> None:
        self.tenant: Tenant = state.tenant
        self.profile: Profile = PROFILES[state.tenant.profile]
        self.apis: dict[str, Api] = {api.api_id: api for api in state.apis}
        self.by_identifier: dict[str, Api] = {api.identifier: api for api in state.apis}
        self.roles: dict[str, Role] = {role.role_id: role for role in state.roles}
        self.issuers: dict[str, TrustedIssuer] = {each.issuer: each for each in state.issuers if each.enabled}
        self.group_limits: dict[str, RateLimit] = {
            group.group_id: group.rate_limit for group in state.groups if group.rate_limit is not None
        }
        self.authorities: list[DeviceAuthority] = state.authorities
        opened = open_keys(state.tenant.tenant_id, state.keys, master)
        self.signing: dict[str, PrivateKey] = {key.algorithm: own for key, own in opened if key.state == "active"}
        self.published = KeySet([own.public for _, own in opened])
        self.revoked: dict[str, int] = dict(state.revoked)
        self.standings: OrderedDict[str, Standing] = OrderedDict()
        self.derived: dict[str, object] = {}
        """What endpoints derive from this view and cache with it: metadata bytes, prepared signers."""

    def trusted(self, unverified_issuer: str) -> TrustedIssuer | None:
        """The trusted issuer with this `iss`, if it is enabled."""
        return self.issuers.get(unverified_issuer)

    def anchors(self) -> TrustAnchors:
        """The tenant's trust anchors, and its own device CAs; parsed once per view."""
        found = self.derived.get("anchors")
        if found is None:
            found = self.derived["anchors"] = trust_anchors([*self.tenant.anchors, *self.authorities])
        assert isinstance(found, TrustAnchors)
        return found

    def remember(self, standing: Standing) -> None:
        """Cache an application; evict the one that was added first when there are too many."""
        self.standings[standing.application.client_id] = standing
        if len(self.standings) > MAX_APPLICATIONS:
            self.standings.popitem(last=False)


class View:
    """The tenants that this worker was asked for, and the applications of each."""

    def __init__(
        self,
        reader: Reader,
        master: MasterKey,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._reader, self._master, self._clock, self._monotonic = (
            reader,
            master,
            clock,
            monotonic,
        )
        self.seq = 0
        self.listeners: list[Callable[[Change], None]] = []
        """Called with every change; the cache may still hold the old state then."""
        self._forgotten = 0
        self._fresh_at = float("-inf")
        self._tenants: dict[str, TenantView] = {}
        self._slugs: dict[str, str] = {}
        self._loading = asyncio.Lock()

    async def start(self) -> None:
        """Begin at the present end of the change feed. Raises `StorageUnavailable`."""
        self._fresh_at = self._monotonic()
        self.seq = await self._reader.newest_change()

    def knows(self, unverified_slug: str) -> bool:
        """Whether a tenant of that slug is cached; does not ask the database."""
        return unverified_slug in self._tenants

    async def tenant(self, slug: str) -> TenantView | None:
        """The tenant with this slug, from memory or storage."""
        found = self._tenants.get(slug)
        if found is not None:
            return found
        async with self._loading:
            found = self._tenants.get(slug)
            while found is None:
                forgotten = self._forgotten
                state = await self._reader.tenant(slug, self._clock())
                if state is None:
                    return None
                if forgotten == self._forgotten:  # nothing changed while we read
                    found = self._tenants[slug] = TenantView(state, self._master)
                    self._slugs[found.tenant.tenant_id] = slug
            return found

    async def standing(self, tenant: TenantView, unverified_client_id: str) -> Standing | None:
        """An application with what it may do; None when there is none of that id."""
        found = tenant.standings.get(unverified_client_id)
        if found is not None:
            return found
        if not storable(unverified_client_id):
            return None
        forgotten = self._forgotten
        application = await self._reader.application(tenant.tenant.tenant_id, unverified_client_id)
        if application is None:
            return None
        granted = granted_scopes(application, tenant.roles, tenant.apis)
        roles = tuple(tenant.roles[id_].name for id_ in application.role_ids if id_ in tenant.roles)
        limits = limits_of(tenant.tenant, application, tenant.group_limits.get(application.group_id or ""))
        standing = Standing(tenant.tenant, application, tenant.apis, granted, roles, limits)
        if forgotten == self._forgotten:
            tenant.remember(standing)
        return standing

    async def look_in_vain(self, tenant: TenantView) -> None:
        """Spend the look-up of an unknown application, after wrong credentials of one that is in memory.

        Otherwise the time of a rejection tells which client ids exist. Raises `StorageUnavailable`, as that look-up.
        """
        await self._reader.application(tenant.tenant.tenant_id, _NOBODY)

    async def opaque(self, tenant: TenantView, hash: str) -> bytes | None:
        """The claims of an opaque token."""
        return await self._reader.opaque(tenant.tenant.tenant_id, hash)

    def heed(self, changes: Sequence[Change]) -> None:
        """Drop what changed; `changes` are complete between `seq` and the last of them."""
        if changes and changes[-1].seq > self.seq:
            self.seq = changes[-1].seq
        self.forget(changes)

    def forget(self, changes: Sequence[Change]) -> None:
        """Drop what this worker has changed itself, at once.

        `seq` stays: the feed may have unread changes of other nodes before these. The feed will have all of them.
        """
        self._forgotten += len(changes)
        for change in changes:
            for listener in self.listeners:
                listener(change)
            slug = self._slugs.get(change.tenant_id)
            tenant = self._tenants.get(slug) if slug is not None else None
            if slug is None or tenant is None:
                continue
            if change.kind == "application":
                for client_id in change.ref.split("\n"):
                    tenant.standings.pop(client_id, None)
            elif change.kind == "revocation":
                continue
            elif change.kind == "revoked":
                token_id, _, expires_at = change.ref.partition(" ")
                tenant.revoked[token_id] = int(expires_at)
            else:
                del self._tenants[slug]

    async def refresh(self) -> None:
        """Read the feed to its end, in several reads if needed.

        After a long pause, or where the feed has a gap, the whole cache is dropped, because the feed is pruned. The
        view is as old as the beginning of the read.
        """
        began = self._monotonic()
        if began - self._fresh_at > FORGET_AFTER:
            await self._begin_anew()
        else:
            while changes := await self._reader.changes(self.seq):
                if changes[0].seq > self.seq + 1:
                    await self._begin_anew()
                else:
                    self.heed(changes)
        self._fresh_at = began

    async def _begin_anew(self) -> None:
        """Read the place in the feed first: records that are loaded afterwards cannot be older."""
        self.seq = await self._reader.newest_change()
        self._forgotten += 1
        self._tenants.clear()

    async def must_be_fresh(self) -> None:
        """Raises `StorageUnavailable` unless the feed was read within the last second."""
        if self._monotonic() - self._fresh_at > FRESH:
            await self.refresh()

    async def follow(self, interval: float = 0.2) -> None:
        """Read the feed for as long as the worker lives."""
        while True:
            await asyncio.sleep(interval)
            try:
                await self.refresh()
            except StorageUnavailable:
                continue

    def forget_expired(self, now: float) -> None:
        """Drop the revocation marks of tokens that have expired."""
        for tenant in self._tenants.values():
            for token_id in [t for t, expires_at in tenant.revoked.items() if expires_at <= now]:
                del tenant.revoked[token_id]

    @property
    def fresh(self) -> bool:
        """Whether the feed was read within the last second; for the readiness check."""
        return self._monotonic() - self._fresh_at <= FRESH * 2


def storable(unverified_text: str) -> bool:
    """Whether the text can be a parameter of a query: no NUL, no lone surrogates, not longer than any id."""
    return len(unverified_text) <= 255 and is_printable(unverified_text)
