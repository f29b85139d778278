"""Revoke a token (RFC 7009): its own application asks, and afterwards introspection says inactive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...audit.events import TokenRevoked
from ...protocol.errors import InvalidRequest, Unavailable
from ...protocol.status_list import KEPT, reference_in
from ...registry.revocation import of_token
from ..contention import again
from ..ports import StorageUnavailable, Store
from ..view import TenantView, View
from .read_token import TokenReader


class RevokeToken:
    """Idempotent: one audit event of effect, however often it is asked."""

    def __init__(self, store: Store, view: View, tokens: TokenReader, clock: Callable[[], float]) -> None:
        self._store, self._view, self._tokens, self._clock = store, view, tokens, clock

    async def __call__(
        self,
        tenant: TenantView,
        caller_id: str,
        unverified_token: str,
        request_id: str = "",
    ) -> None:
        """Unknown and inactive tokens are a success (section 2.2); another's token is refused and stays as it is."""
        now = self._clock()
        try:
            await self._view.must_be_fresh()
            claims = await self._tokens.active(tenant, unverified_token, now)
            if claims is None:
                return
            if claims.get("client_id", claims["sub"]) != caller_id:
                raise InvalidRequest("this token was issued to another application; only that one may revoke it")
            event = TokenRevoked(at=now, actor=caller_id, request_id=request_id, token_id=claims["jti"])
            await again(lambda: self._mark(tenant.tenant.tenant_id, event, claims))
        except StorageUnavailable as error:
            raise Unavailable("the database is away; try again", detail=str(error)) from None

    async def _mark(self, tenant_id: str, event: TokenRevoked, claims: dict[str, Any]) -> None:
        async with self._store.transaction() as tx:
            expires_at = int(claims["exp"])
            # The list was begun before the token, so it is gone before its bit is.
            kept_until = int(claims["iat"]) + KEPT
            if await tx.revoke_token(tenant_id, event.token_id, expires_at, reference_in(claims), kept_until):
                for revocation in of_token(event.token_id, claims["aud"], expires_at):
                    tx.announce(tenant_id, revocation)
                tx.record(tenant_id, event)
