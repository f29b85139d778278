"""`TransactionTokens`: verifies the transaction tokens that workloads of one trust domain send each other.

draft-ietf-oauth-transaction-tokens-10; section numbers are the draft's. A transaction token describes the purpose of a
call. It is no access token: `Verifier` refuses transaction tokens, and `TransactionTokens` refuses access tokens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from watchword.jose import ACCESS_TOKEN_ALGORITHMS, Algorithm, Gate, JoseError, KeySet, UnknownKey, check_claims
from watchword.resource.errors import TransactionForbidden, TransactionInvalid, TransactionMissing
from watchword.resource.fetched.fetch import USUAL, Fetch
from watchword.resource.fetched.keys import KeySource
from watchword.resource.issuer import CLOCKS_APART
from watchword.resource.leeway import checked_leeway

HEADER: Final = "Txn-Token"
"""Section 10: the request header whose value is the token alone, without a scheme."""
TYPE: Final = "txntoken+jwt"
_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Transaction:
    """Section 9.2. ``expires_at`` is in Unix seconds; ``raw`` is all claims, read only.

    ``txn`` names the transaction and is the same in every token of it; ``requester`` is the workload that asked for
    this one (``req_wl``). ``details`` (``tctx``) describes the call, ``context`` (``rctx``) the first
    request: workloads may add members and change none. Both are empty where there are none.
    """

    txn: str
    subject: str
    scopes: frozenset[str]
    requester: str
    expires_at: float
    details: Mapping[str, Any] = field(repr=False)
    context: Mapping[str, Any] = field(repr=False)
    raw: Mapping[str, Any] = field(repr=False)


class TransactionTokens:
    """Verifies the transaction tokens of one trust domain, offline but for the keys.

    Args:
        issuer: compared exactly with ``iss``. ``trust_domain``: with ``aud``.
        jwks_uri: the URL of the key set; None discovers it from the issuer's metadata.
        algorithms: that the tokens may have. ``leeway``: seconds for which a token is accepted after its ``exp``.
        now: Unix seconds.
        metadata_keys: see `watchword.resource.issuer.Issuer`.
        fetch: how the keys are fetched: see `watchword.resource.fetched.fetch.Fetch`.

    Raises:
        ValueError: an address that is not https.
    """

    def __init__(
        self,
        issuer: str,
        *,
        trust_domain: str,
        jwks_uri: str | None = None,
        algorithms: Collection[Algorithm] = ACCESS_TOKEN_ALGORITHMS,
        leeway: float = 0,
        now: Callable[[], float] = time.time,
        metadata_keys: KeySet | None = None,
        fetch: Fetch = USUAL,
    ) -> None:
        self.issuer, self.trust_domain = issuer, trust_domain
        self._algorithms, self._leeway, self._now = frozenset(algorithms), checked_leeway(leeway), now
        self._keys = KeySource(issuer, jwks_uri, now=now, fetch=fetch, metadata_keys=metadata_keys)
        self._gate = Gate(KeySet(()), algorithms=self._algorithms, typ={TYPE})

    def verify(self, unverified_values: Sequence[str], scope: str | None = None) -> Transaction:
        """The transaction, if it has ``scope`` (one, or several with spaces: all are needed).

        ``unverified_values`` are all values of the request's header `HEADER`: there has to be one.

        Raises:
            TransactionMissing, TransactionInvalid, TransactionForbidden, KeysUnavailable: see
                `watchword.resource.errors`.
        """
        unverified_token = _one(unverified_values)
        keys = self._keys.current()
        try:
            claims = self._signed(unverified_token, keys)
        except UnknownKey as missing:
            claims = self._signed_by_newer(unverified_token, self._keys.after_unknown(keys), missing)
        return self._permitted(claims, scope)

    async def averify(self, unverified_values: Sequence[str], scope: str | None = None) -> Transaction:
        """`verify`, for an event loop: keys are fetched without blocking it."""
        unverified_token = _one(unverified_values)
        keys = await self._keys.acurrent()
        try:
            claims = self._signed(unverified_token, keys)
        except UnknownKey as missing:
            claims = self._signed_by_newer(unverified_token, await self._keys.aafter_unknown(keys), missing)
        return self._permitted(claims, scope)

    def _signed(self, unverified_token: str, keys: KeySet) -> dict[str, Any]:
        """Raises `TransactionInvalid`; or `UnknownKey`: a newer set may have the key."""
        gate = self._gate
        if gate.keys is not keys:
            gate = self._gate = Gate(keys, algorithms=self._algorithms, typ={TYPE})
        try:
            return gate.claims(unverified_token)
        except UnknownKey:
            raise
        except JoseError as error:
            raise TransactionInvalid(error.rule) from None

    def _signed_by_newer(self, unverified_token: str, newer: KeySet | None, missing: UnknownKey) -> dict[str, Any]:
        if newer is None:
            raise TransactionInvalid(missing.rule) from None
        try:
            return self._signed(unverified_token, newer)
        except UnknownKey as still:
            raise TransactionInvalid(still.rule) from None

    def _permitted(self, claims: dict[str, Any], scope: str | None) -> Transaction:
        try:
            check_claims(
                claims, issuer=self.issuer, audience=self.trust_domain, now=self._now(), leeway=self._leeway,
                ahead=max(self._leeway, CLOCKS_APART),
            )  # fmt: skip
        except JoseError as error:
            raise TransactionInvalid(error.rule) from None
        found = read_transaction(claims)
        if scope is not None and not found.scopes.issuperset(scope.split()):
            raise TransactionForbidden(scope)
        return found


def read_transaction(verified_claims: dict[str, Any]) -> Transaction:
    """The claims of a token whose signature, issuer, audience and times were checked; keeps the dict.

    Raises `TransactionInvalid`: a claim that section 9.2 requires is missing or of another type; several audiences, for
    a transaction stays in its trust domain; a ``cnf``, which is never ignored.
    """
    if not isinstance(verified_claims["aud"], str):
        raise TransactionInvalid("aud is not the trust domain alone")
    if "cnf" in verified_claims:
        raise TransactionInvalid(
            "the token is bound to a key (cnf), which transaction tokens are not: not taken as free"
        )
    if "iat" not in verified_claims:
        raise TransactionInvalid("iat is missing")
    txn, subject, requester, scope = (_text(verified_claims, name) for name in ("txn", "sub", "req_wl", "scope"))
    return Transaction(
        txn,
        subject,
        frozenset(scope.split(" ")) - {""},
        requester,
        float(verified_claims["exp"]),
        _object(verified_claims, "tctx"),
        _object(verified_claims, "rctx"),
        MappingProxyType(verified_claims),
    )


def _one(unverified_values: Sequence[str]) -> str:
    values = [unverified_values] if isinstance(unverified_values, str) else unverified_values
    if not values:
        raise TransactionMissing(f"there is no {HEADER} header")
    if len(values) > 1:
        raise TransactionInvalid(f"there are {len(values)} {HEADER} headers; one is expected")
    return values[0].strip()


def _text(claims: dict[str, Any], name: str) -> str:
    found = claims.get(name)
    if not isinstance(found, str) or not found:
        raise TransactionInvalid(f"{name} is missing or not a text")
    return found


def _object(claims: dict[str, Any], name: str) -> Mapping[str, Any]:
    found = claims.get(name)
    if found is None and name not in claims:
        return _NONE
    if not isinstance(found, dict):
        raise TransactionInvalid(f"{name} is not an object")
    return MappingProxyType(found)
