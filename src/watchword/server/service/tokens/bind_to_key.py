"""Prove possession of a key and bind the token to it: one step for every grant and surface."""

from __future__ import annotations

from msgspec.structs import replace

from ...protocol.access import Access
from ...protocol.binding import bind
from ...protocol.dpop import Possession, ProofRules, prove_possession
from ...protocol.errors import InvalidDpopProof
from ...protocol.profile import hold_to, window_in
from ...protocol.request import TokenRequest
from ...registry.model import Application
from ..view import TenantView


def bind_to_key(
    rules: ProofRules, tenant: TenantView, application: Application, request: TokenRequest, access: Access, now: float
) -> tuple[Access, Possession | None]:
    """`access` as the tenant's profile allows it, bound where it has to be; and the key of the DPoP proof, if any.

    The mark of that key is not consumed yet. A token that is no access token is bound to nothing.

    Raises:
        InvalidDpopProof, UseDpopNonce: the proof is wrong, or it is missing and needed.
        InvalidRequest, InvalidTarget: the profile refuses the token.
    """
    key = None
    if request.proof is not None:
        key = prove_possession(request.proof, tenant.tenant.tenant_id, _rules_of(tenant, rules), now)
    elif application.require_dpop:
        raise InvalidDpopProof("this application's tokens are bound by DPoP: send a proof with the request")
    if tenant.profile.name:
        shown = key is not None or request.unverified_credentials.certificate is not None
        access = hold_to(tenant.profile, access, shows_key=shown)
    if (access.bound or key is not None) and access.kind is None:
        access = bind(access, key, request.unverified_credentials.certificate)
    return access, key


def _rules_of(tenant: TenantView, rules: ProofRules) -> ProofRules:
    return replace(rules, window=window_in(tenant.profile, rules.window)) if tenant.profile.name else rules
