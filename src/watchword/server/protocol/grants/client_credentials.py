"""The client credentials grant (RFC 6749 section 4.4) with resource indicators (RFC 8707)."""

from __future__ import annotations

from ...registry.model import CLIENT_CREDENTIALS, Api
from ..access import (
    Access,
    allowed_scopes,
    asked_scopes,
    check_together,
    granted_at_each,
    must_be_bound,
    shared_settings,
    target_apis,
)
from ..authorization_details import granted_details
from ..errors import InvalidTarget
from ..request import TokenRequest
from ..standing import Standing
from .grant import Grant, Seen

MAX_RESOURCES = 20
MAX_ANSWERS, MAX_QUESTION = 8, 512
"""How many answers are remembered for one application, and the longest `scope` of a remembered one, in characters."""


def judge(standing: Standing, request: TokenRequest, _: Seen = ()) -> Access:
    """The application asks for itself: the subject is the client (RFC 9068 section 2.2).

    A request with details (RFC 9396) and without scope gets the details and no scope. An application asks for the same
    each time, so answers are remembered in its standing; a change to anything they depend on drops the standing.
    """
    if request.details:
        return _judge(standing, request)
    question = (request.scope, request.resources, request.audiences)
    known = standing.answers.get(question)
    if known is not None:
        return known
    access = _judge(standing, request)
    if len(standing.answers) < MAX_ANSWERS and len(request.scope) < MAX_QUESTION:
        standing.answers[question] = access
    return access


def _judge(standing: Standing, request: TokenRequest) -> Access:
    asked = asked_scopes(request.scope)
    targets = named_targets(standing, request, asked)
    application, details = standing.application, request.details
    if details:
        details = granted_details(details, application.details_types, targets)
    return Access(
        application.client_id,
        tuple(api.identifier for api in targets),
        () if details and not asked else allowed_scopes(asked, granted_at_each(targets, standing.granted)),
        shared_settings(targets),
        must_be_bound(application, targets),
        may_act=application.may_act or "",
        details=details,
    )


def named_targets(standing: Standing, request: TokenRequest, asked: tuple[str, ...]) -> tuple[Api, ...]:
    """The APIs that the request is for (RFC 8707 section 2). Raises `InvalidTarget`."""
    named = request.resources + request.audiences
    if len(named) > MAX_RESOURCES:
        raise InvalidTarget(f"more than {MAX_RESOURCES} resources")
    targets = target_apis(named, asked, standing.granted, standing.apis, standing.application.default_api_id)
    check_together(targets, allowed=standing.tenant.several_apis)
    return targets


GRANT = Grant(CLIENT_CREDENTIALS, judge)
