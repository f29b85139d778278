"""Token exchange (RFC 8693): a service that was called calls on, for who called it, with less.

Always a delegation, never an impersonation: the token says for whom (`sub`) and who acts (`act`, `client_id`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ...registry.model import ADMIN_API, Application, TransactionTokens
from ..access import Access, Exchanged, asked_scopes, must_be_bound, shared_settings
from ..authorization_details import granted_details
from ..errors import InvalidAuthorizationDetails, InvalidRequest, InvalidScope, InvalidTarget
from ..request import Exchange, TokenRequest
from ..standing import Standing
from .client_credentials import named_targets

ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
TXN_TOKEN: Final = "urn:ietf:params:oauth:token-type:txn_token"
MAX_ACTORS: Final = 5
"""How long a chain of services may become."""


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


def acting(application: Application, subject: Mapping[str, Any]) -> dict[str, Any]:
    """`act` of what is asked for (section 4.1). Raises `InvalidRequest` when the chain becomes too long."""
    before = subject.get("act")
    act = {"sub": application.client_id} if before is None else {"sub": application.client_id, "act": before}
    if len(_actors(act)) > MAX_ACTORS:
        raise InvalidRequest(f"more than {MAX_ACTORS} applications would act for one another")
    return act


def may_act_of(subject: Mapping[str, Any]) -> str:
    """Who alone may exchange the subject's token, and so what comes of it (section 4.4)."""
    may_act = subject.get("may_act")
    return str(may_act["sub"]) if isinstance(may_act, dict) else ""


def came_of(exchange: Exchange, subject: Mapping[str, Any], act: Mapping[str, Any]) -> Exchanged:
    tokens = (*subject.get("subject_tokens", ()), str(subject["jti"]))
    shown = () if exchange.actor is None else (str(exchange.actor["jti"]),)
    applications = (str(subject["sub"]), *_actors(act))
    return Exchanged(
        str(act["sub"]), dict(act), tokens, int(subject["exp"]), frozenset((*applications, *tokens, *shown))
    )


def for_transaction(exchange: Exchange, offered: TransactionTokens | None) -> bool:
    """Whether a transaction token is asked for, where there are any."""
    return offered is not None and exchange.requested_token_type == TXN_TOKEN


def check_form(exchange: Exchange, offered: TransactionTokens | None) -> None:
    """What can be said without looking at a token (section 2.1). Raises `InvalidRequest`.

    A tenant that does not offer transaction tokens answers as if nobody had ever thought of them.
    """
    if not exchange.unverified_subject_token or not exchange.subject_token_type:
        raise InvalidRequest("subject_token and subject_token_type are needed")
    if bool(exchange.unverified_actor_token) != bool(exchange.actor_token_type):
        raise InvalidRequest("actor_token and actor_token_type come together or not at all")
    transaction = for_transaction(exchange, offered)
    replaced = transaction and exchange.subject_token_type == TXN_TOKEN
    for kind in ("" if replaced else exchange.subject_token_type, exchange.actor_token_type):
        if kind and kind not in (ACCESS_TOKEN, JWT):
            raise InvalidRequest(f"tokens that are exchanged are of type {ACCESS_TOKEN} or {JWT}")
    if not transaction and exchange.requested_token_type not in ("", ACCESS_TOKEN, JWT):
        raise InvalidRequest(f"requested_token_type is {ACCESS_TOKEN}, {JWT} or left out")


def subject_of(standing: Standing, exchange: Exchange) -> Mapping[str, Any]:
    """The claims of a token that this application may exchange. Raises `InvalidRequest` (section 2.2.2)."""
    application, subject = standing.application, exchange.subject
    if subject is None:
        raise InvalidRequest("subject_token is not an active token of this issuer")
    if exchange.unverified_actor_token and (exchange.actor is None or exchange.actor["sub"] != application.client_id):
        raise InvalidRequest("actor_token is not an active token of this application: who acts is who asks")
    audience = subject["aud"]
    listed = {audience} if isinstance(audience, str) else set(audience)
    served = {
        api.identifier for api in standing.apis.values() if api.api_id in application.exchange_from and api.enabled
    }
    if not listed & served:
        raise InvalidRequest("subject_token is for no API that this application serves (exchange_from)")
    may_act = subject.get("may_act")
    if may_act is not None and may_act.get("sub") != application.client_id:
        raise InvalidRequest("subject_token names another application that may act for its subject (may_act)")
    return subject


def narrowed(asked: tuple[str, ...], subject: Mapping[str, Any], available: frozenset[str]) -> tuple[str, ...]:
    """Scopes that both have; all of them, when none is asked. Raises `InvalidScope`."""
    held = frozenset(str(subject["scope"]).split(" ")) - {""}
    if not asked:
        common = tuple(sorted(held & available))
        if not common and held:
            raise InvalidScope("the subject token and this application's grants have no scope in common here")
        return common
    if not held.issuperset(asked) or not available.issuperset(asked):
        raise InvalidScope("a scope is not in the subject token, or not granted to this application at this API")
    return asked


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


def _actors(act: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Who acts, and for whom that one acted, and so on (section 4.1)."""
    return () if act is None else (str(act["sub"]), *_actors(act.get("act")))
