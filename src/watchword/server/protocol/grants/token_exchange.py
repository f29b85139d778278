"""Token exchange (RFC 8693): a service that was called gets a token to call the next service for the same subject.

Always delegation, never impersonation: the token names the subject (`sub`) and the application that acts (`act`,
`client_id`). The new token never allows more than the subject token. Section numbers are those of the RFC.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...registry.model import ADMIN_API, TOKEN_EXCHANGE
from ..access import Access, asked_scopes, granted_at_each, must_be_bound, shared_settings
from ..authorization_details import granted_details
from ..errors import InvalidAuthorizationDetails, InvalidRequest, InvalidTarget
from ..request import TokenRequest
from ..standing import Standing
from . import transaction_token
from .client_credentials import named_targets
from .grant import Grant, Seen
from .subject_token import (
    ACCESS_TOKEN,
    JWT,
    Exchange,
    acting,
    came_of,
    depends_on,
    exchange_of,
    for_transaction,
    may_act_of,
    narrowed,
    read,
    shown,
    subject_of,
)


def judge(standing: Standing, request: TokenRequest, seen: Seen) -> Access:
    """An access token, or a transaction token if the request asks for one and the tenant offers them."""
    exchange = exchange_of(request, seen)
    if for_transaction(exchange, standing.tenant.transaction_tokens):
        return transaction_token.judge(standing, request, exchange)
    return _access_token(standing, request, exchange)


def _access_token(standing: Standing, request: TokenRequest, exchange: Exchange) -> Access:
    """What the subject token and the grants of this application have in common at the APIs of the request."""
    application = standing.application
    subject = subject_of(standing, exchange)
    asked = asked_scopes(request.scope)
    targets = named_targets(standing, request, asked)
    if any(api.identifier == ADMIN_API for api in targets):
        raise InvalidTarget("nobody administers Watchword for somebody else")
    settings = shared_settings(targets)
    if exchange.requested_token_type == JWT and settings.format != "jwt":
        raise InvalidRequest("this API's tokens are not JWTs: ask for requested_token_type access_token")
    act = acting(application, subject)
    return Access(
        str(subject["sub"]),
        tuple(api.identifier for api in targets),
        narrowed(asked, subject, granted_at_each(targets, standing.granted)),
        settings,
        must_be_bound(application, targets) or "cnf" in subject,
        may_act=may_act_of(subject),
        details=_details(standing, request, subject, targets),
        exchanged=came_of(subject, act),
        depends_on=depends_on(exchange, subject, act),
        issued_type=exchange.requested_token_type or ACCESS_TOKEN,
    )


def _details(
    standing: Standing, request: TokenRequest, subject: Mapping[str, Any], targets: Any
) -> tuple[dict[str, Any], ...]:
    """Only objects that the subject token has. If none is asked: all of them whose type these APIs know."""
    held = list(subject.get("authorization_details", ()))
    if request.details:
        if any(one not in held for one in request.details):
            raise InvalidAuthorizationDetails("an object of authorization_details is not in the subject token")
        return granted_details(request.details, standing.application.details_types, targets)
    known = {kind.name for api in targets for kind in api.details_types} & set(standing.application.details_types)
    kept = tuple(one for one in held if one["type"] in known)
    return granted_details(kept, known, targets)


GRANT = Grant(TOKEN_EXCHANGE, judge, read=read, repeatable=frozenset({"audience"}), shown=shown)
