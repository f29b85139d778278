"""The native surface of `IssueToken`: every grant, and how it makes its tokens."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import to_builtins

from ....jose.cwt import cwt_text
from ...protocol.access import Access, Kind
from ...protocol.claims import access_token_claims, encode
from ...protocol.grants import GRANTS
from ...registry.secret_text import OPAQUE_PREFIX, generate, opaque_hash
from ..ports import OpaqueRow
from ..view import TenantView
from .signers import cwt_signer, signer
from .status_indexes import StatusIndexes
from .surface import Minted, Surface


def oauth_surface(
    issuer_of: Callable[[str], str], random_bytes: Callable[[int], bytes], statuses: StatusIndexes
) -> Surface:
    """Access tokens are JWTs (RFC 9068), CWTs or opaque, as the API is set; other kinds of token are JWTs."""

    def mint(tenant: TenantView, access: Access, now: float, jti: str) -> Minted:
        if access.kind is not None:
            return _of_kind(access.kind, tenant, access, issuer_of(tenant.tenant.slug), int(now), jti)
        settings = access.settings
        status = statuses.next(tenant, settings.algorithm, now) if settings.status_list else None
        claims = access_token_claims(access, issuer_of(tenant.tenant.slug), int(now), jti, status)
        row = None
        if settings.format == "jwt":
            token = signer(tenant, settings.algorithm, settings.type).sign(encode(claims))
        elif settings.format == "cwt":
            token = cwt_text(cwt_signer(tenant, settings.algorithm).sign(to_builtins(claims)))
        else:
            token = generate(random_bytes(32), OPAQUE_PREFIX)
            row = OpaqueRow(tenant.tenant.tenant_id, opaque_hash(token), claims.exp, encode(claims))
        return Minted(token, jti, access.audience, claims.scope, claims.exp, row)

    return Surface("oauth", mint, GRANTS)


def _of_kind(kind: Kind, tenant: TenantView, access: Access, issuer: str, now: int, jti: str) -> Minted:
    claims = kind.claims(access, issuer, now, jti)
    token = signer(tenant, access.settings.algorithm, kind.type).sign(encode(claims))
    return Minted(token, jti, access.audience, claims.scope, claims.exp, txn=claims.txn)
