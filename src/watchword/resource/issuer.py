"""One issuer that an API trusts: the settings for its tokens, and the verification of one token."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from watchword.jose import (
    ACCESS_TOKEN_ALGORITHMS,
    Algorithm,
    ClaimRefused,
    Gate,
    JoseError,
    KeySet,
    UnknownKey,
    check_claims,
    decode_unverified,
)
from watchword.jose.cwt import looks_like_cwt, verify_cwt
from watchword.resource.claims import Claims, read_claims
from watchword.resource.errors import TokenInvalid
from watchword.resource.fetched.fetch import Fetch
from watchword.resource.fetched.introspection import Introspection, Introspector
from watchword.resource.fetched.keys import KeySource
from watchword.resource.fetched.status_list import StatusLists, StatusSource

if TYPE_CHECKING:
    from watchword.resource.feed import RevocationFeed

# A new token must not be refused because the issuer's clock is a little ahead; an expiry is still exact.
CLOCKS_APART: Final = 30.0


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer (each tenant is one) and the settings for its tokens: ``Verifier(Issuer(url, cwt=True), ...)``.

    Args:
        issuer: compared exactly with ``iss``.
        jwks_uri: the URL of its key set; None discovers it from the issuer's metadata (RFC 8414).
        algorithms, typ: that its JWTs may have (RFC 8725 sections 3.1 and 3.11).
        introspection: asks the issuer about opaque tokens; None refuses them.
        revocations: the feed of its revocations, which the API starts; None accepts a revoked JWT until it expires.
        metadata_keys: keys that came another way than over the network. Only metadata that is signed by one of them
            (RFC 8414 section 2.1) is used.
        status_lists: looks up in the token's status list whether a JWT was revoked.
        cwt: accepts CWTs (RFC 8392) as well as JWTs: the tokens of APIs for small devices.
    """

    issuer: str
    jwks_uri: str | None = None
    algorithms: Collection[Algorithm] = ACCESS_TOKEN_ALGORITHMS
    typ: Collection[str] = frozenset({"at+jwt"})
    introspection: Introspection | None = None
    revocations: RevocationFeed | None = None
    metadata_keys: KeySet | None = None
    status_lists: StatusLists | None = None
    cwt: bool = False


@dataclass(frozen=True, slots=True)
class Common:
    """The settings of a `Verifier` that hold for all its issuers; see there."""

    audience: str
    leeway: float
    now: Callable[[], float]
    fetch: Fetch


def _is_access_token(token: str) -> bool:
    """Whether a token that was verified says that it is one of RFC 9068."""
    typ = str(decode_unverified(token).unverified_header.get("typ"))
    return typ.lower().removeprefix("application/") == "at+jwt"


class KeyMissing(TokenInvalid):
    """No key of that id: a new set may have it."""


class TrustedIssuer:
    """An `Issuer` with its keys: verifies its tokens and caches none of them."""

    def __init__(self, issuer: Issuer, common: Common, changed: Callable[[], None]) -> None:
        self.name, self.settings, self._common = issuer.issuer, issuer, common
        self.keys = KeySource(
            issuer.issuer,
            issuer.jwks_uri,
            now=common.now,
            fetch=common.fetch,
            changed=changed,
            metadata_keys=issuer.metadata_keys,
        )
        self.introspector = None if issuer.introspection is None else Introspector(
            issuer.issuer,
            issuer.introspection,
            self.keys,
            now=common.now,
            fetch=common.fetch,
            metadata_keys=issuer.metadata_keys,
        )  # fmt: skip
        self.statuses = None if issuer.status_lists is None else StatusSource(
            issuer.status_lists,
            issuer.issuer,
            self.keys,
            issuer.algorithms,
            now=common.now,
            fetch=common.fetch,
        )  # fmt: skip
        self._ahead = max(common.leeway, CLOCKS_APART)
        self._gate = Gate(KeySet(()), algorithms=issuer.algorithms, typ=issuer.typ)

    def judge(self, unverified_token: str, keys: KeySet) -> Claims:
        """Verify the signature and the claims of a JWT or CWT. Raises `TokenInvalid`; `KeyMissing` is one of them."""
        gate = self._gate
        if gate.keys is not keys:
            gate = self._gate = Gate(keys, algorithms=self.settings.algorithms, typ=self.settings.typ)
        try:
            if self.settings.cwt and looks_like_cwt(unverified_token):
                claims = verify_cwt(unverified_token, keys, self.settings.algorithms)
            else:
                claims = gate.claims(unverified_token)
                if ("jti" not in claims or "iat" not in claims) and _is_access_token(unverified_token):
                    raise TokenInvalid("jti or iat is missing, which RFC 9068 section 2.2 requires of an at+jwt")
        except UnknownKey as error:
            raise KeyMissing(error.rule) from None
        except JoseError as error:
            raise TokenInvalid(error.rule) from None
        return self._judge_claims(claims)

    def judge_answer(self, introspected: dict[str, Any]) -> Claims:
        """Check the introspection answer about an active token by the rules for a JWT's claims.

        ``iss`` may be absent, because the issuer itself answered, and so may ``sub``, which is then the application;
        ``aud``, ``exp`` and ``client_id`` must be there. Raises `TokenInvalid`.
        """
        kind = introspected.get("token_type", "Bearer")
        if not isinstance(kind, str) or kind.lower() not in ("bearer", "dpop"):
            raise TokenInvalid("the token is neither Bearer nor DPoP (token_type of the introspection)")
        introspected.setdefault("iss", self.name)
        introspected.setdefault("sub", introspected.get("client_id"))
        claims = self._judge_claims(introspected)
        if kind.lower() == "dpop" and not claims.dpop_key:
            raise TokenInvalid("token_type of the introspection is DPoP, and cnf names no key")
        return claims

    def _judge_claims(self, claims: dict[str, Any]) -> Claims:
        common = self._common
        try:
            check_claims(
                claims,
                issuer=self.name,
                audience=common.audience,
                now=common.now(),
                leeway=common.leeway,
                ahead=self._ahead,
            )
        except ClaimRefused as error:
            raise TokenInvalid(error.rule + self._about_clocks(error.claim)) from None
        return read_claims(claims)

    def _about_clocks(self, claim: str) -> str:
        """A hint for the operator, if a time is the reason and the clocks differ."""
        ahead = self.keys.clock_ahead
        if claim not in ("exp", "nbf", "iat") or ahead is None or abs(ahead) <= CLOCKS_APART:
            return ""
        side = "ahead of" if ahead > 0 else "behind"
        return f"; this machine's clock is {abs(ahead):.0f} s {side} the issuer's: set it right"
