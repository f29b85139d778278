"""Dry run of identity rules: check a token against an application's rules, or new ones, and explain each result.

Uses the same functions as /token. Changes nothing, issues nothing, and does not count the token as used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from ....jose import JoseError, Read, read_unverified
from ...protocol.proof_jwt import Window
from ...protocol.statement import Listener, check_statement, statement_marks, verified_claims
from ...registry.errors import Invalid
from ...registry.identity_rules import check_rules, rules_of, why_not
from ...registry.model import Application, Tenant
from ...registry.spiffe import trust_domain
from ...registry.trusted_issuer import Condition, IdentityRule, TrustedIssuer
from ..desk import Caller, Desk, found, issuers_of
from ..registry.identity_changes import NewIdentityRule
from .fetched_keys import wanted_kid
from .issuer_keys import IssuerKeys


class Trial(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token, and the rules: those of an application, or the given ones."""

    token: str
    client_id: str | None = None
    rules: tuple[NewIdentityRule, ...] = ()

    def __repr__(self) -> str:
        return "Trial(...)"


class ConditionFinding(Struct, frozen=True, kw_only=True):
    """One condition, and why it is not met."""

    condition: Condition
    holds: bool
    why: str


class RuleFinding(Struct, frozen=True, kw_only=True):
    """One rule: it matches when it is for the token's issuer and every condition is met."""

    rule_id: str
    issuer_id: str
    matches: bool
    why: str
    conditions: tuple[ConditionFinding, ...]


class Findings(Struct, frozen=True, kw_only=True):
    """What /token would answer. `statement`: why the token itself is rejected; empty when it is accepted."""

    proves: bool
    issuer: str
    """The token's `iss`, unverified."""
    issuer_id: str | None
    """The id of the trusted issuer with this `iss`."""
    statement: str
    rules: tuple[RuleFinding, ...]
    claims: dict[str, Any]


class DryRunIdentity:
    """Checks a token against identity rules."""

    def __init__(self, desk: Desk, keys: IssuerKeys, issuer_of: Callable[[str], str], window: Window) -> None:
        self._desk, self._keys, self._issuer_of, self._window = desk, keys, issuer_of, window

    async def __call__(self, caller: Caller, trial: Trial) -> Findings:
        """Raises `Invalid` for text that is no JWT, and for rules that could not be stored; `NotFound`."""
        if (trial.client_id is None) == (not trial.rules):
            raise Invalid("give client_id, for the rules of an application, or rules", field="client_id")
        token = _read(trial.token.strip())  # pasted text has white space around it
        unverified = token.unverified_claims
        async with self._desk.store.snapshot() as look:
            tenant: Tenant = found(await look.tenants.get("", caller.tenant_id), "tenant")
            issuers = await issuers_of(look, caller.tenant_id)
            application = _unregistered(trial, issuers)
            if trial.client_id is not None:
                application = found(await look.applications.get(caller.tenant_id, trial.client_id), "application")
        spiffe = application.auth_method.startswith("spiffe_")
        subject, named = unverified.get("sub"), unverified.get("iss")
        name = (trust_domain(subject) if isinstance(subject, str) else "") if spiffe else named
        name = name if isinstance(name, str) else ""
        issuer = next((each for each in issuers.values() if each.issuer == name and each.enabled), None)
        statement = await self._judge(token, issuer, name, self._issuer_of(tenant.slug))
        mine = rules_of(application, issuer)
        rules = tuple(_judge_rule(rule, rule in mine, unverified) for rule in application.identities)
        if not statement and not application.active:
            statement = "the application is disabled" if application.quarantine is None else "it is in quarantine"
        return Findings(
            proves=not statement and any(rule.matches for rule in rules),
            issuer=name,
            issuer_id=issuer.issuer_id if issuer is not None else None,
            statement=statement,
            rules=rules,
            claims=unverified,
        )

    async def _judge(self, token: Read, issuer: TrustedIssuer | None, name: str, ours: str) -> str:
        if issuer is None:
            return f"no issuer {name[:300]!r} is trusted here, or it is disabled"
        bundle = await self._keys.of(issuer, wanted_kid(token))
        if not bundle.keys:
            return "the issuer's keys cannot be had: look at its jwks_uri or jwks, and at the server's log"
        try:
            claims = verified_claims(token, bundle.keys, issuer.algorithms)
            check_statement(claims, issuer, Listener(ours, self._desk.clock(), self._window.leeway))
            statement_marks(claims, issuer, self._window)
        except JoseError as error:
            return error.rule
        return ""


def _read(unverified_token: str) -> Read:
    try:
        return read_unverified(unverified_token)
    except JoseError as error:
        raise Invalid(f"the token is no JWT: {error.rule}", field="token") from None


def _unregistered(trial: Trial, issuers: dict[str, TrustedIssuer]) -> Application:
    """An unregistered application with the given rules."""
    rules = tuple(
        IdentityRule(rule_id=str(number), issuer_id=rule.issuer_id, conditions=rule.conditions)
        for number, rule in enumerate(trial.rules, 1)
    )
    spiffe = any(rule.issuer_id in issuers and issuers[rule.issuer_id].kind == "spiffe" for rule in rules)
    method: Any = "spiffe_jwt" if spiffe else "federated_jwt"
    check_rules(rules, issuers, method)
    return Application(
        tenant_id="", client_id="", name="", auth_method=method, identities=rules, created_at=0
    )  # fmt: skip


def _judge_rule(rule: IdentityRule, about_it: bool, claims: dict[str, Any]) -> RuleFinding:
    conditions = tuple(
        ConditionFinding(condition=each, holds=not (why := why_not(each, claims)), why=why) for each in rule.conditions
    )
    failing = [each.condition.claim for each in conditions if not each.holds]
    why = f"does not hold: {', '.join(failing)}" if failing else ""
    return RuleFinding(
        rule_id=rule.rule_id,
        issuer_id=rule.issuer_id,
        matches=about_it and not failing,
        why=why if about_it else "the rule is about another issuer",
        conditions=conditions,
    )
