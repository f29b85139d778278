"""How the native issuer makes its tokens."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import to_builtins

from ....jose.cwt import cwt_text
from ...protocol.access import Access, Transaction
from ...protocol.claims import access_token_claims, encode, transaction_token_claims
from ...protocol.grants.transaction_token import TYPE as TRANSACTION_TYPE
from ...registry.secret_text import OPAQUE_PREFIX, generate, opaque_hash
from ..ports import OpaqueRow
from ..view import TenantView
from .signers import cwt_signer, signer
from .status_indexes import StatusIndexes
from .surface import Mint, Minted


def rfc9068_mint(
    issuer_of: Callable[[str], str], random_bytes: Callable[[int], bytes], statuses: StatusIndexes
) -> Mint:
    """The native form: a JWT as RFC 9068 has it, a CWT or an opaque token, as the API wants; or a transaction token."""

    def mint(tenant: TenantView, access: Access, now: float, jti: str) -> Minted:
        if access.transaction is not None:
            return _transaction_token(tenant, access, access.transaction, issuer_of(tenant.tenant.slug), int(now), jti)
        settings = access.settings
        status = statuses.next(tenant, settings.algorithm, now) if settings.status_list else None
        claims = access_token_claims(access, issuer_of(tenant.tenant.slug), int(now), jti, status)
        if settings.format == "cwt":
            raw = cwt_signer(tenant, settings.algorithm).sign(to_builtins(claims))
            return Minted(cwt_text(raw), jti, access.audience, claims.scope, claims.exp)
        payload = encode(claims)
        if settings.format == "jwt":
            token, row = (
                signer(tenant, settings.algorithm, settings.type).sign(payload),
                None,
            )
        else:
            token = generate(random_bytes(32), OPAQUE_PREFIX)
            row = OpaqueRow(tenant.tenant.tenant_id, opaque_hash(token), claims.exp, payload)
        return Minted(token, jti, access.audience, claims.scope, claims.exp, row)

    return mint


def _transaction_token(
    tenant: TenantView, access: Access, transaction: Transaction, issuer: str, now: int, jti: str
) -> Minted:
    claims = transaction_token_claims(access, transaction, issuer, now, jti)
    token = signer(tenant, access.settings.algorithm, TRANSACTION_TYPE).sign(encode(claims))
    return Minted(token, jti, access.audience, claims.scope, claims.exp, txn=claims.txn)
