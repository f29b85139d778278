"""private_key_jwt: an assertion signed with the application's private key (RFC 7523 section 2.2, OIDC Core 9)."""

from __future__ import annotations

from ....jose import Algorithm
from ...registry.client_keys import ALGORITHMS
from ...registry.model import Application
from ..request import Credentials
from . import assertion
from .grounds import Grounds, Proven

HEADER = frozenset({"alg", "kid", "typ", "x5t", "x5t#S256"})
"""Some callers send a certificate's thumbprint, which is ignored; keys and URLs of keys are rejected."""
_ALGORITHMS = frozenset(map(Algorithm, ALGORITHMS))


def prove(application: Application | None, presented: Credentials, grounds: Grounds) -> Proven:
    """Verify with one of the registered keys, or raise `InvalidClient`."""
    key, mark = assertion.prove(application, presented, grounds, _algorithms(grounds), HEADER)
    return Proven(key_id=key.kid, marks=(mark,))


def check_unverified(application: Application, presented: Credentials, grounds: Grounds) -> None:
    """Refuse what no key could save, before keys are fetched. Raises `InvalidClient`."""
    assertion.check_unverified(presented, application.client_id, grounds, _algorithms(grounds), HEADER)


def _algorithms(grounds: Grounds) -> frozenset[Algorithm]:
    allowed = grounds.profile.algorithms
    return frozenset(map(Algorithm, allowed)) if allowed else _ALGORITHMS
