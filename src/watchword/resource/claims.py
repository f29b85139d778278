"""`Claims`: the claims of a verified access token."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from watchword.resource.errors import TokenInvalid

_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Claims:
    """RFC 9068 section 2.2. ``expires_at`` is in Unix seconds; ``raw`` is all claims, read only.

    ``roles`` is the claim of that name (section 2.2.3.1), empty where tokens carry none.
    ``bound_to`` is the ``x5t#S256`` of the certificate that the token is bound to (RFC 8705 section 3.1), ``dpop_key``
    the ``jkt`` of the DPoP key that it is bound to (RFC 9449 section 6.1); both are empty for a bearer token.
    """

    client_id: str
    subject: str
    scopes: frozenset[str]
    expires_at: float
    raw: Mapping[str, Any] = field(repr=False)
    roles: frozenset[str] = frozenset()
    bound_to: str = ""
    dpop_key: str = ""


def read_claims(verified_claims: dict[str, Any]) -> Claims:
    """The claims of a token whose signature, issuer, audience and times were already checked; keeps the dict.

    Raises:
        TokenInvalid: client_id or sub missing or of another type, or a ``cnf``: a bound token is never
            taken as a bearer token (RFC 7800 section 3.1), unless it names one certificate or one DPoP key.
    """
    bound_to, dpop_key = _confirmation(verified_claims["cnf"]) if "cnf" in verified_claims else ("", "")
    client_id, subject = verified_claims.get("client_id"), verified_claims.get("sub")
    if not isinstance(client_id, str) or not client_id:
        raise TokenInvalid("client_id is missing or not a text (RFC 9068 section 2.2)")
    if not isinstance(subject, str) or not subject:
        raise TokenInvalid("sub is missing or not a text (RFC 9068 section 2.2)")
    scope = verified_claims.get("scope", "")
    if not isinstance(scope, str):
        raise TokenInvalid("scope is not a text")
    return Claims(
        client_id,
        subject,
        frozenset(scope.split(" ")) - {""},
        float(verified_claims["exp"]),
        MappingProxyType(verified_claims),
        _roles(verified_claims["roles"]) if "roles" in verified_claims else frozenset(),
        bound_to,
        dpop_key,
    )


def _confirmation(confirmation: object) -> tuple[str, str]:
    """The thumbprint of the certificate, or of the DPoP key. A binding that cannot be checked is never ignored."""
    method, found = "", None
    if isinstance(confirmation, dict) and len(confirmation) == 1:
        [(method, found)] = confirmation.items()
    if method not in ("x5t#S256", "jkt") or not isinstance(found, str) or not _THUMBPRINT.fullmatch(found):
        raise TokenInvalid(
            "the token is bound to a key (cnf) in a way that is not known here: not taken as a bearer token"
        )
    return (found, "") if method == "x5t#S256" else ("", found)


def _roles(found: object) -> frozenset[str]:
    # A single text is refused and not split: `"admin" in "administrator"` is how such claims go wrong.
    if not isinstance(found, list) or not all(isinstance(role, str) for role in found):
        raise TokenInvalid("roles is not a list of texts")
    return frozenset(found)
