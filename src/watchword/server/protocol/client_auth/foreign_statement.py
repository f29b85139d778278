"""federated_jwt and spiffe_jwt: authenticate with another issuer's token that matches an identity rule."""

from __future__ import annotations

from ....jose import BadSignature, ClaimRefused, JoseError, KeySet
from ...registry.identity_rules import matching, rules_of
from ...registry.model import Application
from ...registry.trusted_issuer import TrustedIssuer
from ..errors import InvalidClient
from ..request import Credentials
from ..statement import Listener, check_statement, statement_marks, verified_claims
from .assertion import spend
from .grounds import Grounds, Proven


def prove(application: Application | None, presented: Credentials, grounds: Grounds) -> Proven:
    """Authenticate with a token that meets one of the application's rules for its issuer.

    The application comes from `client_id`, or from `sub` without one (RFC 7523 section 3); then its rules must match.
    Raises `InvalidClient`, always with the same text.
    """
    if presented.assertion is None:
        raise InvalidClient(detail="no client assertion in the request")
    issuer = grounds.trusted
    fits = issuer is not None and (issuer.kind == "spiffe") == (presented.method == "spiffe_jwt")
    registered = application is not None and application.auth_method == presented.method
    rules = rules_of(application, issuer) if registered and fits else ()
    try:
        claims = verified_claims(
            presented.assertion,
            grounds.keys if rules else KeySet([]),
            issuer.algorithms if issuer is not None else (),
        )
    except JoseError as error:
        if not isinstance(error, BadSignature):
            spend(presented.assertion)
        raise InvalidClient(detail=f"another issuer's statement: {error.rule}") from None
    assert issuer is not None  # without one there are no keys that could have verified
    try:
        check_statement(claims, issuer, Listener(grounds.issuer, grounds.now, grounds.window.leeway))
        marks = statement_marks(claims, issuer, grounds.window)
    except ClaimRefused as error:
        raise InvalidClient(detail=f"another issuer's statement: {error.rule}", rule=error.claim) from None
    rule = matching(rules, claims)
    if rule is None:
        raise InvalidClient(detail="another issuer's statement: no identity rule holds", rule="identity")
    return Proven(identity_id=rule.rule_id, foreign_subject=claims["sub"], marks=marks)


def check_unverified(issuer: TrustedIssuer, presented: Credentials, grounds: Grounds) -> None:
    """Refuse what no key could save, before keys are fetched. Raises `InvalidClient`."""
    if presented.assertion is None:
        return
    try:
        listener = Listener(grounds.issuer, grounds.now, grounds.window.leeway)
        check_statement(presented.assertion.unverified_claims, issuer, listener)
    except ClaimRefused as error:
        raise InvalidClient(detail=f"another issuer's statement: {error.rule}", rule=error.claim) from None
