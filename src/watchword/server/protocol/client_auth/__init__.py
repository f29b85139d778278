"""Client authentication: one module per method, and the table of all methods.

Unknown and wrong take the same time: an unknown application is checked against a secret or key
that nothing matches, by the same code.
"""

from __future__ import annotations

from collections.abc import Callable

from ...registry.client_keys import ALGORITHMS
from ...registry.model import Application
from ..errors import InvalidClient
from ..request import Credentials
from . import client_certificate, client_secret_jwt, foreign_statement, private_key_jwt, shared_secret
from .grounds import Grounds, Proven

Proof = Callable[[Application | None, Credentials, Grounds], Proven]

METHODS: dict[str, Proof] = {
    "client_secret_basic": shared_secret.prove,
    "client_secret_post": shared_secret.prove,
    "private_key_jwt": private_key_jwt.prove,
    "client_secret_jwt": client_secret_jwt.prove,
    "tls_client_auth": client_certificate.prove,
    "self_signed_tls_client_auth": client_certificate.prove,
    "federated_jwt": foreign_statement.prove,
    "spiffe_jwt": foreign_statement.prove,
    "spiffe_x509": client_certificate.prove,
}
SIGNING_ALGORITHMS = (*ALGORITHMS, *(algorithm.value for algorithm in client_secret_jwt.ALGORITHMS))
"""For assertions; in the metadata (RFC 8414 section 2)."""


def authenticate(application: Application | None, presented: Credentials, grounds: Grounds) -> Proven:
    """The matching credential, or `InvalidClient`, always with the same text."""
    proof = METHODS.get(presented.method)
    if proof is None:
        raise InvalidClient(detail="no client authentication in the request")
    proven = proof(application, presented, grounds)
    if grounds.profile.auth_methods:
        _check_method(
            application, grounds
        )  # last, so that a rejection by the profile takes the same time as a wrong credential
    return proven


def _check_method(application: Application | None, grounds: Grounds) -> None:
    method = application.auth_method if application is not None else "none"
    if method not in grounds.profile.auth_methods:
        raise InvalidClient(detail=f"{method} is refused by the profile {grounds.profile.name}", rule="profile")
