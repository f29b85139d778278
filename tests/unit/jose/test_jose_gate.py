"""The strict gate: what stops a token before any key is looked at."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.jose import (
    ACCESS_TOKEN_ALGORITHMS,
    Algorithm,
    BadSignature,
    JoseError,
    KeySet,
    MalformedToken,
    PrivateKey,
    Signer,
    UnacceptableHeader,
    UnknownKey,
    decode_unverified,
    symmetric,
    verify_signature,
)
from watchword.jose.encoding import b64url, json_object, unb64url

KEY = PrivateKey.generate(Algorithm.ES256)
KEYS = KeySet([KEY.public])
AT = frozenset({"at+jwt"})
CANARY = "canary-7f3a"


def signed(header: bytes, payload: bytes = b"{}", key: PrivateKey = KEY) -> str:
    """A token with a good signature over any header bytes: only the gate can refuse it."""
    data = b64url(header) + b"." + b64url(payload)
    return (data + b"." + b64url(key.sign(data))).decode()


def headed(**members: Any) -> str:
    return signed(json.dumps({"alg": "ES256", "kid": KEY.kid, "typ": "at+jwt", **members}).encode())


def verify(token: str, **options: Any) -> Any:
    return verify_signature(token, KEYS, **{"algorithms": ACCESS_TOKEN_ALGORITHMS, "typ": AT, **options})


def test_a_good_token_passes() -> None:
    """Every refusal below would prove nothing if all tokens were refused."""
    verified = verify(signed(json.dumps({"alg": "ES256", "kid": KEY.kid, "typ": "at+jwt"}).encode(), b'{"a":1}'))
    assert verified.claims == {"a": 1} and verified.header["kid"] == KEY.kid


@pytest.mark.parametrize(
    "name", ["jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256", "zip", "b64", "enc", "epk", "p2c", "foreign"]
)
def test_header_members_outside_the_list(name: str) -> None:
    """A header that brings its own key (CVE-2026-27962) or changes the rules would be followed or ignored."""
    with pytest.raises(UnacceptableHeader):
        verify(headed(**{name: "x"}))


@pytest.mark.parametrize("crit", [["exp"], [], "exp", ["alg"], None, ["b64"]], ids=repr)
def test_jwt_014_crit(crit: object) -> None:
    """`crit` means: refuse if you do not understand. We understand none (CVE-2025-59420)."""
    with pytest.raises(UnacceptableHeader):
        verify(headed(crit=crit))


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", "es256", " ES256", None, 1, ["ES256"], "HS256"])
def test_jwt_002_alg(alg: object) -> None:
    """`none` in some spelling, or a type that a comparison treats kindly, would turn verification off."""
    with pytest.raises(UnacceptableHeader):
        verify(headed(alg=alg))
    with pytest.raises(MalformedToken):
        verify(headed(alg=alg).rpartition(".")[0] + ".")


def test_none_is_not_an_algorithm() -> None:
    """Nobody can list what has no name."""
    assert "none" not in {name.lower() for name in Algorithm.__members__}


def test_jwt_003_public_key_as_secret() -> None:
    """The oldest attack: an HMAC under the public key's text (CVE-2022-29217)."""
    forged = b64url(json.dumps({"alg": "HS256", "kid": KEY.kid, "typ": "at+jwt"}).encode()) + b"." + b64url(b"{}")
    for secret in (KEY.public.to_pem().encode(), json.dumps(KEY.public.to_jwk()).encode()):
        token = (forged + b"." + b64url(hmac.digest(secret, forged, "sha256"))).decode()
        with pytest.raises(UnacceptableHeader):
            verify(token, algorithms=frozenset(Algorithm))


def test_jwt_004_algorithm_not_listed() -> None:
    """The caller's list would be advice."""
    with pytest.raises(UnacceptableHeader):
        verify(headed(), algorithms=frozenset({Algorithm.RS256}))
    with pytest.raises(UnacceptableHeader):
        verify(headed(), algorithms=frozenset())


def test_jwt_005_one_key_one_algorithm() -> None:
    """One RSA key for RS256 and PS256 lets a weakness of one forge the other (RFC 8725 section 3.1)."""
    rsa = PrivateKey.generate(Algorithm.PS256)
    as_rs256 = PrivateKey.from_pkcs8(rsa.to_pkcs8(), Algorithm.RS256, rsa.kid)
    token = Signer(as_rs256).sign(b"{}")
    with pytest.raises(UnacceptableHeader):
        verify_signature(token, KeySet([rsa.public]), algorithms=ACCESS_TOKEN_ALGORITHMS, typ=AT)


@pytest.mark.parametrize("kid", [1, [], {}, True])
def test_kid_of_another_type(kid: object) -> None:
    """A list as kid is unhashable: a look-up with it is a crash that anybody can cause."""
    with pytest.raises(UnacceptableHeader):
        verify(headed(kid=kid))


def test_jwt_009_unknown_kid() -> None:
    """Callers refetch on `UnknownKey` and on nothing else."""
    with pytest.raises(UnknownKey):
        verify(headed(kid="another"))


def test_jwt_010_kid_absent() -> None:
    """Guessing the key is allowed only when asked for, and only when there is one to guess."""
    token = signed(b'{"alg":"ES256","typ":"at+jwt"}')
    with pytest.raises(UnknownKey):
        verify(token)
    assert verify(token, kid_required=False).claims == {}
    two = KeySet([KEY.public, PrivateKey.generate(Algorithm.ES256).public])
    with pytest.raises(UnknownKey):
        verify_signature(token, two, algorithms=ACCESS_TOKEN_ALGORITHMS, typ=AT, kid_required=False)
    with pytest.raises(UnknownKey):
        verify_signature(token, KeySet([]), algorithms=ACCESS_TOKEN_ALGORITHMS, typ=AT, kid_required=False)


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"])
def test_jwt_016_typ_accepted(typ: str) -> None:
    """RFC 9068 section 4 names both forms, and media types have no case."""
    assert verify(headed(typ=typ)).claims == {}


@pytest.mark.parametrize(
    "typ", ["JWT", "", None, 1, ["at+jwt"], "at+jwt ", "text/at+jwt", "application/application/at+jwt"]
)
def test_jwt_016_typ_refused(typ: object) -> None:
    """A token of another purpose under the same key would be an access token."""
    with pytest.raises(UnacceptableHeader):
        verify(headed(typ=typ))
    with pytest.raises(UnacceptableHeader):
        verify(signed(json.dumps({"alg": "ES256", "kid": KEY.kid}).encode()))


@pytest.mark.parametrize("typ", ["logout+jwt", "dpop+jwt", "client-authentication+jwt", "token-introspection+jwt"])
def test_jwt_017_typ_of_another_kind(typ: str) -> None:
    """Cross-JWT confusion, RFC 8725 section 3.11."""
    with pytest.raises(UnacceptableHeader):
        verify(headed(typ=typ))


NOT_OBJECTS = [
    b"null",
    b"[]",
    b"1",
    b'"x"',
    b"true",
    b" ",
    b"{",
    b"{}x",
    b"{}{}",
    b"\xff",
    b"\xef\xbb\xbf{}",
    b"{'a':1}",
]


@pytest.mark.parametrize("raw", NOT_OBJECTS, ids=repr)
def test_jwt_021_not_an_object(raw: bytes) -> None:
    """`null["exp"]` is a TypeError, and a TypeError is a 500."""
    with pytest.raises(MalformedToken):
        verify(signed(raw))
    with pytest.raises(MalformedToken):
        verify(signed(json.dumps({"alg": "ES256", "kid": KEY.kid, "typ": "at+jwt"}).encode(), raw))


REFUSED_JSON = {
    "duplicate": b'{"a":1,"a":2}',
    "duplicate, escaped": b'{"a":1,"\\u0061":2}',
    "duplicate, deep": b'{"x":[{"a":1,"a":1}]}',
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":Infinity}',
    "-Infinity": b'{"a":-Infinity}',
    "1e400": b'{"a":1e400}',
    "5000 digits": b'{"a":' + b"1" * 5000 + b"}",
    "half a surrogate pair": b'{"a":"\\ud800"}',
    "half a pair as a name": b'{"\\udfff":1}',
    "control character": b'{"a":"\n"}',
    "depth bomb of lists": b'{"a":' + b"[" * 6000 + b"]" * 6000 + b"}",
    "depth bomb of objects": b'{"a":' * 2000 + b"1" + b"}" * 2000,
    "unclosed depth bomb": b'{"a":' + b"[" * 100_000,
}


@pytest.mark.parametrize("raw", REFUSED_JSON.values(), ids=REFUSED_JSON.keys())
def test_json_that_two_readers_read_differently(raw: bytes) -> None:
    """Two parties would see two tokens, or one party a RecursionError."""
    with pytest.raises(MalformedToken):
        json_object(raw)
    with pytest.raises(MalformedToken):
        verify(signed(raw), typ=None)
    with pytest.raises(MalformedToken):
        verify(signed(json.dumps({"alg": "ES256", "kid": KEY.kid, "typ": "at+jwt"}).encode(), raw))


def test_escapes_that_are_whole_are_read() -> None:
    """The surrogate rule would refuse every emoji."""
    assert json_object(b'{"a":"\\ud83d\\ude00 \\u00e9"}') == {"a": "\U0001f600 é"}


SHAPES: dict[str, Callable[[str], str]] = {
    "empty": lambda t: "",
    "one part": lambda t: t.partition(".")[0],
    "two parts": lambda t: t.rpartition(".")[0],
    "four parts": lambda t: t + ".AAAA",
    "five parts (JWE)": lambda t: t + ".AAAA.AAAA",
    "many dots": lambda t: "." * 16_000,
    "no signature": lambda t: t.rpartition(".")[0] + ".",
    "no payload": lambda t: t.partition(".")[0] + ".." + t.rpartition(".")[2],
    "line end": lambda t: t + "\n",
    "leading space": lambda t: " " + t,
    "JSON form": lambda t: json.dumps({"payload": "e30", "signatures": []}),
    "padding": lambda t: t + "=",
    "not ASCII": lambda t: t + "é",
    "digit of another script": lambda t: t + "٣",
    "half a surrogate pair": lambda t: t + "\ud800",
}


@pytest.mark.parametrize("change", SHAPES.values(), ids=SHAPES.keys())
def test_shape(change: Callable[[str], str]) -> None:
    """The count of dots and the alphabet are looked at before anything is decoded (CVE-2025-30204)."""
    with pytest.raises(MalformedToken):
        decode_unverified(change(headed()))


def test_size() -> None:
    """A megabyte of token would be decoded and parsed before it is refused (CVE-2025-27144)."""
    token = headed(cty="x" * 12_000)
    assert decode_unverified(token).unverified_header["cty"]
    with pytest.raises(MalformedToken, match="at most 16384"):
        decode_unverified(headed(cty="x" * 13_000))
    assert decode_unverified(token, max_size=len(token))
    with pytest.raises(MalformedToken):
        decode_unverified(token, max_size=len(token) - 1)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_unused_bits(part: int) -> None:
    """Bits that decoding drops would give one token four spellings, and a revocation list one of them."""
    parts = headed(cty="ab").split(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    if len(parts[part]) % 4 == 0:
        pytest.fail("this part has no unused bits: choose another test token")
    last = alphabet.index(parts[part][-1])
    parts[part] = parts[part][:-1] + alphabet[last + 1]
    with pytest.raises(MalformedToken, match="unused bits"):
        decode_unverified(".".join(parts))


@given(st.binary(max_size=200))
def test_base64url_round_trip(raw: bytes) -> None:
    """Encoding and decoding would disagree about some length or byte."""
    assert unb64url(b64url(raw)) == raw


@given(st.text("ABab01-_+/= \n", max_size=24))
def test_base64url_has_one_spelling(text: str) -> None:
    """Whatever is read is what we would have written; everything else is refused with our own error."""
    try:
        raw = unb64url(text.encode())
    except MalformedToken:
        return
    assert b64url(raw) == text.encode()


@given(st.text(max_size=60) | st.from_regex(r"\A[A-Za-z0-9_-]{1,60}\.[A-Za-z0-9_-]{1,60}\.[A-Za-z0-9_-]{1,90}\Z"))
def test_jwt_056_any_text(text: str) -> None:
    """Any other exception than ours is a 500 that anybody can cause."""
    with pytest.raises(JoseError):
        verify(text)


@given(st.data())
def test_jwt_056_mutated_token(data: st.DataObject) -> None:
    """One changed character of a good token: never accepted, never another exception than ours."""
    token = headed()
    place = data.draw(st.integers(0, len(token) - 1))
    changed = token[:place] + data.draw(st.characters(max_codepoint=255)) + token[place + 1 :]
    if changed != token:
        with pytest.raises(JoseError):
            verify(changed)


def test_jwt_045_errors_hold_no_token() -> None:
    """Error texts are logged; a token in a log is a token for whoever reads it (CVE-2025-65015)."""
    payload = json.dumps({"secret": CANARY}).encode()
    good = json.dumps({"alg": "ES256", "kid": KEY.kid, "typ": "at+jwt"}).encode()
    other = PrivateKey.generate(Algorithm.ES256)
    tokens = [
        signed(good, payload, other),
        signed(good, payload) + "=",
        signed(b'{"alg":"ES256","kid":"' + CANARY.encode() + b'"}', payload),
        signed(b'{"alg":"' + CANARY.encode() + b'"}', payload),
        signed(good[:-1] + b',"' + CANARY.encode() + b'":1}', payload),
        signed(good, payload[:-1]),
        signed(good, payload[:-1] + b',"secret":1}'),
    ]
    for token in tokens:
        with pytest.raises(JoseError) as caught:
            verify(token)
        error = caught.value
        shown = f"{error} {error!r} {error.public} {error.detail} {error.args}"
        assert CANARY not in shown and not any(part in shown for part in token.split("."))
        assert (error.__cause__ is None and error.__suppress_context__) or error.__context__ is None
        assert error.public and error.detail and error.detail != error.public
    assert CANARY not in repr(decode_unverified(signed(good, payload))) + repr(verify(signed(good, payload)))


def test_bad_signature_is_its_own_error() -> None:
    """Operators tell a forged token from a rotated key by this."""
    with pytest.raises(BadSignature):
        verify(
            signed(
                json.dumps({"alg": "ES256", "kid": KEY.kid, "typ": "at+jwt"}).encode(),
                key=PrivateKey.generate(Algorithm.ES256),
            )
        )


def test_hmac_needs_to_be_listed() -> None:
    """A secret in a set would verify tokens that the caller's list does not name."""
    key = symmetric(b"k" * 32, Algorithm.HS256, "s")
    data = b64url(b'{"alg":"HS256","kid":"s"}') + b"." + b64url(b"{}")
    token = (data + b"." + b64url(hmac.digest(b"k" * 32, data, "sha256"))).decode()
    with pytest.raises(UnacceptableHeader):
        verify_signature(token, KeySet([key]), algorithms=ACCESS_TOKEN_ALGORITHMS, typ=None)
    assert verify_signature(token, KeySet([key]), algorithms=frozenset({Algorithm.HS256}), typ=None).claims == {}
