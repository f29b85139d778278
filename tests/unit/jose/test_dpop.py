"""DPoP proofs (RFC 9449 section 4) without a server: our own, the RFC's, and bytes that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import JWKRegistry
from tests.support.proofs import header_of, proof_of, public_jwk

from watchword.jose import Algorithm, ClaimRefused, JoseError, PrivateKey, UnacceptableKey
from watchword.jose.dpop import (
    PROOF_ALGORITHMS,
    ProofSigner,
    ProofTarget,
    check_age,
    check_times,
    normal_url,
    read_proof,
    token_hash,
)
from watchword.jose.encoding import b64url
from watchword.jose.nonces import PERIOD, PERIODS, Nonces

NOW, URL = 1_800_000_000.0, "https://id.example/t/acme/token"
KEY = PrivateKey.generate(Algorithm.ES256)
HERE = ProofTarget("POST", URL)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_examples_of_the_rfc(number: int, shared_dir: Path) -> None:
    """DPO-047: the RFC's own proofs would be refused, or their keys named otherwise than by everybody else."""
    listed = json.loads((shared_dir / "vectors" / "rfc_vectors.json").read_text())["vectors"]
    vector = next(one for one in listed if one["id"] == f"rfc9449-proof-{number}")
    claims, token = vector["claims"], vector.get("access_token")
    proof = read_proof(vector["dpop"], ProofTarget(claims["htm"], claims["htu"], token))
    assert (proof.jkt, proof.claims) == ("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I", claims)
    assert check_age(proof, claims["iat"] + 60, 0, 60) == claims["iat"] + 60
    if token is not None:
        assert token_hash(token) == claims["ath"]
        with pytest.raises(ClaimRefused) as told:
            read_proof(vector["dpop"], ProofTarget(claims["htm"], claims["htu"], token + "x"))
        assert told.value.claim == "ath"


@pytest.mark.parametrize("algorithm", PROOF_ALGORITHMS)
def test_our_proofs_by_somebody_else_s_library(algorithm: Algorithm) -> None:
    """Two ends of our own would agree on the same mistake."""
    key = PrivateKey.generate(algorithm)
    target = ProofTarget("GET", "https://api.example/a?b=c#d", "a-token")
    proof = ProofSigner(key).sign(target, now=NOW, jti="j", nonce="n")
    registry = jws.JWSRegistry(algorithms=[algorithm.value])
    registry.max_header_length = 2_048  # its own 512 holds no RSA key
    read = jws.extract_compact(proof.encode(), registry=registry)
    header = read.headers()
    assert header == {"typ": "dpop+jwt", "alg": algorithm.value, "jwk": public_jwk(key)}
    foreign = JWKRegistry.import_key(header["jwk"])
    assert jws.validate_compact(read, foreign, registry=registry)
    assert foreign.thumbprint() == ProofSigner(key).jkt == key.public.thumbprint()
    ath = token_hash("a-token")
    assert json.loads(read.payload) == {
        "jti": "j", "htm": "GET", "htu": "https://api.example/a", "iat": int(NOW), "ath": ath, "nonce": "n",
    }  # fmt: skip
    assert read_proof(proof, target).nonce == "n"


def test_a_key_that_signs_no_proofs() -> None:
    """A caller would learn at its first request, from the server, what it could have been told at its start."""
    with pytest.raises(UnacceptableKey):
        ProofSigner(PrivateKey.generate(Algorithm.RS256))
    with pytest.raises(ValueError, match="http"):
        ProofSigner(KEY).sign(ProofTarget("GET", "ftp://api.example/"), now=NOW, jti="j")


SAME = [
    ("HTTPS://ID.Example:443/%7Ea/./b/../c", "https://id.example/~a/c"),
    ("http://id.example:80", "http://id.example/"),
    ("https://id.example:8443/a?b#c", "https://id.example:8443/a"),
    ("https://id.example/%2f%c3", "https://id.example/%2F%C3"),
    ("https://id.example/a/..", "https://id.example/"),
    ("https://id.example/a/.", "https://id.example/a/"),
    ("https://id.example/../a//b/", "https://id.example/a//b/"),
    ("https://id.example/%2e%2e/a", "https://id.example/a"),
    ("https://[2001:DB8::1]:443/", "https://[2001:db8::1]/"),
]


@pytest.mark.parametrize(("written", "normal"), SAME)
def test_one_address_in_many_spellings(written: str, normal: str) -> None:
    """DPO-018: a library that writes the port or a tilde otherwise would be locked out."""
    assert normal_url(written) == normal
    assert normal_url(normal) == normal


@pytest.mark.parametrize(
    "url",
    [
        "", "/token", "//id.example/", "id.example", "ftp://id.example/", "https://", "https:///a", "https://a@id.example/",
        "https://id.example:99999/", "https://id.example/%", "https://id.example/%zz", "https://id.example/ ",
        "https://id.exämple/", "https://id.example/\n", "https://[::1/", "https://id.example\\@evil/",
    ],
)  # fmt: skip
def test_no_address_at_all(url: str) -> None:
    """What is no URL would be compared by its first characters, or end in a 500."""
    with pytest.raises(ValueError, match=r".*"):
        normal_url(url)
    with pytest.raises(ClaimRefused):
        read_proof(proof_of(KEY, url, NOW), HERE)


def test_times_that_a_proof_may_bring() -> None:
    """DPO-025: a proof that says itself when it ends would be good for longer than its maker meant."""
    for changed, good in (
        ({"nbf": NOW, "exp": NOW + 300}, True),
        ({"exp": NOW - 9}, True),
        ({"exp": NOW - 10}, False),
        ({"nbf": NOW + 10}, True),
        ({"nbf": NOW + 11}, False),
        ({"exp": "soon"}, False),
    ):
        proof = read_proof(proof_of(KEY, URL, NOW, **changed), HERE)
        if good:
            check_times(proof, NOW, 10)
        else:
            with pytest.raises(ClaimRefused):
                check_times(proof, NOW, 10)


def test_nonces_end_and_belong_somewhere() -> None:
    """A nonce of another tenant, of yesterday, or made up, would be as good as ours."""
    nonces = Nonces(b"k" * 32)
    given_out = nonces.current("here", NOW)
    ends = nonces.check("here", given_out, NOW)
    assert ends == (NOW // PERIOD + PERIODS) * PERIOD
    assert nonces.check("here", given_out, ends - 1) == ends
    assert nonces.check("here", given_out, NOW - PERIOD) == ends
    assert nonces.current("here", NOW + PERIOD) != given_out
    assert Nonces(b"k" * 32).check("here", given_out, NOW) == ends
    for place, nonce, now in (
        ("here", given_out, ends),
        ("here", given_out, NOW - 2 * PERIOD),
        ("there", given_out, NOW),
        ("here", given_out[:-1], NOW),
        ("here", given_out + "AAAA", NOW),
        ("here", "", NOW),
        ("here", "ü" * 32, NOW),
        ("here", "_" * 32, NOW),
    ):
        with pytest.raises(ClaimRefused) as told:
            nonces.check(place, nonce, now)
        assert told.value.claim == "nonce"
    with pytest.raises(ClaimRefused):
        Nonces(b"j" * 32).check("here", given_out, NOW)
    with pytest.raises(ValueError, match="32"):
        Nonces(b"short")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
jwks = st.dictionaries(
    st.sampled_from(["kty", "crv", "x", "y", "n", "e", "d", "k", "alg", "use", "kid", "key_ops"]),
    st.sampled_from(["EC", "RSA", "OKP", "oct", "P-256", "Ed25519", "AQAB", public_jwk(KEY)["x"]]) | json_values,
)
headers = st.fixed_dictionaries(
    {}, optional={
        "typ": st.just("dpop+jwt") | json_values, "alg": st.sampled_from([*Algorithm, "none"]) | json_values,
        "jwk": jwks | st.just(public_jwk(KEY)) | json_values, "kid": json_values, "crit": json_values,
    },
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_-]{0,40}(\.[A-Za-z0-9_-]{0,40}){0,5}", fullmatch=True))
@example("." * 60_000)
@example("bnVsbA.bnVsbA.bnVsbA")
def test_any_text(text: str) -> None:
    """A text that is no proof would be a 500, or a yes."""
    with pytest.raises(JoseError):
        read_proof(text, HERE)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=100), st.binary(max_size=200), st.binary(max_size=80))
def test_any_three_parts(header: bytes, payload: bytes, signature: bytes) -> None:
    """Bytes that are no JSON, or JSON that is no object, would be a 500."""
    with pytest.raises(JoseError):
        read_proof(b".".join(b64url(part) for part in (header, payload, signature)).decode(), HERE)


@settings(max_examples=300, deadline=None)
@given(headers)
@example(header_of(KEY, jwk={"kty": ["EC"]}))
@example(header_of(KEY, jwk={**public_jwk(KEY), "alg": {}}))
@example(header_of(KEY, jwk={**public_jwk(KEY), "kid": 7}))
def test_any_header(header: dict[str, Any]) -> None:
    """A key of a kind that nobody expected would be a 500; a header that is right can only be the right one."""
    try:
        proof = read_proof(proof_of(KEY, URL, NOW, header=header), HERE)
    except JoseError:
        return
    assert proof.jkt == KEY.public.thumbprint()


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(["jti", "htm", "htu", "iat", "ath", "nonce", "exp", "nbf"]), json_values))
def test_any_claims_by_the_right_key(changed: dict[str, Any]) -> None:
    """A claim of a type or size that nobody expected would be a 500 after the signature was found good."""
    claims = {"jti": "j", "htm": "POST", "htu": URL, "iat": int(NOW), **changed}
    try:
        proof = read_proof(proof_of(KEY, URL, NOW, payload=json.dumps(claims).encode()), HERE)
        check_times(proof, NOW, 10)
        ends = check_age(proof, NOW, 10, 60)
    except JoseError:
        return
    assert NOW - 10 <= ends <= NOW + 70
    assert proof.jti
