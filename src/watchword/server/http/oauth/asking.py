"""Authenticate the callers of introspection, revocation and the feed of revocations."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from ....jose.certificate_header import Presented
from ...protocol.binding import check_possession
from ...protocol.dpop import ProofRules, prove_possession
from ...protocol.errors import InvalidToken
from ...protocol.request import Credentials, Form, credentials
from ...registry.model import ADMIN_API, Application
from ...service.clients.authenticate_client import AuthenticateClient
from ...service.tokens.read_token import TokenReader
from ...service.tokens.sign_introspection import TYPE
from ...service.view import TenantView
from ..dpop import Addresses, proof_of
from ..wire import Header, Headers, Scope, accepts

INTROSPECT_SCOPE = "tokens:introspect"
SIGNED = f"application/{TYPE}".encode()
"""The media type of a signed answer (RFC 9701 section 4)."""


class Asked(Struct, frozen=True):
    """A request about a token, after reading; its caller is not yet authenticated."""

    headers: Headers
    form: Form
    certificate: Presented | None
    raw_headers: list[Header]
    source: str = ""
    """The caller's address."""

    def wants_signed(self) -> bool:
        """Whether the caller named the JWT of RFC 9701 in `Accept` (section 4)."""
        return accepts(self.raw_headers, SIGNED)

    def credentials(self) -> Credentials:
        """The one authentication method."""
        return credentials(self.form, self.headers.basic(), self.certificate)


class Callers(Struct, frozen=True, kw_only=True):
    """What a caller can authenticate with."""

    who: AuthenticateClient
    tokens: TokenReader
    proofs: ProofRules
    addresses: Addresses
    clock: Callable[[], float]

    async def application(self, tenant: TenantView, asked: Asked) -> Application:
        """Authenticate by client credentials. Raises `InvalidClient`."""
        return await self.who(tenant, asked.credentials(), asked.source)

    async def client_id(self, tenant: TenantView, asked: Asked) -> str:
        """Authenticate by client credentials, or by an access token that holds `tokens:introspect`.

        Raises `InvalidClient`, `InvalidToken`.
        """
        headers = asked.headers
        if headers.authorization is None or headers.authorization[:7].lower().rstrip() != b"bearer":
            return (await self.application(tenant, asked)).client_id
        bearer = headers.authorization[7:].strip().decode("ascii", "replace")
        claims = await self.tokens.claims(tenant, bearer, self.clock()) if bearer else None
        if claims is None or claims["aud"] != ADMIN_API or INTROSPECT_SCOPE not in claims["scope"].split(" "):
            raise InvalidToken(f"authenticate with client credentials or a token that holds {INTROSPECT_SCOPE}")
        check_possession(claims, asked.certificate)
        return str(claims["sub"])

    def check_proof(self, tenant: TenantView, headers: Headers, scope: Scope) -> None:
        """Reject a DPoP proof that was made for another request: it is a sign of theft.

        No answer here is bound to a proof, so a valid one is not marked as used.
        Raises `InvalidDpopProof`, `UseDpopNonce`.
        """
        proof = proof_of(headers, scope, self.addresses)
        if proof is not None:
            prove_possession(proof, tenant.tenant.tenant_id, self.proofs, self.clock())
