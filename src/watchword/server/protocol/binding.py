"""Bind tokens to a key, and check the binding (sender-constrained tokens).

The key is that of a DPoP proof (RFC 9449) or of the TLS client certificate (RFC 8705), never both.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from ...jose.certificate_header import Presented
from ...jose.certificates import certificate_thumbprint
from .access import Access
from .dpop import Possession
from .errors import InvalidDpopProof, InvalidToken


def bind(access: Access, possession: Possession | None, certificate: Presented | None) -> Access:
    """`access` with its confirmation. A DPoP proof always binds; a certificate only where binding is required.

    Raises `InvalidDpopProof` when binding is required and there is no key.
    """
    if possession is not None:
        return replace(access, confirmation={"jkt": possession.jkt})
    if certificate is None:
        raise InvalidDpopProof(
            "this token has to be bound to a key of yours: send a DPoP proof, or connect with a client certificate"
        )
    return replace(access, confirmation={"x5t#S256": certificate_thumbprint(certificate.certificate)})


def check_possession(claims: Mapping[str, Any], certificate: Presented | None) -> None:
    """For a token presented to our endpoints (section 3). Raises `InvalidToken` for a bound token without its key."""
    confirmation = claims.get("cnf")
    if confirmation is None:
        return
    bound_to = str(confirmation.get("x5t#S256")) if confirmation.keys() == {"x5t#S256"} else ""
    shown = certificate_thumbprint(certificate.certificate) if certificate is not None else "none"
    if not hmac.compare_digest(bound_to.encode(), shown.encode()):
        raise InvalidToken("the access token is bound to a key that this request does not show")
