"""client_secret_jwt: an assertion with an HMAC under the client secret (RFC 7523 section 2.2, OIDC Core 9)."""

from __future__ import annotations

from ....jose import Algorithm
from ...registry.model import Application
from ..request import Credentials
from . import assertion
from .grounds import Grounds, Proven

ALGORITHMS = (Algorithm.HS256,)
HEADER = frozenset({"alg", "typ"})


def prove(application: Application | None, presented: Credentials, grounds: Grounds) -> Proven:
    """Verify with one of the live secrets, or raise `InvalidClient`."""
    key, mark = assertion.prove(application, presented, grounds, ALGORITHMS, HEADER)
    return Proven(secret_id=key.kid, marks=(mark,))
