"""Get transaction tokens (draft-ietf-oauth-transaction-tokens-10): a new one for a caller, or a replacement."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from watchword.client.credentials import ClientCredentials, form_parameters
from watchword.client.source import TokenSource
from watchword.client.token_exchange import ACCESS_TOKEN, GRANT, end_of

TXN_TOKEN: Final = "urn:ietf:params:oauth:token-type:txn_token"
Details = Mapping[str, Any]


class Transactions:
    """``headers={"Txn-Token": transactions.begin(token, request_details={...})}``.

    Args:
        credentials: authenticate this application at the token endpoint.
        trust_domain: the audience of the tokens.
        scope: the purpose of the transactions; the issuer demands one.

    Nothing is cached: each call is a new transaction. A transaction token is no access token: the adapters of
    `ClientCredentials` do not send it.
    """

    def __init__(self, credentials: ClientCredentials, trust_domain: str, scope: str | Iterable[str]) -> None:
        self._credentials = credentials
        self._parameters = (*form_parameters(None, trust_domain, scope), ("requested_token_type", TXN_TOKEN))

    def begin(
        self, subject_token: str, *, request_details: Details | None = None, request_context: Details | None = None
    ) -> str:
        """A new transaction for the caller that sent the access token ``subject_token``. Raises `TokenError`."""
        return self._source(subject_token, ACCESS_TOKEN, request_details, request_context).token().value

    async def abegin(
        self, subject_token: str, *, request_details: Details | None = None, request_context: Details | None = None
    ) -> str:
        """`begin`, for an event loop."""
        return (await self._source(subject_token, ACCESS_TOKEN, request_details, request_context).atoken()).value

    def replace(
        self, txn_token: str, *, request_details: Details | None = None, request_context: Details | None = None
    ) -> str:
        """The same transaction, with members added or scopes left out. Raises `TokenError`."""
        return self._source(txn_token, TXN_TOKEN, request_details, request_context).token().value

    async def areplace(
        self, txn_token: str, *, request_details: Details | None = None, request_context: Details | None = None
    ) -> str:
        """`replace`, for an event loop."""
        return (await self._source(txn_token, TXN_TOKEN, request_details, request_context).atoken()).value

    def _source(self, token: str, kind: str, details: Details | None, context: Details | None) -> TokenSource:
        given = (("request_details", details), ("request_context", context))
        told = tuple((name, json.dumps(dict(value))) for name, value in given if value is not None)
        form = (*self._parameters, ("subject_token", token), ("subject_token_type", kind), *told)
        return TokenSource.like(
            self._credentials, grant_type=GRANT, parameters=form, usable=False, until=end_of(token, math.inf)
        )
