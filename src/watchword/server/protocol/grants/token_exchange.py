"""Token exchange (RFC 8693): a service that was called calls on, for who called it, with less.

Always a delegation, never an impersonation: the token says for whom (`sub`) and who acts (`act`, `client_id`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...registry.model import ADMIN_API
from ..access import Access, asked_scopes, must_be_bound, shared_settings
from ..authorization_details import granted_details
from ..errors import InvalidAuthorizationDetails, InvalidRequest, InvalidTarget
from ..request import TokenRequest
from ..standing import Standing
from .client_credentials import named_targets
from .subject_token import JWT, acting, came_of, check_form, may_act_of, narrowed, subject_of


def grant(standing: Standing, request: TokenRequest) -> Access:
    """What the subject's token and this application's grants have in common at the APIs that were named."""
    exchange = request.exchange
    assert exchange is not None
    check_form(exchange, standing.tenant.transaction_tokens)
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
    available: frozenset[str] = frozenset().union(*(standing.granted[api.api_id] for api in targets))
    return Access(
        str(subject["sub"]),
        tuple(api.identifier for api in targets),
        narrowed(asked, subject, available),
        settings,
        must_be_bound(application, targets) or "cnf" in subject,
        may_act=may_act_of(subject),
        details=_details(standing, request, subject, targets),
        exchanged=came_of(exchange, subject, act),
    )


def _details(
    standing: Standing, request: TokenRequest, subject: Mapping[str, Any], targets: Any
) -> tuple[dict[str, Any], ...]:
    """Only what the subject token has, object by object; without a word, what of it these APIs know."""
    held = list(subject.get("authorization_details", ()))
    if request.details:
        if any(one not in held for one in request.details):
            raise InvalidAuthorizationDetails("an object of authorization_details is not in the subject token")
        return granted_details(request.details, standing.application.details_types, targets)
    known = {kind.name for api in targets for kind in api.details_types} & set(standing.application.details_types)
    return tuple(one for one in held if one["type"] in known)
