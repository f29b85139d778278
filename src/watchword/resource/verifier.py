"""`Verifier`: what an API asks whether a token is good."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final

from watchword.jose import (
    ACCESS_TOKEN_ALGORITHMS,
    Algorithm,
    JoseError,
    KeySet,
    UnknownKey,
    check_claims,
    verify_signature,
)
from watchword.resource.claims import Claims, read_claims
from watchword.resource.errors import InsufficientScope, TokenInvalid
from watchword.resource.keys import KeySource

if TYPE_CHECKING:
    from watchword.resource.fetch import Transport

DAY: Final = 86_400.0
# An issuer whose clock is a little in front must not have its fresh tokens refused; an expiry is still exact.
CLOCKS_APART: Final = 30.0

_Cache = OrderedDict[str, tuple[float, Claims]]


class Verifier:
    """Verifies access tokens of one issuer for one API (RFC 9068 section 4), offline but for the keys.

    Args:
        issuer: compared exactly with ``iss``. ``audience``: this API's name in ``aud``.
        jwks_uri: where the keys are; None finds it in the issuer's metadata.
        algorithms, typ: what is accepted, and nothing else.
        leeway: seconds that a token outlives ``exp``; ``nbf`` and ``iat`` may always be 30 s ahead.
        now: Unix seconds.
        cache_size: verified tokens that are remembered; 0 turns that off.
        timeout, cool_down, outage: see `watchword.resource.keys.KeySource`.
        transport: replaces the network (an httpx transport).

    Does not check revocation: a JWT that was revoked is good until it expires.
    """

    def __init__(
        self,
        issuer: str,
        *,
        audience: str,
        jwks_uri: str | None = None,
        algorithms: Collection[Algorithm] = ACCESS_TOKEN_ALGORITHMS,
        leeway: float = 0,
        typ: Collection[str] = frozenset({"at+jwt"}),
        now: Callable[[], float] = time.time,
        transport: Transport | None = None,
        cache_size: int = 10_000,
        timeout: float = 5.0,
        cool_down: float = 30.0,
        outage: float = DAY,
        insecure_http: bool = False,
    ) -> None:
        self.issuer, self.audience = issuer, audience
        self._algorithms, self._typ = frozenset(algorithms), frozenset(typ)
        self._leeway, self._now, self._cache_size = leeway, now, cache_size
        self._ahead = max(leeway, CLOCKS_APART)
        self._source = KeySource(
            issuer,
            jwks_uri,
            now=now,
            timeout=timeout,
            cool_down=cool_down,
            outage=outage,
            insecure_http=insecure_http,
            transport=transport,
            changed=self._clear,
        )
        self._cache: _Cache = OrderedDict()

    def verify(self, token: str, scope: str | None = None) -> Claims:
        """The claims of a good token that has ``scope`` (one, or several with spaces: all are needed).

        Raises:
            TokenInvalid, InsufficientScope, KeysUnavailable: see `watchword.resource.errors`.
        """
        found = self._cache.get(token)
        if found is None or self._now() >= found[0]:
            return _scoped(self._verify_new(token), scope)
        claims = found[1]
        if scope is None or scope in claims.scopes:
            return claims
        return _scoped(claims, scope)

    async def averify(self, token: str, scope: str | None = None) -> Claims:
        """`verify`, for an event loop: the keys are fetched without blocking it."""
        found = self._cache.get(token)
        if found is None or self._now() >= found[0]:
            return _scoped(await self._averify_new(token), scope)
        claims = found[1]
        if scope is None or scope in claims.scopes:
            return claims
        return _scoped(claims, scope)

    def _verify_new(self, unverified_token: str) -> Claims:
        keys = self._source.current()
        try:
            return self._judge(unverified_token, keys)
        except _KeyMissing as missing:
            newer = self._source.after_unknown(keys)
            return self._judge_again(unverified_token, newer, missing)

    async def _averify_new(self, unverified_token: str) -> Claims:
        keys = await self._source.acurrent()
        try:
            return self._judge(unverified_token, keys)
        except _KeyMissing as missing:
            newer = await self._source.aafter_unknown(keys)
            return self._judge_again(unverified_token, newer, missing)

    def _judge_again(self, unverified_token: str, newer: KeySet | None, missing: _KeyMissing) -> Claims:
        if newer is None:
            raise TokenInvalid(missing.rule) from None
        return self._judge(unverified_token, newer)

    def _judge(self, unverified_token: str, keys: KeySet) -> Claims:
        """Signature, then claims, with this set; what passes is remembered for this set only."""
        cache = self._cache_for(keys)
        now = self._now()
        try:
            verified = verify_signature(unverified_token, keys, algorithms=self._algorithms, typ=self._typ)
            check_claims(
                verified.claims,
                issuer=self.issuer,
                audience=self.audience,
                now=now,
                leeway=self._leeway,
                ahead=self._ahead,
            )
        except UnknownKey as error:
            raise _KeyMissing(str(error)) from None
        except JoseError as error:
            raise TokenInvalid(str(error)) from None
        claims = read_claims(verified.claims)
        if self._cache_size > 0:
            cache[unverified_token] = (claims.expires_at + self._leeway, claims)
            if len(cache) > self._cache_size:
                cache.popitem(last=False)
        return claims

    def _cache_for(self, keys: KeySet) -> _Cache:
        """The cache that goes with ``keys``, or one that nobody reads when the set has changed meanwhile.

        The order matters: the source changes its set before it clears the cache, so a cache that was
        taken before ``keys`` was found current never holds what an older set passed.
        """
        cache = self._cache
        return cache if self._source.is_current(keys) else OrderedDict()

    def _clear(self) -> None:
        self._cache = OrderedDict()


class _KeyMissing(TokenInvalid):
    """No key of that id: a new set may have it."""


def _scoped(claims: Claims, scope: str | None) -> Claims:
    if scope is not None and not claims.scopes.issuperset(scope.split()):
        raise InsufficientScope(scope)
    return claims
