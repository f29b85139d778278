"""Judge a request that a gateway is about to let through: does its token open this API?"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from ...protocol.errors import InsufficientScope, InvalidToken, Unavailable
from ...protocol.still_granted import audience_of
from ..ports import StorageUnavailable
from ..view import TenantView, View
from .read_token import TokenReader


class Admitted(Struct, frozen=True):
    """Whose request it is, for the API behind the gateway."""

    client_id: str
    scope: str


class ForwardAuth:
    """Answers as introspection does: from a memory that followed the feed within the last second."""

    def __init__(self, view: View, tokens: TokenReader, clock: Callable[[], float]) -> None:
        self._view, self._tokens, self._clock = view, tokens, clock

    async def __call__(
        self, tenant: TenantView, unverified_token: str, audience: str, scopes: frozenset[str]
    ) -> Admitted:
        """For a token of this audience that holds all these scopes.

        Raises:
            InvalidToken: also for a token of another API, and for one that is bound to a key: a gateway
                passes on no proof of it.
            InsufficientScope, Unavailable.
        """
        try:
            await self._view.must_be_fresh()
            claims = await self._tokens.claims(tenant, unverified_token, self._clock())
        except StorageUnavailable as error:
            raise Unavailable("the database is away; try again", detail=str(error)) from None
        if claims is None or audience not in audience_of(claims) or "cnf" in claims:
            raise InvalidToken("the access token is not valid here")
        if not scopes.issubset(claims["scope"].split(" ")):
            raise InsufficientScope("the access token does not have the scope that is needed")
        # Tokens of the App ID surface have no client_id: their subject is the client.
        return Admitted(claims["client_id"] if "client_id" in claims else claims["sub"], claims["scope"])
