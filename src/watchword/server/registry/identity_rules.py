"""Match another issuer's token to an application's identity rules, and reject rules that would match everyone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .errors import Invalid
from .model import Application
from .trusted_issuer import Condition, IdentityRule, IssuerKind, TrustedIssuer

MAX_RULES, MAX_CONDITIONS, MAX_VALUES = 20, 20, 100
_DIVIDERS = re.compile(r"([/:])")
_SAYS_NOTHING = frozenset({
    "iss", "aud", "exp", "iat", "nbf", "jti", "typ", "ver", "nonce", "auth_time", "acr", "amr", "scope",
    "email_verified", "token_use", "ref", "ref_type", "event_name", "runner_environment",
})  # fmt: skip
"""Claims that do not identify anyone: every token of the issuer can have them."""
_MISSING = object()


def rules_of(application: Application | None, issuer: TrustedIssuer | None) -> tuple[IdentityRule, ...]:
    """The application's rules for tokens of this issuer."""
    if application is None or issuer is None:
        return ()
    return tuple(rule for rule in application.identities if rule.issuer_id == issuer.issuer_id)


def matching(rules: Sequence[IdentityRule], claims: Mapping[str, Any]) -> IdentityRule | None:
    """The first rule whose conditions are all met; None when there is no such rule."""
    return next((rule for rule in rules if all(holds(condition, claims) for condition in rule.conditions)), None)


def holds(condition: Condition, claims: Mapping[str, Any]) -> bool:
    """Whether the condition is met. The text "true" is not the boolean; an absent claim meets no condition."""
    value = claim_value(claims, condition.claim)
    if condition.equals is not None:
        return type(value) is type(condition.equals) and value == condition.equals
    if condition.contains is not None:
        return isinstance(value, list) and any(each == condition.contains for each in value if isinstance(each, str))
    if not isinstance(value, str):
        return False
    return glob_matches(condition.glob, value) if condition.glob is not None else value in condition.one_of


def glob_matches(glob: str, value: str) -> bool:
    """Compares segment by segment, so the cost is linear in the length of both texts."""
    wanted, given = _DIVIDERS.split(glob), _DIVIDERS.split(value)
    if wanted[-1] == "**":
        if len(given) < len(wanted) or not all(given[len(wanted) - 1 :: 2]):
            return False
        wanted, given = wanted[:-1], given[: len(wanted) - 1]
    return len(wanted) == len(given) and all(map(_segment_matches, wanted, given))


def _segment_matches(wanted: str, given: str) -> bool:
    if not wanted.endswith("*"):
        return wanted == given
    return given.startswith(wanted[:-1]) and len(given) >= len(wanted)


def claim_value(claims: Mapping[str, Any], name: str) -> object:
    """The claim's value; when it is absent, an object that equals nothing."""
    if not name.startswith("/"):
        return claims.get(name, _MISSING)
    found: object = claims
    for part in name[1:].split("/"):
        if not isinstance(found, Mapping):
            return _MISSING
        found = found.get(part.replace("~1", "/").replace("~0", "~"), _MISSING)
    return found


def why_not(condition: Condition, claims: Mapping[str, Any]) -> str:
    """Why the condition is not met, for its author; empty when it is met."""
    if holds(condition, claims):
        return ""
    value = claim_value(claims, condition.claim)
    if value is _MISSING:
        return "there is no such claim"
    wanted = next(
        f"{way.replace('_', ' ')} {json.dumps(given, ensure_ascii=False)}"
        for way in ("equals", "one_of", "glob", "contains")
        if (given := getattr(condition, way)) not in (None, ())
    )
    return f"it is {json.dumps(value, ensure_ascii=False)[:300]}; wanted: {wanted}"


def check_rules(rules: Sequence[IdentityRule], issuers: Mapping[str, TrustedIssuer], method: str) -> None:
    """Raises `Invalid` for a rule that could match more than one workload; the text says which condition is missing."""
    if len(rules) > MAX_RULES:
        raise Invalid(f"an application has at most {MAX_RULES} identity rules", field="identities")
    for rule in rules:
        issuer = issuers.get(rule.issuer_id)
        if issuer is None:
            raise Invalid(f"there is no trusted issuer {rule.issuer_id!r}", field="issuer_id")
        if (issuer.kind == "spiffe") != method.startswith("spiffe_"):
            raise Invalid(
                "for issuers of kind spiffe the auth_method is spiffe_jwt or spiffe_x509, for the others federated_jwt",
                field="issuer_id",
            )
        if not 1 <= len(rule.conditions) <= MAX_CONDITIONS:
            raise Invalid(f"a rule has 1 to {MAX_CONDITIONS} conditions", field="conditions")
        for condition in rule.conditions:
            _check_condition(condition)
        _PINS[issuer.kind](rule.conditions, issuer)


def _check_condition(condition: Condition) -> None:
    ways = [condition.equals is not None, bool(condition.one_of), condition.glob is not None]
    if sum([*ways, condition.contains is not None]) != 1:
        raise Invalid("a condition has one of equals, one_of, glob and contains", field="conditions")
    texts = [condition.claim, *condition.one_of]
    texts += [t for t in (condition.equals, condition.glob, condition.contains) if isinstance(t, str)]
    if len(condition.one_of) > MAX_VALUES or not all(1 <= len(t) <= 1000 and t.isprintable() for t in texts):
        raise Invalid(
            f"claims and values are printable and not empty; one_of has at most {MAX_VALUES}", field="conditions"
        )
    if condition.glob is not None:
        _check_glob(condition.glob)


def _check_glob(glob: str) -> None:
    *inner, last = _DIVIDERS.split(glob)[::2]
    if any("*" in segment[:-1] for segment in inner) or ("*" in last[:-1] and last != "**"):
        raise Invalid("in a glob, * ends a segment, and ** is the whole last one", field="conditions")


def _pinned(conditions: Sequence[Condition], claim: str, test: Callable[[str], bool] = bool) -> bool:
    """Whether the rule allows only a few values of the claim, each of which passes the test."""
    for condition in conditions:
        texts = condition.one_of or ((condition.equals,) if isinstance(condition.equals, str) else ())
        if condition.claim == claim and texts and all(test(text) for text in texts):
            return True
    return False


def _kubernetes(conditions: Sequence[Condition], _: TrustedIssuer) -> None:
    account = re.compile(r"system:serviceaccount:[a-z0-9.-]+:[a-z0-9.-]+")
    claims = ("/kubernetes.io/namespace", "/kubernetes.io/serviceaccount/name")
    by_subject = _pinned(conditions, "sub", lambda text: account.fullmatch(text) is not None)
    if not by_subject and not all(_pinned(conditions, claim) for claim in claims):
        raise Invalid(
            "name the namespace and the service account, both in full: sub = system:serviceaccount:NAMESPACE:NAME",
            field="conditions",
        )


def _by_number(conditions: Sequence[Condition], *claims: str) -> bool:
    return any(_pinned(conditions, claim, lambda text: text.isascii() and text.isdigit()) for claim in claims)


def _github(conditions: Sequence[Condition], _: TrustedIssuer) -> None:
    if not _by_number(conditions, "repository_owner_id", "repository_id"):
        raise Invalid(
            "give repository_owner_id or repository_id, the number: everyone on GitHub has this issuer, and the name "
            "of an owner or a repository can become somebody else's",
            field="conditions",
        )


def _gitlab(conditions: Sequence[Condition], _: TrustedIssuer) -> None:
    if not _by_number(conditions, "namespace_id", "project_id"):
        raise Invalid(
            "give namespace_id or project_id, the number: everyone on that GitLab has this issuer, and the path of a "
            "group or a project can become somebody else's",
            field="conditions",
        )


def _spiffe(conditions: Sequence[Condition], issuer: TrustedIssuer) -> None:
    def inside(text: str) -> bool:
        first = text.removeprefix(f"{issuer.issuer}/").partition("/")[0]
        return text.startswith(f"{issuer.issuer}/") and bool(first) and "*" not in first

    globs = [c.glob for c in conditions if c.claim == "sub" and c.glob is not None]
    if not any(inside(glob) for glob in globs) and not _pinned(conditions, "sub", inside):
        raise Invalid(f"name the SPIFFE id in this trust domain: sub = {issuer.issuer}/PATH", field="conditions")


def _oidc(conditions: Sequence[Condition], _: TrustedIssuer) -> None:
    for condition in conditions:
        if condition.claim.removeprefix("/") in _SAYS_NOTHING:
            continue
        literal = (condition.glob or "").partition("*")[0]
        if _pinned([condition], condition.claim) or len([s for s in _DIVIDERS.split(literal)[:-1:2] if s]) >= 2:
            return
    raise Invalid(
        "name the subject in full, or another claim that not everyone at this issuer has: sub = ...",
        field="conditions",
    )


_PINS: dict[IssuerKind, Callable[[Sequence[Condition], TrustedIssuer], None]] = {
    "kubernetes": _kubernetes,
    "github": _github,
    "gitlab": _gitlab,
    "spiffe": _spiffe,
    "oidc": _oidc,
}
"""The claims that a rule has to fix at least, by the issuer's kind (decision 0034)."""
