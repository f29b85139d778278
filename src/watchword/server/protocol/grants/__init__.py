"""One module per grant type, and one table that lists them."""

from __future__ import annotations

from collections.abc import Callable

from ...registry.model import CLIENT_CREDENTIALS, TOKEN_EXCHANGE
from ..access import Access
from ..errors import InvalidRequest, UnsupportedGrantType
from ..request import TokenRequest
from ..standing import Standing
from . import client_credentials, subject_token, token_exchange, transaction_token

Grant = Callable[[Standing, TokenRequest], Access]


def _exchange(standing: Standing, request: TokenRequest) -> Access:
    """By what is asked for, if the tenant offers it."""
    exchange = request.exchange
    assert exchange is not None
    if subject_token.for_transaction(exchange, standing.tenant.transaction_tokens):
        return transaction_token.grant(standing, request)
    return token_exchange.grant(standing, request)


GRANTS: dict[str, Grant] = {CLIENT_CREDENTIALS: client_credentials.grant, TOKEN_EXCHANGE: _exchange}


def grant_for(grant_type: str) -> Grant:
    """The grant of that name; a missing name is `invalid_request`, an unknown one has its own error."""
    if not grant_type:
        raise InvalidRequest("grant_type is missing")
    try:
        return GRANTS[grant_type]
    except KeyError:
        raise UnsupportedGrantType(f"this server knows {', '.join(GRANTS)}") from None
