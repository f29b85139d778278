"""The matcher of identity rules, against simpler ones, and the parser of statements against everything."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from watchword.jose import Algorithm, JoseError, KeySet, PrivateKey
from watchword.jose.encoding import b64url
from watchword.server.protocol.client_auth import authenticate
from watchword.server.protocol.client_auth.grounds import Grounds
from watchword.server.protocol.errors import InvalidClient, InvalidRequest
from watchword.server.protocol.form import parse_form
from watchword.server.protocol.request import ASSERTION_TYPE, SPIFFE_TYPE
from watchword.server.protocol.token_form import token_request
from watchword.server.registry.errors import Invalid
from watchword.server.registry.identity_rules import check_rules, glob_matches, holds, why_not
from watchword.server.registry.issuers import discovered, fetched_bundle, read_keys
from watchword.server.registry.model import Application
from watchword.server.registry.spiffe import trust_domain
from watchword.server.registry.trusted_issuer import Condition, IdentityRule, TrustedIssuer

ISSUER, NOW = "https://id.example/t/acme", 1_800_000_000.0
KEY = PrivateKey.generate(Algorithm.ES256)
TRUSTED = TrustedIssuer(
    tenant_id="t", issuer_id="i", issuer="https://idp.example", algorithms=("ES256",), max_life=600, single_use=True,
    created_at=0,
)  # fmt: skip
MESH = replace(TRUSTED, kind="spiffe", issuer="spiffe://example.org", single_use=False)
RULE = IdentityRule(rule_id="r", issuer_id="i", conditions=(Condition(claim="sub", equals="me"),))
APPLICATION = Application(
    tenant_id="t", client_id="c", name="c", auth_method="federated_jwt", identities=(RULE,), created_at=0
)
RIGHT = {"iss": "https://idp.example", "sub": "me", "aud": ISSUER, "exp": NOW + 60, "iat": NOW, "jti": "j"}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
texts = st.text(alphabet="ab*/:.", max_size=12)


def _reference(glob: str) -> re.Pattern[str]:
    """A regular expression that says the same, for globs that may be registered."""
    *inner, last = re.split(r"[/:]", glob)
    dividers = re.findall(r"[/:]", glob)
    parts = [re.escape(s[:-1]) + r"[^/:]+" if s.endswith("*") else re.escape(s) for s in inner]
    if last == "**":
        tail = r"[^/:]+(?:[/:][^/:]+)*"
    else:
        tail = re.escape(last[:-1]) + r"[^/:]+" if last.endswith("*") else re.escape(last)
    return re.compile("".join(p + d for p, d in zip(parts, dividers, strict=True)) + tail, re.DOTALL)


def _registrable(glob: str) -> bool:
    conditions = (Condition(claim="sub", equals="me"), Condition(claim="x", glob=glob))
    try:
        check_rules([replace(RULE, conditions=conditions)], {"i": TRUSTED}, "federated_jwt")
    except Invalid:
        return False
    return True


@given(glob=texts, value=texts)
@example(glob="a/**", value="a/")
@example(glob="a/**", value="a")
@example(glob="a/**", value="a//b")
@example(glob="a*", value="a")
@example(glob="**", value="")
@example(glob="a:b/*", value="a/b:c")
@settings(max_examples=500)
def test_globs_say_what_a_regular_expression_says(glob: str, value: str) -> None:
    """A star that goes over a divider makes `acme/*` match `acme/a/b`, or `acme-evil/a`."""
    if _registrable(glob):
        assert glob_matches(glob, value) == bool(_reference(glob).fullmatch(value)), (glob, value)


@given(value=texts)
def test_a_text_without_a_star_is_itself(value: str) -> None:
    """Every rule would be a pattern, and a dot anything."""
    if "*" not in value:
        assert glob_matches(value, value)
        assert not glob_matches(value + "a", value)
        assert not glob_matches(value, value + "a")


def test_a_long_glob_costs_what_it_is_long() -> None:
    """A pattern that backtracks would let one token stop the server (CVE-2024-10270)."""
    assert not glob_matches("/".join(["a*"] * 500) + "/b", "/".join(["aa"] * 5_000))
    assert glob_matches("a/**", "/".join(["a"] * 100_000))


HOLDS: list[tuple[str, Condition, dict[str, Any], bool]] = [
    ("text", Condition(claim="a", equals="x"), {"a": "x"}, True),
    ("text in other letters", Condition(claim="a", equals="x"), {"a": "X"}, False),
    ("absent", Condition(claim="a", equals="x"), {}, False),
    ("null", Condition(claim="a", equals="None"), {"a": None}, False),
    ("a list of it", Condition(claim="a", equals="x"), {"a": ["x"]}, False),
    ("boolean", Condition(claim="a", equals=True), {"a": True}, True),
    ("a text that reads like it", Condition(claim="a", equals=True), {"a": "true"}, False),
    ("a boolean that reads like it", Condition(claim="a", equals="true"), {"a": True}, False),
    ("one, which is not true", Condition(claim="a", equals=True), {"a": 1}, False),
    ("false, which is something", Condition(claim="a", equals=False), {"a": False}, True),
    ("zero, which is not false", Condition(claim="a", equals=False), {"a": 0}, False),
    ("one of", Condition(claim="a", one_of=("x", "y")), {"a": "y"}, True),
    ("none of", Condition(claim="a", one_of=("x", "y")), {"a": "z"}, False),
    ("one of, in a list", Condition(claim="a", one_of=("x",)), {"a": ["x"]}, False),
    ("contains", Condition(claim="a", contains="x"), {"a": ["y", "x"]}, True),
    ("contains, in a text", Condition(claim="a", contains="x"), {"a": "xyz"}, False),
    ("contains, in an object", Condition(claim="a", contains="x"), {"a": {"x": 1}}, False),
    ("contains, deeper", Condition(claim="a", contains="x"), {"a": [["x"]]}, False),
    ("glob", Condition(claim="a", glob="x/*"), {"a": "x/y"}, True),
    ("glob of a number", Condition(claim="a", glob="7*"), {"a": 77}, False),
    ("a dot is no path", Condition(claim="a.b", equals="x"), {"a": {"b": "x"}}, False),
    ("a name with a dot", Condition(claim="a.b", equals="x"), {"a.b": "x"}, True),
    ("a name that is a URL", Condition(claim="https://a/b", equals="x"), {"https://a/b": "x"}, True),
    ("pointer", Condition(claim="/a/b", equals="x"), {"a": {"b": "x"}}, True),
    ("pointer with a dot", Condition(claim="/kubernetes.io/b", equals="x"), {"kubernetes.io": {"b": "x"}}, True),
    ("pointer with escapes", Condition(claim="/a~1b/c~0d/e~01", equals="x"), {"a/b": {"c~d": {"e~1": "x"}}}, True),
    ("pointer into a text", Condition(claim="/a/b", equals="x"), {"a": "b"}, False),
    ("pointer into a list", Condition(claim="/a/0", equals="x"), {"a": ["x"]}, False),
    ("pointer to nothing", Condition(claim="/", equals="x"), {"a": "x"}, False),
]


@pytest.mark.parametrize(("condition", "claims", "expected"), [pytest.param(*c, id=i) for i, *c in HOLDS])
def test_what_holds(condition: Condition, claims: dict[str, Any], expected: bool) -> None:
    """A claim of another type that reads alike would prove somebody; or a rule that is right, nobody."""
    assert holds(condition, claims) is expected
    assert bool(why_not(condition, claims)) is not expected


@given(claims=st.dictionaries(st.sampled_from(["a", "b", "/a"]), json_values), data=st.data())
@settings(max_examples=200)
def test_why_not_and_holds_are_one(claims: dict[str, Any], data: st.DataObject) -> None:
    """The dry run would say yes where /token says no."""
    way = data.draw(
        st.sampled_from([{"equals": "x"}, {"equals": True}, {"one_of": ("", "x")}, {"glob": "*"}, {"contains": "x"}])
    )
    for claim in ("a", "/a", "/a/b", "/~1a"):
        condition = Condition(claim=claim, **way)
        assert holds(condition, claims) is (why_not(condition, claims) == "")


@given(st.text(max_size=40) | st.from_regex(r"spiffe://[a-zA-Z0-9._/:@-]{0,30}", fullmatch=True))
@example("spiffe://a/b/")
@example("spiffe://a//b")
@example("spiffe://a/%62")
@example("spiffe://a/b\n")
@example("spiffe://a/" + "b" * 2_048)
def test_spiffe_ids(text: str) -> None:
    """Two spellings of one id, or an id in two domains, would be whichever a rule wants."""
    usual = re.fullmatch(r"(spiffe://[a-z0-9._-]{1,255})(/(?!\.{1,2}(/|\Z))[A-Za-z0-9._-]+)+", text)
    assert trust_domain(text) == (usual[1] if usual and len(text) <= 2_048 else "")


def judged(
    unverified: str, kind: str = ASSERTION_TYPE, application: Application | None = APPLICATION,
    trusted: TrustedIssuer | None = TRUSTED,
) -> Any:  # fmt: skip
    """What becomes of a statement, as at the endpoint."""
    form = {"client_assertion": unverified, "client_assertion_type": kind, "client_id": "c"}
    request = token_request(parse_form(urlencode(form, errors="surrogatepass").encode()), None)
    grounds = Grounds(b"", NOW, ISSUER, KeySet([KEY.public]), trusted=trusted)
    return authenticate(application, request.unverified_credentials, grounds)


def signed(header: Any, payload: bytes) -> str:
    """By the right key."""
    signing_input = b64url(json.dumps(header).encode()) + b"." + b64url(payload)
    return (signing_input + b"." + b64url(KEY.sign(signing_input))).decode()


HEADER = {"alg": "ES256", "kid": KEY.kid}


def test_the_harness_says_yes_to_the_right_one() -> None:
    """All that follows would prove nothing if nothing at all came through."""
    proven = judged(signed(HEADER, json.dumps(RIGHT).encode()))
    assert (proven.identity_id, proven.foreign_subject, len(proven.marks)) == ("r", "me", 1)
    mesh = replace(
        APPLICATION, auth_method="spiffe_jwt", identities=(replace(RULE, conditions=(_sub("spiffe://example.org/a"),)),)
    )
    right = {"sub": "spiffe://example.org/a", "aud": [ISSUER], "exp": NOW + 60}
    proven = judged(signed(HEADER, json.dumps(right).encode()), SPIFFE_TYPE, mesh, MESH)
    assert (proven.foreign_subject, proven.marks) == ("spiffe://example.org/a", ())


def _sub(value: str) -> Condition:
    return Condition(claim="sub", equals=value)


@given(
    header=st.dictionaries(
        st.sampled_from(["alg", "kid", "typ", "crit", "jwk", "x5t", "b64"]),
        st.sampled_from(["ES256", "HS256", "none", KEY.kid, "JWT", "at+jwt"]) | json_values,
    )
    | st.just(HEADER),
    claims=st.dictionaries(st.sampled_from(list(RIGHT)), st.sampled_from(list(RIGHT.values())) | json_values)
    | json_values,
    base=st.booleans(),
    kind=st.sampled_from([ASSERTION_TYPE, SPIFFE_TYPE]),
    trusted=st.sampled_from([TRUSTED, MESH, None]),
    application=st.sampled_from([APPLICATION, replace(APPLICATION, auth_method="spiffe_jwt"), None]),
)
@settings(max_examples=300)
def test_anything_else_is_refused_and_nothing_more(
    header: Any, claims: Any, base: bool, kind: str, trusted: Any, application: Any
) -> None:
    """A claim of a strange type would be a 500, or believed."""
    said = {**RIGHT, **claims} if base and isinstance(claims, dict) else claims
    try:
        proven = judged(signed(header, json.dumps(said).encode()), kind, application, trusted)
    except (InvalidClient, InvalidRequest):
        return
    assert (kind, trusted, application) == (ASSERTION_TYPE, TRUSTED, APPLICATION)
    assert (said["iss"], said["sub"], proven.identity_id) == ("https://idp.example", "me", "r")
    assert said["aud"] in (ISSUER, [ISSUER])
    assert NOW - 10 < said["exp"] <= NOW + 610
    assert isinstance(said["jti"], str)
    assert said["jti"]


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
@settings(max_examples=200)
def test_what_is_no_statement(text: str) -> None:
    """A form's bytes would be a 500."""
    with pytest.raises((InvalidClient, InvalidRequest)):
        judged(text)


@given(st.binary(max_size=300) | json_values.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=300)
def test_documents_of_other_issuers(raw: bytes) -> None:
    """A page that is no key set would be a 500 for all of the issuer's workloads."""
    for read in (fetched_bundle, discovered):
        for issuer in (TRUSTED, MESH):
            with pytest.raises(JoseError):
                read(raw, issuer)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["kty", "use", "x5c", "crv", "x", "y", "n", "e", "kid", "alg"]),
            json_values | st.sampled_from(["EC", "P-256", "x509-svid", "jwt-svid", "RSA", "AQAB", "sig"]),
        ),
        max_size=4,
    )
)
@settings(max_examples=300)
def test_key_sets_of_other_issuers(keys: list[dict[str, Any]]) -> None:
    """A strange member of a key would be a 500, at registration or at the fetch."""
    for issuer in (TRUSTED, MESH):
        with pytest.raises(JoseError):
            fetched_bundle(json.dumps({"keys": keys}).encode(), issuer)
    with pytest.raises(Invalid):
        read_keys({"keys": keys})
