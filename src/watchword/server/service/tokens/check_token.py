"""Whether a token of one issuer is active: the App ID surface's introspection, which tells nothing else."""

from __future__ import annotations

from collections.abc import Callable

from ...protocol.errors import Unavailable
from ..ports import StorageUnavailable
from ..view import TenantView, View
from .read_token import TokenReader


class CheckToken:
    """Any application of the tenant may ask: the public keys tell it the same, except a revocation."""

    def __init__(
        self, view: View, tokens: TokenReader, clock: Callable[[], float], issuer_of: Callable[[str], str]
    ) -> None:
        self._view, self._tokens, self._clock, self._issuer_of = view, tokens, clock, issuer_of

    async def __call__(self, tenant: TenantView, unverified_token: str) -> bool:
        """False also for the native issuer's tokens: those have an introspection with an audience rule."""
        try:
            await self._view.must_be_fresh()
            claims = await self._tokens.claims(tenant, unverified_token, self._clock())
        except StorageUnavailable as error:
            raise Unavailable("the database is away; try again", detail=str(error)) from None
        return claims is not None and claims.get("iss") == self._issuer_of(tenant.tenant.slug)
