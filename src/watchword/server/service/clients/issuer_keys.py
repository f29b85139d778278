"""Find the keys of trusted issuers: given by value, or fetched from `jwks_uri` or by OpenID discovery."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from ...registry.issuers import NO_BUNDLE, Bundle, discovered, discovery_uri, fetched_bundle, given_bundle
from ...registry.trusted_issuer import TrustedIssuer
from .fetched_keys import Fetch, FetchedKeys

MAX_ISSUERS = 1_000


class IssuerKeys:
    """One object per worker. A changed issuer record gets a new cache entry."""

    def __init__(self, fetch: Fetch, clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._given: OrderedDict[tuple[str, str], tuple[int, Bundle]] = OrderedDict()
        self._remote = FetchedKeys(NO_BUNDLE, clock)

    async def of(self, issuer: TrustedIssuer, unverified_kid: str | None = None) -> Bundle:
        """Empty when no keys can be fetched. Raises nothing: while the issuer is down, its tokens are rejected."""
        if issuer.keys or issuer.authorities:
            return self._by_value(issuer)

        async def ask() -> Bundle:
            uri = issuer.jwks_uri
            if uri is None:
                uri = discovered(await self._fetch(discovery_uri(issuer), issuer.tenant_id), issuer)
            return await asyncio.to_thread(fetched_bundle, await self._fetch(uri, issuer.tenant_id), issuer)

        place = (issuer.tenant_id, issuer.issuer_id, str(issuer.version))
        return await self._remote.get(
            place, ask, lambda bundle: unverified_kid is not None and unverified_kid not in bundle.keys
        )

    def _by_value(self, issuer: TrustedIssuer) -> Bundle:
        place = (issuer.tenant_id, issuer.issuer_id)
        known = self._given.get(place)
        if known is None or known[0] != issuer.version:
            known = self._given[place] = issuer.version, given_bundle(issuer)
            if len(self._given) > MAX_ISSUERS:
                self._given.popitem(last=False)
        return known[1]
