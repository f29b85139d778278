"""Which application a statement is about: the matcher, pure, and the refusal of rules that would match everyone."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .errors import Invalid
from .trusted_issuer import Condition, IdentityRule, IssuerKind, TrustedIssuer

MAX_RULES, MAX_CONDITIONS, MAX_VALUES = 20, 20, 100
_DIVIDERS = re.compile(r"([/:])")
_COMMON = frozenset({
    "iss", "aud", "exp", "iat", "nbf", "jti", "typ", "ver", "nonce", "auth_time", "acr", "amr", "scope",
    "email_verified", "token_use", "ref", "ref_type", "event_name", "runner_environment",
})  # fmt: skip
"""Claims that say nothing about who it is, or that everybody at the issuer may have."""
_MISSING = object()


def failing(rule: IdentityRule, claims: Mapping[str, Any]) -> Condition | None:
    """The first condition that does not hold; None when the rule matches."""
    return next((condition for condition in rule.conditions if not holds(condition, claims)), None)


def holds(condition: Condition, claims: Mapping[str, Any]) -> bool:
    """Types count: the text "true" is not the boolean; an absent claim holds nothing."""
    value = _claim(claims, condition.claim)
    if condition.equals is not None:
        return type(value) is type(condition.equals) and value == condition.equals
    if condition.contains is not None:
        return isinstance(value, list) and condition.contains in [each for each in value if isinstance(each, str)]
    if not isinstance(value, str):
        return False
    return glob_matches(condition.glob, value) if condition.glob is not None else value in condition.one_of


def glob_matches(glob: str, value: str) -> bool:
    """Segment by segment, so it costs what the two texts are long."""
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


def _claim(claims: Mapping[str, Any], name: str) -> object:
    if not name.startswith("/"):
        return claims.get(name, _MISSING)
    found: object = claims
    for part in name[1:].split("/"):
        if not isinstance(found, Mapping):
            return _MISSING
        found = found.get(part.replace("~1", "/").replace("~0", "~"), _MISSING)
    return found


def check_rules(rules: Sequence[IdentityRule], issuers: Mapping[str, TrustedIssuer], method: str) -> None:
    """Raises `Invalid`: of a rule that would match more than somebody in particular, and says what is missing."""
    if len(rules) > MAX_RULES:
        raise Invalid(f"an application has at most {MAX_RULES} identity rules", field="identities")
    for rule in rules:
        issuer = issuers.get(rule.issuer_id)
        if issuer is None:
            raise Invalid(f"there is no trusted issuer {rule.issuer_id!r}", field="issuer_id")
        if (issuer.kind == "spiffe") != (method == "spiffe_jwt"):
            raise Invalid(
                "the auth_method is spiffe_jwt for issuers of kind spiffe, federated_jwt for the others",
                field="issuer_id",
            )
        if not 1 <= len(rule.conditions) <= MAX_CONDITIONS:
            raise Invalid(f"a rule has 1 to {MAX_CONDITIONS} conditions", field="conditions")
        for condition in rule.conditions:
            _check_condition(condition)
        _SPECIFIC[issuer.kind](rule.conditions, issuer)


def _check_condition(condition: Condition) -> None:
    ways = [condition.equals is not None, bool(condition.one_of), condition.glob is not None]
    if sum([*ways, condition.contains is not None]) != 1:
        raise Invalid("a condition has one of equals, one_of, glob and contains", field="conditions")
    texts = [condition.claim, *condition.one_of, condition.glob or "-", condition.contains or "-"]
    texts += [condition.equals] if isinstance(condition.equals, str) else []
    if len(condition.one_of) > MAX_VALUES or not all(1 <= len(t) <= 1000 and t.isprintable() for t in texts):
        raise Invalid(
            f"claims and values are printable, not empty; one_of has at most {MAX_VALUES}", field="conditions"
        )
    if condition.contains == "" or condition.glob == "":
        raise Invalid("an empty text matches nothing that says who it is", field="conditions")
    if condition.glob is not None:
        _check_glob(condition.glob)


def _check_glob(glob: str) -> None:
    segments = _DIVIDERS.split(glob)[::2]
    for place, segment in enumerate(segments):
        last = place == len(segments) - 1
        if "*" in segment[:-1] and not (segment == "**" and last):
            raise Invalid("in a glob, * ends a segment, and ** is the whole last one", field="conditions")


def pinned(conditions: Sequence[Condition], claim: str, test: Callable[[str], bool] = bool) -> bool:
    """Whether the claim can only be one of a few texts, each of which passes the test."""
    for condition in conditions:
        if condition.claim != claim:
            continue
        texts = condition.one_of or ((condition.equals,) if isinstance(condition.equals, str) else ())
        if texts and all(test(text) for text in texts):
            return True
    return False


def anchored(conditions: Sequence[Condition], claim: str, *beginning: str) -> bool:
    """Pinned, or a glob whose first segments are literal: these ones, where `""` is any text without a `*`."""

    def begins(text: str) -> bool:
        found = _DIVIDERS.split(text)[::2][: len(beginning)]
        pairs = zip(beginning, found, strict=False)
        return len(found) == len(beginning) and all(b in ("", f) and f and "*" not in f for b, f in pairs)

    globs = [condition.glob for condition in conditions if condition.claim == claim and condition.glob is not None]
    return any(begins(glob) for glob in globs) or pinned(conditions, claim, lambda text: begins(text))


def _kubernetes(conditions: Sequence[Condition], _: TrustedIssuer) -> None:
    account = r"system:serviceaccount:[a-z0-9.-]+:[a-z0-9.-]+"
    by_subject = pinned(conditions, "sub", lambda text: re.fullmatch(account, text) is not None)
    claims = ("/kubernetes.io/namespace", "/kubernetes.io/serviceaccount/name")
    if not by_subject and not all(pinned(conditions, claim) for claim in claims):
        raise Invalid(
            "name the namespace and the service account, both in full: sub = system:serviceaccount:NAMESPACE:NAME",
            field="conditions",
        )


def _github(conditions: Sequence[Condition], _: TrustedIssuer) -> None:
    ids = ("repository_owner", "repository_owner_id", "repository_id", "enterprise_id")
    paths = anchored(conditions, "repository", "", "") or anchored(conditions, "repository", "")
    if not paths and not any(pinned(conditions, c) for c in ids) and not anchored(conditions, "sub", "repo", ""):
        raise Invalid(
            "name the owner or the repository, for everyone on GitHub has this issuer: repository = OWNER/NAME",
            field="conditions",
        )


def _gitlab(conditions: Sequence[Condition], _: TrustedIssuer) -> None:
    paths = anchored(conditions, "project_path", "") or anchored(conditions, "namespace_path", "")
    ids = ("project_id", "namespace_id")
    if (
        not paths
        and not any(pinned(conditions, c) for c in ids)
        and not anchored(conditions, "sub", "project_path", "")
    ):
        raise Invalid(
            "name the group or the project, for everyone on that GitLab has this issuer: project_path = GROUP/NAME",
            field="conditions",
        )


def _spiffe(conditions: Sequence[Condition], issuer: TrustedIssuer) -> None:
    inside = [c for c in conditions if c.claim == "sub"]
    domain = issuer.issuer.removeprefix("spiffe://")
    if not inside or not anchored(inside, "sub", "spiffe", "", "", domain, ""):
        raise Invalid(f"name the SPIFFE id in this trust domain: sub = {issuer.issuer}/PATH", field="conditions")


def _oidc(conditions: Sequence[Condition], _: TrustedIssuer) -> None:
    named = {c.claim for c in conditions} - _COMMON
    if not any(pinned(conditions, c) or anchored(conditions, c, "", "") for c in named):
        raise Invalid(
            "name the subject in full, or another claim that not everyone at this issuer has: sub = ...",
            field="conditions",
        )


_SPECIFIC: dict[IssuerKind, Callable[[Sequence[Condition], TrustedIssuer], None]] = {
    "kubernetes": _kubernetes,
    "github": _github,
    "gitlab": _gitlab,
    "spiffe": _spiffe,
    "oidc": _oidc,
}
