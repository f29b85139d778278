"""How an application proves itself: one module per way, and one table.

The unknown costs what the wrong costs: an unknown application is checked against a secret that
nothing matches, by the same code.
"""

from __future__ import annotations

from collections.abc import Callable

from ...registry.model import Application, Secret
from ..errors import InvalidClient
from ..request import Credentials
from . import shared_secret

Proof = Callable[[Application | None, Credentials, bytes, float], Secret]

METHODS: dict[str, Proof] = {
    "client_secret_basic": shared_secret.prove,
    "client_secret_post": shared_secret.prove,
}


def authenticate(application: Application | None, presented: Credentials, pepper: bytes, now: float) -> Secret:
    """The secret that matched, or `InvalidClient`: always the same one, whatever was wrong."""
    proof = METHODS.get(presented.method)
    if proof is None:
        raise InvalidClient(detail="no client authentication in the request")
    return proof(application, presented, pepper, now)
