"""`Verifier`: verifies the access tokens that callers of an API send."""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from watchword.jose import JoseError, KeySet, decode_unverified
from watchword.jose.certificates import certificate_thumbprint
from watchword.jose.cwt import looks_like_cwt, read_unverified_cwt
from watchword.jose.encoding import json_object
from watchword.resource.claims import Claims
from watchword.resource.dpop import Dpop, Possession, ShownProof
from watchword.resource.errors import Forbidden, InsufficientScope, TokenInvalid
from watchword.resource.fetched.fetch import USUAL, Fetch
from watchword.resource.fetched.introspection import Introspector
from watchword.resource.issuer import Common, Issuer, KeyMissing, TrustedIssuer
from watchword.resource.leeway import checked_leeway

if TYPE_CHECKING:
    from watchword.resource.fetched.status_list import StatusSource

Rule = Callable[[Claims], None]
_Cache = OrderedDict[str, tuple[float, Claims]]


class Verifier:
    """Verifies access tokens for one API (RFC 9068 section 4): JWTs offline, except for fetching the keys.

    Args:
        issuer: the trusted issuer, or a list of all of them. A text is compared exactly with ``iss``; an `Issuer` has
            settings of its own: introspection, revocations, status lists, CWTs, algorithms.
        audience: this API's name in ``aud``.
        dpop: how proofs are checked for tokens that are bound to a key (RFC 9449): see `watchword.resource.dpop.Dpop`.
            None accepts them with proofs for the audience's own address, and does not advertise DPoP.
        require_bound: refuses bearer tokens: a token must be bound to a DPoP key or to a certificate.
        rules: called in turn with the `Claims` of every good token, also of a remembered one. Each raises
            `Forbidden` to refuse. Any other exception reaches your server, and the request is not served.
        leeway: seconds for which a token is accepted after its ``exp``; ``nbf`` and ``iat`` may always be 30 s ahead.
            More than 60 s gives a warning.
        fetch: how keys and other documents are fetched: see `watchword.resource.fetched.fetch.Fetch`.
        now: Unix seconds.
        cache_size: how many verified tokens are remembered; 0 remembers none.

    Raises:
        ValueError: a negative or infinite leeway, no issuer, the same issuer twice, an address that is not https, a
            feed of another issuer or audience, or introspection at two issuers: an opaque token names no issuer, and
            it must never be sent to an issuer that did not issue it.
    """

    def __init__(
        self,
        issuer: str | Issuer | Sequence[str | Issuer],
        *,
        audience: str,
        dpop: Dpop | None = None,
        require_bound: bool = False,
        rules: Sequence[Rule] = (),
        leeway: float = 0,
        fetch: Fetch = USUAL,
        now: Callable[[], float] = time.time,
        cache_size: int = 10_000,
    ) -> None:
        given = [issuer] if isinstance(issuer, str | Issuer) else list(issuer)
        listed = [one if isinstance(one, Issuer) else Issuer(one) for one in given]
        common = Common(audience, checked_leeway(leeway), now, fetch)
        self._trusted = {one.issuer: TrustedIssuer(one, common, self._clear) for one in listed}
        if not listed or len(self._trusted) != len(listed):
            raise ValueError("name each trusted issuer once, and at least one")
        self._opaque = _asked_about_opaque(self._trusted.values())
        _check_feeds(listed, audience)
        self.issuers, self.issuer, self.audience = tuple(self._trusted), listed[0].issuer, audience
        self._rules, self._leeway, self._now, self._cache_size = tuple(rules), leeway, now, cache_size
        self.dpop, self.require_bound = dpop, require_bound
        self.possession = Possession(dpop, audience, now)
        self._listed = any(one.status_lists is not None for one in listed)
        told = self._listed or any(one.revocations is not None for one in listed)
        self._plain = not rules and not require_bound and not told
        self._cache: _Cache = OrderedDict()

    def verify(
        self,
        token: str,
        scope: str | None = None,
        *,
        role: str | None = None,
        certificate: bytes | None = None,
        proof: ShownProof | None = None,
    ) -> Claims:
        """The claims of a good token that has ``scope`` (one, or several with spaces: all are needed) and ``role``.

        ``certificate`` is the caller's TLS client certificate, DER: a token that is bound to a certificate (RFC 8705
        section 3) is accepted with that one only. ``proof`` is given when the token came with the scheme DPoP: the
        token must be bound to a key, and the proof must be for this request (RFC 9449 section 7).

        Raises:
            TokenInvalid, ProofInvalid, Forbidden, Unavailable and those of their kind: see `watchword.resource.errors`.
        """
        found = self._cache.get(token)
        claims = self._verify_new(token) if found is None or self._now() >= found[0] else found[1]
        if claims.bound_to:
            check_certificate(claims, certificate)
        if claims.dpop_key or proof is not None:
            self.possession.check(claims, token, proof)
        if self._plain and role is None and (scope is None or scope in claims.scopes):
            return claims
        if self._listed and (statuses := self._statuses(token, claims)) is not None:
            statuses.check(claims)
        return self._permitted(claims, scope, role)

    async def averify(
        self,
        token: str,
        scope: str | None = None,
        *,
        role: str | None = None,
        certificate: bytes | None = None,
        proof: ShownProof | None = None,
    ) -> Claims:
        """`verify`, for an event loop: fetches do not block it."""
        found = self._cache.get(token)
        claims = await self._averify_new(token) if found is None or self._now() >= found[0] else found[1]
        if claims.bound_to:
            check_certificate(claims, certificate)
        if claims.dpop_key or proof is not None:
            self.possession.check(claims, token, proof)
        if self._plain and role is None and (scope is None or scope in claims.scopes):
            return claims
        if self._listed and (statuses := self._statuses(token, claims)) is not None:
            await statuses.acheck(claims)
        return self._permitted(claims, scope, role)

    # -- a token that is not in the cache --------------------------------------------------------

    def _verify_new(self, unverified_token: str) -> Claims:
        if self._opaque is not None and unverified_token.count(".") != 2:
            return self._introspected(self._opaque, unverified_token, _asked(self._opaque).ask(unverified_token))
        trusted = self._named(unverified_token)
        keys = trusted.keys.current()
        try:
            claims = self._judge(trusted, unverified_token, keys)
        except KeyMissing as missing:
            claims = self._judge_again(trusted, unverified_token, trusted.keys.after_unknown(keys), missing)
        if not _asks_about_jwts(trusted):
            return claims
        return self._introspected(trusted, unverified_token, _asked(trusted).ask(unverified_token))

    async def _averify_new(self, unverified_token: str) -> Claims:
        if self._opaque is not None and unverified_token.count(".") != 2:
            answer = await _asked(self._opaque).aask(unverified_token)
            return self._introspected(self._opaque, unverified_token, answer)
        trusted = self._named(unverified_token)
        keys = await trusted.keys.acurrent()
        try:
            claims = self._judge(trusted, unverified_token, keys)
        except KeyMissing as missing:
            newer = await trusted.keys.aafter_unknown(keys)
            claims = self._judge_again(trusted, unverified_token, newer, missing)
        if not _asks_about_jwts(trusted):
            return claims
        return self._introspected(trusted, unverified_token, await _asked(trusted).aask(unverified_token))

    def _named(self, unverified_token: str) -> TrustedIssuer:
        """The trusted issuer that the token names in ``iss``; with a single issuer, that one.

        The unverified ``iss`` only chooses from the list of trusted issuers and has no other effect.
        """
        if len(self._trusted) == 1:
            return self._trusted[self.issuer]
        try:
            unverified_issuer = _unverified_claims(unverified_token).get("iss")
        except JoseError as error:
            raise TokenInvalid(error.rule) from None
        found = self._trusted.get(unverified_issuer) if isinstance(unverified_issuer, str) else None
        if found is None:
            raise TokenInvalid(f"issuer is {str(unverified_issuer)[:200]!r}, trusted are {', '.join(self.issuers)}")
        return found

    def _judge_again(
        self, trusted: TrustedIssuer, unverified_token: str, newer: KeySet | None, missing: KeyMissing
    ) -> Claims:
        if newer is None:
            raise TokenInvalid(missing.rule) from None
        return self._judge(trusted, unverified_token, newer)

    def _judge(self, trusted: TrustedIssuer, unverified_token: str, keys: KeySet) -> Claims:
        """Verify with this key set; a good token is remembered for this set only.

        The order matters: the source replaces its set before it clears the cache. So a cache that was read before
        ``keys`` was found current never holds a token that an older set verified.
        """
        cache = self._cache
        current = trusted.keys.is_current(keys)
        claims = trusted.judge(unverified_token, keys)
        if current and not _asks_about_jwts(trusted):
            self._remember(cache, unverified_token, claims, trusted.keys.trusted_until(self._now()))
        return claims

    def _introspected(self, trusted: TrustedIssuer, unverified_token: str, answer: dict[str, object]) -> Claims:
        claims = trusted.judge_answer(answer)
        assert trusted.settings.introspection is not None
        self._remember(self._cache, unverified_token, claims, self._now() + trusted.settings.introspection.remember)
        return claims

    def _remember(self, cache: _Cache, token: str, claims: Claims, until: float) -> None:
        if self._cache_size > 0:
            cache[token] = (min(until, claims.expires_at + self._leeway), claims)
            if len(cache) > self._cache_size:
                cache.popitem(last=False)

    def _clear(self) -> None:
        self._cache = OrderedDict()

    # -- a good token ----------------------------------------------------------------------------

    def _statuses(self, token: str, claims: Claims) -> StatusSource | None:
        """The status lists of the token's issuer; None for an opaque token, which was introspected."""
        if self._opaque is not None and token.count(".") != 2:
            return None
        return self._trusted[claims.raw["iss"]].statuses

    def _permitted(self, claims: Claims, scope: str | None, role: str | None) -> Claims:
        """Check revocation before scope: the holder of a revoked token needs a new token, not one with more scopes."""
        if self.require_bound and not claims.dpop_key and not claims.bound_to:
            raise TokenInvalid("the token is bound to nothing, and this API takes only tokens that are")
        feed = self._trusted[claims.raw["iss"]].settings.revocations
        if feed is not None:
            feed.check(claims)
        if scope is not None and not claims.scopes.issuperset(scope.split()):
            raise InsufficientScope(scope)
        if role is not None and role not in claims.roles:
            raise Forbidden(f"the role {role} is needed; {claims.client_id} has {sorted(claims.roles)}")
        for rule in self._rules:
            rule(claims)
        return claims


def _asked_about_opaque(trusted: Collection[TrustedIssuer]) -> TrustedIssuer | None:
    """The one issuer that is asked about opaque tokens. Raises ValueError when it could be the wrong one."""
    asked = [one for one in trusted if one.introspector is not None]
    if asked and any(one.settings.cwt for one in trusted):
        raise ValueError("a token without dots would be a CWT or opaque: give cwt or introspection, not both")
    if len(asked) > 1:
        raise ValueError("an opaque token names no issuer: only one of them can have introspection")
    return asked[0] if asked else None


def _check_feeds(listed: Collection[Issuer], audience: str) -> None:
    feeds = [(one.issuer, one.revocations) for one in listed if one.revocations is not None]
    if any((feed.issuer, feed.audience) != (name, audience) for name, feed in feeds):
        raise ValueError("a feed of revocations is of the same issuer and for the same audience as its Verifier")


def _unverified_claims(unverified_token: str) -> dict[str, Any]:
    if looks_like_cwt(unverified_token):
        return read_unverified_cwt(unverified_token)[1]
    return json_object(decode_unverified(unverified_token).unverified_payload)


def check_certificate(claims: Claims, certificate: bytes | None) -> None:
    """Check that the caller has the certificate that its token is bound to. Raises `TokenInvalid`."""
    if certificate is None:
        raise TokenInvalid("the token is bound to a certificate (cnf), and the request shows none")
    if not hmac.compare_digest(certificate_thumbprint(certificate), claims.bound_to):
        raise TokenInvalid("the token is bound to another certificate (cnf)")


def _asked(trusted: TrustedIssuer) -> Introspector:
    assert trusted.introspector is not None
    return trusted.introspector


def _asks_about_jwts(trusted: TrustedIssuer) -> bool:
    return trusted.settings.introspection is not None and trusted.settings.introspection.every_token
