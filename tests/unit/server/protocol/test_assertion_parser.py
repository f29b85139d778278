"""The parser of assertions, from the bytes of a form to a refusal: it may say no, and nothing else."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from watchword.jose import Algorithm, KeySet, PrivateKey
from watchword.jose.encoding import b64url
from watchword.server.protocol.client_auth import METHODS, authenticate
from watchword.server.protocol.client_auth.grounds import Grounds
from watchword.server.protocol.errors import InvalidClient, InvalidRequest
from watchword.server.protocol.form import parse_form
from watchword.server.protocol.request import ASSERTION_TYPE
from watchword.server.protocol.token_form import token_request
from watchword.server.registry.client_keys import read_keys
from watchword.server.registry.errors import Invalid
from watchword.server.registry.model import Application

ISSUER, NOW = "https://id.example/t/acme", 1_800_000_000.0
KEY = PrivateKey.generate(Algorithm.ES256)
KEYS = KeySet([KEY.public])
APPLICATION = Application(
    tenant_id="t", client_id="c", name="c", auth_method="private_key_jwt", created_at=0,
    keys=read_keys({"keys": [KEY.public.to_jwk()]}, 0),
)  # fmt: skip
RIGHT = {"iss": "c", "sub": "c", "aud": ISSUER, "exp": NOW + 60, "iat": NOW, "jti": "j"}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
headers = st.dictionaries(
    st.sampled_from(["alg", "kid", "typ", "crit", "jwk", "x5t", "b64", "zip"]),
    st.sampled_from(["ES256", "HS256", "none", "PS256", "EdDSA", KEY.kid, "JWT", "at+jwt"]) | json_values,
)


def judged(unverified_assertion: str, method_of: Application | None = APPLICATION) -> Any:
    """What becomes of it, as at the endpoint."""
    body = urlencode(
        {"client_assertion": unverified_assertion, "client_assertion_type": ASSERTION_TYPE}, errors="surrogatepass"
    )
    request = token_request(parse_form(body.encode()), None)
    return authenticate(method_of, request.unverified_credentials, Grounds(b"", NOW, ISSUER, KEYS))


def signed(header: Any, payload: bytes) -> str:
    """By the right key."""
    signing_input = b64url(json.dumps(header).encode()) + b"." + b64url(payload)
    return (signing_input + b"." + b64url(KEY.sign(signing_input))).decode()


def test_the_harness_says_yes_to_the_right_one() -> None:
    """All that follows would prove nothing if nothing at all came through."""
    assert judged(signed({"alg": "ES256"}, json.dumps(RIGHT).encode())).key_id == KEY.kid


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_-]{0,40}(\.[A-Za-z0-9_-]{0,40}){0,5}", fullmatch=True))
@example("." * 60_000)
@example("eyJhbGciOiJub25lIn0..")
@example("bnVsbA.bnVsbA.bnVsbA")
def test_any_text(text: str) -> None:
    """A text that is no assertion would be a 500, or a yes."""
    for application in (APPLICATION, None):
        with pytest.raises((InvalidClient, InvalidRequest)):
            judged(text, application)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=100), st.binary(max_size=200), st.binary(max_size=80))
def test_any_three_parts(header: bytes, payload: bytes, signature: bytes) -> None:
    """Bytes that are no JSON, or JSON that is no object, would be a 500."""
    with pytest.raises(InvalidClient):
        judged(b".".join(b64url(part) for part in (header, payload, signature)).decode())


@settings(max_examples=400, deadline=None)
@given(
    headers | json_values,
    st.dictionaries(st.sampled_from([*RIGHT, "nbf", "scope"]), json_values, min_size=1, max_size=3),
)
def test_any_claims_by_the_right_key(header: Any, changed: dict[str, Any]) -> None:
    """A claim of a type or size that nobody expected would be a 500 after the signature was found good."""
    for head in (header, {"alg": "ES256", "kid": KEY.kid}):
        try:
            proven = judged(signed(head, json.dumps({**RIGHT, **changed}).encode()))
        except InvalidClient:
            continue
        (mark,) = proven.marks
        assert NOW < mark.expires_at <= NOW + 600 + 2 * 10 + 1


@settings(max_examples=300, deadline=None)
@given(json_values | st.fixed_dictionaries({"keys": st.lists(json_values | st.just(KEY.public.to_jwk()), max_size=12)}))
@example({"keys": [{"kty": ["EC"]}]})
@example({"keys": [{"kty": "EC", "crv": {}, "x": 1, "y": None}]})
@example({"keys": [{"kty": "RSA", "n": "AQAB", "e": "", "alg": "PS256"}]})
def test_any_key_set(jwks: Any) -> None:
    """An administrator's mistake would be a 500, or be registered."""
    try:
        keys = read_keys(jwks if isinstance(jwks, dict) else {"keys": jwks}, 0)
    except Invalid as error:
        assert error.field == "jwks"
    else:
        assert all(key.kid == KEY.kid for key in keys)


@pytest.mark.parametrize("method", METHODS)
def test_an_unknown_application_is_refused_by_every_method(method: str) -> None:
    """A new row of the table would forget that there may be no application at all."""
    request = token_request(parse_form(b"client_id=nobody&client_secret=x"), None)
    presented = request.unverified_credentials
    with pytest.raises(InvalidClient):
        authenticate(None, replace(presented, method=method), Grounds(b"", NOW, ISSUER))
