"""Claims at their boundaries: each case of the catalogue under its id."""

from __future__ import annotations

import json
from typing import Any

import pytest

from watchword.jose import (
    Algorithm,
    ClaimRefused,
    JoseError,
    KeySet,
    PrivateKey,
    Signer,
    check_claims,
    verify_signature,
)

ISSUER, API, NOW = "https://id.example/t/acme", "https://payments.example", 1_000_000.0
KEY = PrivateKey.generate(Algorithm.ES256)


def claims(**changes: Any) -> dict[str, Any]:
    whole = {"iss": ISSUER, "aud": API, "exp": NOW + 300, "iat": NOW, "scope": "a:read b:write", **changes}
    return {name: value for name, value in whole.items() if value is not ...}


def check(given: dict[str, Any], **options: Any) -> None:
    check_claims(given, **{"issuer": ISSUER, "audience": API, "now": NOW, **options})


ACCEPTED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": (claims(), {}),
    "JWT-024 exp fractional": (claims(exp=NOW + 30.5), {}),
    "JWT-025 exp just ahead": (claims(exp=NOW + 0.001), {}),
    "JWT-025 exp within leeway": (claims(exp=NOW - 9), {"leeway": 10}),
    "JWT-026 nbf now": (claims(nbf=NOW), {}),
    "JWT-026 nbf at leeway": (claims(nbf=NOW + 10), {"leeway": 10}),
    "iat now": (claims(iat=NOW), {}),
    "iat at leeway": (claims(iat=NOW + 10), {"leeway": 10}),
    "iat absent": (claims(iat=...), {}),
    "aud list of one": (claims(aud=[API]), {}),
    "aud list of several": (claims(aud=["https://other.example", API]), {}),
    "aud any of ours": (claims(), {"audience": ["https://x.example", API]}),
    "scope absent": (claims(scope=...), {}),
    "JWT-038 scope empty text": (claims(scope=""), {}),
}


@pytest.mark.parametrize(("given", "options"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepted(given: dict[str, Any], options: dict[str, Any]) -> None:
    """A rule that is too strict by one second or one type locks good callers out."""
    check(given, **options)


def each(case: str, claim: str, *values: object) -> dict[str, tuple[str, dict[str, Any], dict[str, Any]]]:
    return {f"{case} {claim}={value!r:.30}": (claim, claims(**{claim: value}), {}) for value in values}


REFUSED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "JWT-022 exp absent": ("exp", claims(exp=...), {}),
    **each(
        "JWT-023", "exp", str(NOW + 300), "123", True, False, None, [], [NOW + 300], {}, -1, -1.5,
        float("inf"), float("-inf"), float("nan"), 2**63, 10**400,
    ),
    "JWT-025 now == exp": ("exp", claims(exp=NOW), {}),
    "JWT-025 now == exp as int": ("exp", claims(exp=int(NOW)), {}),
    "JWT-025 at the end of leeway": ("exp", claims(exp=NOW - 10), {"leeway": 10}),
    "JWT-025 long gone": ("exp", claims(exp=0), {}),
    "JWT-026 nbf beyond": ("nbf", claims(nbf=NOW + 120), {}),
    "JWT-026 nbf beyond leeway": ("nbf", claims(nbf=NOW + 10.001), {"leeway": 10}),
    **each("JWT-027", "nbf", "soon", [], {}, None, True, float("nan"), 10**400),
    **each("JWT-027", "iat", "soon", [], {}, None, True, float("nan"), 10**400),
    "iat beyond leeway": ("iat", claims(iat=NOW + 10.001), {"leeway": 10}),
    **each(
        "JWT-034", "iss", "https://evil.example", ISSUER + "/", ISSUER[:-1], ISSUER.upper(), " " + ISSUER,
        "https://id.example", [ISSUER], {ISSUER: 1}, None, True, "",
    ),
    "JWT-034 iss absent": ("iss", claims(iss=...), {}),
    "aud absent": ("aud", claims(aud=...), {}),
    **each("", "aud", "https://other.example", API + "/", API[:-1], "", [], [API, 1], [[API]], {API: 1}, None, 1, True),
    "aud none of ours": ("aud", claims(), {"audience": []}),
    "aud a text that contains ours": ("aud", claims(aud=f"{API} https://other.example"), {}),
    **each("JWT-038", "scope", ["a:write"], 1, None, {}, True),
}  # fmt: skip


@pytest.mark.parametrize(("claim", "given", "options"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(claim: str, given: dict[str, Any], options: dict[str, Any]) -> None:
    """Time, issuer and audience are all that keeps a stolen or foreign token out; never an OverflowError."""
    with pytest.raises(ClaimRefused) as caught:
        check(given, **options)
    assert caught.value.claim == claim and caught.value.rule == caught.value.detail != ""


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "Infinity", "1" * 5000, "9" * 400])
def test_jwt_023_numbers_on_the_wire(number: str) -> None:
    """These numbers exist in JSON text only: the whole way from text to judgement must not raise OverflowError."""
    payload = f'{{"iss":"{ISSUER}","aud":"{API}","exp":{number}}}'.encode()
    with pytest.raises(JoseError):
        check(
            verify_signature(
                Signer(KEY).sign(payload), KeySet([KEY.public]), algorithms={KEY.algorithm}, typ={"at+jwt"}
            ).claims
        )


def test_jwt_024_fractional_exp_on_the_wire() -> None:
    """RFC 7519 section 2 allows fractions; a rule for integers alone would refuse other servers' tokens."""
    token = Signer(KEY).sign(json.dumps(claims(exp=NOW + 30.5)).encode())
    verified = verify_signature(token, KeySet([KEY.public]), algorithms={KEY.algorithm}, typ={"at+jwt"})
    check(verified.claims)


@pytest.mark.parametrize("claim", ["iss", "aud"])
@pytest.mark.parametrize("value", ["x\nlevel=info forged", "\x1b[31m", "y" * 10_000])
def test_a_claim_cannot_forge_a_log_line(claim: str, value: str) -> None:
    """The rule is logged by the operator: a line end in a claim would write a line of its own."""
    for given in (claims(**{claim: value}), claims(**{claim: [value]})):
        with pytest.raises(ClaimRefused) as caught:
            check(given)
        assert caught.value.rule.isprintable() and len(caught.value.rule) < 400
        assert value not in caught.value.public


def test_jwt_053_the_rule_names_the_difference_of_the_clocks() -> None:
    """Whoever's clock is a day wrong learns it from the log, and from nowhere else."""
    with pytest.raises(ClaimRefused, match="86100 s ago by this machine's clock"):
        check(claims(), now=NOW + 86_400)
    with pytest.raises(ClaimRefused, match="86400 s ahead of this machine's clock"):
        check(claims(), now=NOW - 86_400)
