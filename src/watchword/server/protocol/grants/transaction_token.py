"""Transaction tokens (draft-ietf-oauth-transaction-tokens-10): the context of a call, for all services behind it.

A kind of token exchange, so a transaction token never allows more than the subject token: the same subject, scopes of
that token only, no longer life. It is not an access token. Section numbers are those of the draft.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ...registry.model import SECRET_METHODS, Application
from ..access import Access, Kind, asked_scopes
from ..bounded_json import check_values, read_text
from ..errors import InvalidRequest, InvalidTarget
from ..request import TokenRequest
from ..standing import Standing
from .client_credentials import named_targets
from .subject_token import (
    TRANSACTION_TYPE,
    TXN_TOKEN,
    Exchange,
    acting,
    came_of,
    depends_on,
    may_act_of,
    narrowed,
    subject_of,
)

MAX_CONTEXT: Final = 2_048
"""Bytes of each context: the token has to fit in a header, beside the other headers of a request."""
MAX_DEPTH: Final = 8


class Transaction(Struct, frozen=True):
    """The claims that only a transaction token has (section 9.2)."""

    txn: str
    """The transaction's id; empty for a new transaction."""
    tctx: dict[str, Any] | None
    rctx: dict[str, Any] | None


class TransactionAccess(Access, frozen=True, kw_only=True):
    """What was granted, and the transaction."""

    transaction: Transaction


class TransactionTokenClaims(Struct, frozen=True, omit_defaults=True):
    """draft-ietf-oauth-transaction-tokens-10 section 9.2, and `jti`, `act`, `may_act` as in an access token."""

    iss: str
    iat: int
    aud: str
    exp: int
    txn: str
    sub: str
    scope: str
    req_wl: str
    jti: str
    act: dict[str, Any]
    """The call chain that a replacement has to keep (section 13.15): the application that asked, and those before."""
    subject_tokens: tuple[str, ...]
    """See `access.Exchanged`."""
    tctx: dict[str, Any] | None = None
    rctx: dict[str, Any] | None = None
    may_act: dict[str, str] | None = None


def claims(access: TransactionAccess, issuer: str, now: int, token_id: str) -> TransactionTokenClaims:
    """Pure. A new transaction is named after its first token."""
    exchanged, transaction = access.exchanged, access.transaction
    assert exchanged is not None
    return TransactionTokenClaims(
        issuer,
        now,
        access.audience[0],
        min(now + access.settings.lifetime, exchanged.expires_at),
        transaction.txn or token_id,
        access.subject,
        " ".join(access.scopes),
        exchanged.actor,
        token_id,
        exchanged.act,
        exchanged.subject_tokens,
        transaction.tctx,
        transaction.rctx,
        {"sub": access.may_act} if access.may_act else None,
    )


KIND: Final = Kind(TRANSACTION_TYPE, claims)


def judge(standing: Standing, request: TokenRequest, exchange: Exchange) -> TransactionAccess:
    """A new transaction, or another token of the same one (section 13.15)."""
    offered = standing.tenant.transaction_tokens
    assert offered is not None
    if request.details:
        raise InvalidRequest("a transaction token has request_details, not authorization_details")
    if request.resources or request.audiences != (offered.trust_domain,):
        raise InvalidTarget("audience is the trust domain, once, and resource is left out")
    asked = asked_scopes(request.scope)
    if not asked:
        raise InvalidRequest("scope is needed: what the transaction is for")
    application, subject = standing.application, subject_of(standing, exchange)
    _check_key(application, subject)
    [domain] = named_targets(standing, request, asked)
    if domain.require_bound:
        raise InvalidTarget("tokens for this API are bound to a key (require_bound), and transaction tokens are not")
    act = acting(application, subject)
    return TransactionAccess(
        str(subject["sub"]),
        (domain.identifier,),
        narrowed(asked, subject, standing.granted[domain.api_id]),
        replace(domain.tokens, format="jwt", lifetime=offered.lifetime, status_list=False),
        may_act=may_act_of(subject),
        exchanged=came_of(subject, act),
        depends_on=depends_on(exchange, subject, act),
        issued_type=exchange.requested_token_type,
        kind=KIND,
        transaction=_transaction(exchange, subject, domain.identifier),
    )


def _check_key(application: Application, subject: Mapping[str, Any]) -> None:
    """A transaction token goes from hand to hand and has no `cnf`; so whoever trades a bound token for one holds a key.

    Otherwise two stolen texts, that token and a client secret, would do what one of them cannot (section 11.5).
    """
    if "cnf" in subject and application.auth_method in SECRET_METHODS:
        raise InvalidRequest(
            "subject_token is bound to a key: for a transaction token the application has to prove itself with a key, "
            "not with a secret"
        )


def _transaction(exchange: Exchange, subject: Mapping[str, Any], trust_domain: str) -> Transaction:
    context = _read(exchange.unverified_context, "request_context")
    details = _read(exchange.unverified_details, "request_details")
    if exchange.subject_token_type != TXN_TOKEN:
        return Transaction("", details, context)
    if subject["aud"] != trust_domain:
        raise InvalidRequest("subject_token is of another trust domain; a transaction stays in its own")
    return Transaction(
        str(subject["txn"]),
        _added(subject.get("tctx"), details, "request_details"),
        _added(subject.get("rctx"), context, "request_context"),
    )


def _read(unverified_text: str, name: str) -> dict[str, Any] | None:
    """Section 11.1: a JSON object, or nothing. Raises `InvalidRequest`."""
    if not unverified_text:
        return None
    found = read_text(unverified_text, name, MAX_CONTEXT, InvalidRequest)
    if not isinstance(found, dict):
        raise InvalidRequest(f"{name} is a JSON object")
    check_values(found, name, MAX_DEPTH, InvalidRequest)
    return _bounded(found, name)


def _added(before: dict[str, Any] | None, more: dict[str, Any] | None, name: str) -> dict[str, Any] | None:
    """A replacement may say more, and nothing differently (section 13.15)."""
    if before is None or more is None:
        return more if before is None else before
    changed = [key for key in more if key in before and not _same(before[key], more[key])]
    if changed:
        raise InvalidRequest(f"{name}: {changed[0][:100]!r} is in the subject token already, and cannot be changed")
    return _bounded({**before, **more}, name)


def _bounded(context: dict[str, Any], name: str) -> dict[str, Any]:
    if len(msgspec.json.encode(context)) > MAX_CONTEXT:
        raise InvalidRequest(f"{name} has at most {MAX_CONTEXT} bytes, with what the subject token holds of it")
    return context


def _same(one: Any, other: Any) -> bool:
    """To whoever reads it: for Python 1, 1.0 and True are equal."""
    return msgspec.json.encode(one, order="deterministic") == msgspec.json.encode(other, order="deterministic")
