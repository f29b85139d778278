"""What every kind of token exchange (RFC 8693) has in common: the subject token, and what may come of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from ...registry.model import Application, TransactionTokens
from ..access import Exchanged
from ..errors import InvalidRequest, InvalidScope
from ..request import Form, TokenRequest, text
from ..standing import Standing
from .grant import Seen, ShownToken

ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
TXN_TOKEN: Final = "urn:ietf:params:oauth:token-type:txn_token"
TRANSACTION_TYPE: Final = "txntoken+jwt"
"""`typ` of a transaction token (draft-ietf-oauth-transaction-tokens-10 section 9.1)."""
MAX_ACTORS: Final = 5
"""Applications in one chain of delegation, at most."""


class Exchange(Struct, frozen=True):
    """The parameters of a token exchange (RFC 8693 section 2.1)."""

    unverified_subject_token: str
    subject_token_type: str
    unverified_actor_token: str
    actor_token_type: str
    requested_token_type: str
    unverified_context: str
    """`request_context`, a JSON text: for transaction tokens only, as is `request_details`
    (draft-ietf-oauth-transaction-tokens-10 section 11.1)."""
    unverified_details: str
    subject: Mapping[str, Any] | None = None
    """The claims of the subject token once it is verified; None if it is not an active token of this issuer."""
    actor: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        return "Exchange(...)"


def read(form: Form) -> Exchange:
    """The parameters as they are; `check_form` checks them."""
    return Exchange(
        text(form, "subject_token"),
        text(form, "subject_token_type"),
        text(form, "actor_token"),
        text(form, "actor_token_type"),
        text(form, "requested_token_type"),
        text(form, "request_context"),
        text(form, "request_details"),
    )


def shown(standing: Standing, request: TokenRequest) -> tuple[ShownToken, ...]:
    """The subject token, and the actor token if there is one. Raises `InvalidRequest`."""
    exchange = _members(request)
    check_form(exchange, standing.tenant.transaction_tokens)
    replaced = exchange.subject_token_type == TXN_TOKEN
    subject = ShownToken(exchange.unverified_subject_token, TRANSACTION_TYPE if replaced else "")
    return (subject, ShownToken(exchange.unverified_actor_token)) if exchange.unverified_actor_token else (subject,)


def exchange_of(request: TokenRequest, seen: Seen) -> Exchange:
    """The parameters with the claims of the tokens that `shown` named."""
    subject, actor = seen if len(seen) > 1 else (*seen, None)
    return replace(_members(request), subject=subject, actor=actor)


def _members(request: TokenRequest) -> Exchange:
    assert isinstance(request.members, Exchange)
    return request.members


def for_transaction(exchange: Exchange, offered: TransactionTokens | None) -> bool:
    """Whether a transaction token is asked for, where there are any."""
    return offered is not None and exchange.requested_token_type == TXN_TOKEN


def check_form(exchange: Exchange, offered: TransactionTokens | None) -> None:
    """What can be said without looking at a token (section 2.1). Raises `InvalidRequest`.

    A tenant that does not offer transaction tokens answers as if they did not exist.
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


def came_of(subject: Mapping[str, Any], act: Mapping[str, Any]) -> Exchanged:
    """What the new token has of the subject token."""
    return Exchanged(str(act["sub"]), dict(act), _subject_tokens(subject), int(subject["exp"]))


def depends_on(exchange: Exchange, subject: Mapping[str, Any], act: Mapping[str, Any]) -> frozenset[str]:
    """All applications and tokens without which there would be no new token."""
    applications = (str(subject["sub"]), *_actors(act))
    shown_too = () if exchange.actor is None else (str(exchange.actor["jti"]),)
    return frozenset((*applications, *_subject_tokens(subject), *shown_too))


def _subject_tokens(subject: Mapping[str, Any]) -> tuple[str, ...]:
    return (*subject.get("subject_tokens", ()), str(subject["jti"]))


def _actors(act: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Who acts, and for whom that one acted, and so on (section 4.1)."""
    return () if act is None else (str(act["sub"]), *_actors(act.get("act")))
