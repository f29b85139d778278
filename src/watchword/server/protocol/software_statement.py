"""Read software statements (RFC 7591 section 2.3): metadata signed by a publisher, which override the request's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from ...jose import Algorithm, JoseError, KeySet, PublicKey, numeric_date, read_unverified, verify_with_one_of
from ..registry.client_keys import ALGORITHMS
from ..registry.model import Publisher
from .client_metadata import SERVERS_OWN
from .errors import InvalidSoftwareStatement, UnapprovedSoftwareStatement

_ALGORITHMS = [Algorithm(name) for name in ALGORITHMS]
_HEADER = frozenset({"alg", "kid", "typ"})
_TYPES = frozenset({"JWT", "software-statement+jwt"})
_ITS_OWN = frozenset({"iss", "iat", "exp", "nbf", "jti", "aud", "sub", "software_statement", "scope"})
"""Claims about the statement itself, and `scope`, which is a grant and no property of the software."""


class StatementRules(Struct, frozen=True):
    """What a statement is judged by, besides its publisher: seconds by which clocks may differ, and our issuer."""

    leeway: float
    issuer: str


def stated(
    unverified_statement: str, publishers: Sequence[Publisher], now: float, rules: StatementRules
) -> dict[str, Any]:
    """The metadata in a statement. Raises `UnapprovedSoftwareStatement`, `InvalidSoftwareStatement`."""
    try:
        unverified = read_unverified(unverified_statement)
        unverified_issuer = unverified.unverified_claims.get("iss")
        publisher = next((one for one in publishers if one.issuer == unverified_issuer), None)
        if publisher is None:
            raise UnapprovedSoftwareStatement("the publisher of this software statement is not approved here")
        keys = KeySet(PublicKey.from_jwk(jwk) for jwk in publisher.jwks["keys"])
        verified, _ = verify_with_one_of(
            unverified, keys, algorithms=_ALGORITHMS, members=_HEADER, typ=_TYPES, tries=10
        )
        _check_times(verified.claims, now, rules.leeway)
        _check_audience(verified.claims, rules.issuer)
    except JoseError as error:
        raise InvalidSoftwareStatement(f"the software statement is refused: {error.rule}") from None
    return {name: value for name, value in verified.claims.items() if name not in _ITS_OWN | SERVERS_OWN}


def _check_times(claims: Mapping[str, Any], now: float, leeway: float) -> None:
    expires = numeric_date(claims, "exp", required=False)
    if expires is not None and now >= expires + leeway:
        raise InvalidSoftwareStatement("the software statement has expired: ask its publisher for a new one")
    begins = numeric_date(claims, "nbf", required=False)
    if begins is not None and begins > now + leeway:
        raise InvalidSoftwareStatement("the software statement is not valid yet")
    made = numeric_date(claims, "iat", required=False)
    if made is not None and made > now + leeway:
        raise InvalidSoftwareStatement("the software statement was made in the future (iat): set the clocks right")


def _check_audience(claims: Mapping[str, Any], issuer: str) -> None:
    """A statement need not name an audience (RFC 7591 section 2.3); one for another server does not count."""
    if "aud" not in claims:
        return
    listed = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if issuer not in listed:
        raise InvalidSoftwareStatement(f"the software statement is for another server: its aud does not name {issuer}")
