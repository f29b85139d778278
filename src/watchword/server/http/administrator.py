"""Authenticate callers of the admin API by an access token for it (RFC 6750, RFC 9449, RFC 8705)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from ...jose import JoseError, decode_unverified
from ...jose.dpop import PROOF_ALGORITHMS
from ...jose.encoding import json_object
from ..protocol.binding import check_possession
from ..protocol.dpop import PresentedProof
from ..protocol.errors import InvalidDpopProof, InvalidToken, OAuthError, UseDpopNonce
from ..registry.model import ADMIN_API
from ..service.clients.prove_possession import ProvePossession
from ..service.desk import Caller
from ..service.registry.create_tenant import DEFAULT
from ..service.tokens.read_token import TokenReader
from ..service.view import TenantView, View, storable
from .admin.problems import Problem, unauthorized
from .admin.routes import Route
from .client_certificate import certificate_of
from .dpop import Addresses, proof_of
from .wire import Headers, Scope

_ATTEMPTS: Final = 5
_DPOP: Final = f'DPoP algs="{" ".join(one.value for one in PROOF_ALGORITHMS)}"'


class _Judged(Struct, frozen=True):
    """A token that is valid; its DPoP proof is not yet marked as used."""

    tenant: TenantView
    claims: dict[str, Any]
    proof: PresentedProof | None


class Administrators:
    """Raises `Problem`, or `StorageUnavailable` when the database is away."""

    def __init__(
        self, *, view: View, tokens: TokenReader, prove: ProvePossession, clock: Callable[[], float],
        issuer_of: Callable[[str], str], addresses: Addresses,
    ) -> None:  # fmt: skip
        self._view, self._tokens, self._prove, self._clock = view, tokens, prove, clock
        self._issuer_of, self._addresses = issuer_of, addresses

    async def caller(self, headers: Headers, route: Route, scope: Scope) -> Caller:
        """The caller, by a token for the admin API with the route's scope; it acts in the tenant that issued it.

        The DPoP proof is marked as used last: a stolen proof that comes with a wrong token stays usable for its owner.
        """
        for _ in range(_ATTEMPTS):
            as_of = self._view.seq
            judged = await self._judge(headers, route, scope)
            tenant, subject = judged.tenant, str(judged.claims["sub"])
            if judged.proof is None or await self._used(judged, subject, judged.proof, as_of):
                scopes = frozenset(judged.claims["scope"].split(" "))
                return Caller(tenant.tenant.tenant_id, subject, headers.request_id, scopes)
        raise Problem(503, "busy", "the registry is changing too fast; try again", headers=((b"retry-after", b"1"),))

    async def _judge(self, headers: Headers, route: Route, scope: Scope) -> _Judged:
        scheme, _, raw = (headers.authorization or b"").partition(b" ")
        by_dpop, unverified_token = scheme.lower() == b"dpop", raw.strip().decode("ascii", "replace")
        if headers.authorizations != 1 or scheme.lower() not in (b"bearer", b"dpop") or not unverified_token:
            raise unauthorized("invalid_token", "send one Authorization header with a token for the admin API")
        told = _DPOP if by_dpop else "Bearer"
        tenant = await self._tenant_of(unverified_token)
        await self._view.must_be_fresh()
        claims = await self._tokens.claims(tenant, unverified_token, self._clock()) if tenant is not None else None
        if tenant is None or claims is None or claims["aud"] != ADMIN_API:
            raise unauthorized("invalid_token", "the token is not an active one for the admin API", told=told)
        bound_by_dpop = "jkt" in claims.get("cnf", ())
        try:
            proof = self._shown(headers, scope, unverified_token) if by_dpop else None
            if by_dpop and not bound_by_dpop:
                raise InvalidToken("the token was shown with scheme DPoP, and is bound to no DPoP key")
            if bound_by_dpop and not by_dpop:
                raise InvalidToken("the token is bound to a DPoP key: show it with scheme DPoP and a proof")
            if not bound_by_dpop:
                check_possession(claims, certificate_of(scope))
        except OAuthError as error:
            raise _refused(error, dpop=by_dpop or bound_by_dpop) from None
        _check_scope(claims, route, tenant, told)
        return _Judged(tenant, claims, proof)

    def _shown(self, headers: Headers, scope: Scope, unverified_token: str) -> PresentedProof:
        proof = proof_of(headers, scope, self._addresses, unverified_token)
        if proof is None:
            raise InvalidDpopProof("send a DPoP header with a proof of this request")
        return proof

    async def _used(self, judged: _Judged, subject: str, proof: PresentedProof, as_of: int) -> bool:
        try:
            return await self._prove(judged.tenant, subject, str(judged.claims["cnf"]["jkt"]), proof, as_of)
        except OAuthError as error:
            raise _refused(error, dpop=True) from None

    async def _tenant_of(self, unverified_token: str) -> TenantView | None:
        """Which tenant to ask; the claim is unverified and decides nothing else."""
        try:
            unverified_claims = json_object(decode_unverified(unverified_token).unverified_payload)
        except JoseError:
            return None
        unverified_issuer = unverified_claims.get("iss")
        slug = unverified_issuer.rpartition("/")[2] if isinstance(unverified_issuer, str) else ""
        if not storable(slug) or unverified_issuer != self._issuer_of(slug):
            return None
        return await self._view.tenant(slug)


def _check_scope(claims: dict[str, Any], route: Route, tenant: TenantView, told: str) -> None:
    if route.scope not in claims["scope"].split(" "):
        needed = f"this needs the scope {route.scope}"
    elif route.default_tenant_only and tenant.tenant.slug != DEFAULT:
        needed = "only the default tenant administers tenants"
    else:
        return
    raise unauthorized("insufficient_scope", needed, scope=route.scope, status=403, told=told)


def _refused(error: OAuthError, *, dpop: bool) -> Problem:
    """RFC 9449 section 7.1: 401, in the scheme that the token has to be shown with."""
    nonce = ((b"dpop-nonce", error.nonce.encode()),) if isinstance(error, UseDpopNonce) else ()
    return unauthorized(error.error, error.public, told=_DPOP if dpop else "Bearer", headers=nonce)
