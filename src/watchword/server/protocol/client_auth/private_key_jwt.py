"""private_key_jwt (RFC 7523 section 2.2, OpenID Connect Core section 9): signed with a key that only the caller has."""

from __future__ import annotations

from ....jose import Algorithm
from ...registry.client_keys import ALGORITHMS
from ...registry.model import Application
from ..request import Credentials
from . import assertion
from .grounds import Grounds, Proven

HEADER = frozenset({"alg", "kid", "typ", "x5t", "x5t#S256"})
"""A certificate's thumbprint is sent by some callers and decides nothing; keys and their addresses are refused."""
_ALGORITHMS = frozenset(map(Algorithm, ALGORITHMS))


def prove(application: Application | None, presented: Credentials, grounds: Grounds) -> Proven:
    """By one of the registered keys, or `InvalidClient`."""
    allowed = grounds.profile.algorithms
    algorithms = frozenset(map(Algorithm, allowed)) if allowed else _ALGORITHMS
    key, mark = assertion.prove(application, presented, grounds, algorithms, HEADER)
    return Proven(key_id=key.kid, marks=(mark,))
