"""The gate before CWTs: one encoding, one kind of message, the headers and algorithms that are listed."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.jose import (
    ACCESS_TOKEN_ALGORITHMS,
    Algorithm,
    BadSignature,
    ClaimRefused,
    JoseError,
    KeySet,
    MalformedToken,
    PrivateKey,
    Signer,
    UnacceptableHeader,
    UnacceptableKey,
    UnknownKey,
)
from watchword.jose.cbor import MAX_DEPTH, cbor_value
from watchword.jose.cose_signing import CwtSigner, cose_key_set, encode_cbor
from watchword.jose.cwt import cwt_bytes, cwt_text, looks_like_cwt, verify_cwt

KEY, ED = PrivateKey.generate(Algorithm.ES256), PrivateKey.generate(Algorithm.EdDSA)
KEYS = KeySet([KEY.public, ED.public])
CLIENT = "0198a3c4-5d6e-7f80-9a1b-2c3d4e5f6071"
CLAIMS = {
    "iss": "https://id.example/t/default", "sub": CLIENT, "aud": "urn:meters", "client_id": CLIENT,
    "exp": 1_800_000_000, "iat": 1_799_996_400, "jti": "0190aabbccdd" + "ab" * 10, "scope": "m:w",
}  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.text(max_size=30) | st.binary(max_size=30)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def verify(raw: bytes, keys: KeySet = KEYS) -> dict[str, Any]:
    return verify_cwt(cwt_text(raw), keys, ACCESS_TOKEN_ALGORITHMS)


def made(
    header: Any = None, unprotected: Any = None, payload: bytes | None = None, key: PrivateKey = KEY, tag: int = 18
) -> bytes:
    """A message that is signed as it should be, whatever it says."""
    protected = encode_cbor({1: -7, 4: KEY.kid.encode()[:8], 16: 61} if header is None else header)
    body = encode_cbor({1: "i", 2: "c"}) if payload is None else payload
    signature = key.sign(cbor2.dumps(["Signature1", protected, b"", body]))
    return cbor2.dumps(cbor2.CBORTag(tag, [protected, unprotected or {}, body, signature]))


def test_a_token_fits_into_a_datagram_many_times_over() -> None:
    """Above 1024 bytes a token needs block-wise transfer, and above some 100 more it is several radio frames."""
    raw = CwtSigner(KEY).sign(CLAIMS)
    assert len(raw) <= 200
    assert len(CwtSigner(ED).sign(CLAIMS)) <= 200
    assert len(Signer(KEY).sign(encode_cbor(CLAIMS))) > 2 * len(raw)


def test_what_was_signed_is_read_again() -> None:
    """Another reader than our own (cbor2) must see the same, or the token is of no use to other APIs."""
    raw = CwtSigner(KEY).sign({**CLAIMS, "client_id": "another"})
    assert verify(raw) == {**{n: v for n, v in CLAIMS.items() if n != "iat"}, "client_id": "another"}
    tag = cbor2.loads(raw)
    assert tag.tag == 18
    assert cbor2.loads(tag.value[0]) == {1: -7, 4: KEY.kid.encode()[:8], 16: 61}
    assert cbor2.loads(tag.value[2])[7] == bytes.fromhex(str(CLAIMS["jti"]))


def test_the_subject_asks_for_itself_unless_the_token_says_otherwise() -> None:
    """Of what can be told from the rest a small token says nothing; another's client_id must not get lost that way."""
    raw = CwtSigner(KEY).sign(CLAIMS)
    assert "client_id" not in cbor2.loads(cbor2.loads(raw).value[2])
    assert verify(raw)["client_id"] == CLIENT


@given(values)
def test_one_reader_and_one_writer_agree(value: Any) -> None:
    """What cbor2 writes deterministically and what we read must be one and the same value."""
    try:
        assert cbor_value(encode_cbor(value)) == value
    except MalformedToken as refused:
        assert "levels" in refused.rule


@given(st.binary(max_size=60))
def test_whatever_is_read_has_one_encoding(raw: bytes) -> None:
    """Two encodings of one value are two readers' chance to see two tokens."""
    try:
        value = cbor_value(raw)
    except MalformedToken:
        return
    assert cbor2.loads(raw) == value
    if not isinstance(value, dict | list):
        assert encode_cbor(value) == raw


@pytest.mark.parametrize(
    "hexadecimal",
    [
        "", "1801", "190001", "1a00000001", "1b0000000000000001", "5801", "580161", "9f01ff", "bf01ff", "5f4101ff",
        "7f6161ff", "a201010102", "a202010101", "a1f501", "a1410101", "c001", "d82301", "c24101", "f7", "f0",
        "f800", "f97e00", "f97c00", "fa3f800000", "fb3ff0000000000000", "61ff", "0101", "9b00000000ffffffff",
        "bb00000000ffffffff", "1c", "1f", "ff", "82",
    ],
)  # fmt: skip
def test_encodings_that_are_refused(hexadecimal: str) -> None:
    """Longer than needed, without a length, repeated, out of order, tagged, not a number, cut off: each is refused."""
    with pytest.raises(MalformedToken):
        cbor_value(bytes.fromhex(hexadecimal))


def test_depth_is_bounded() -> None:
    """A hundred bytes of nesting must not become an exception that nobody foresaw."""
    assert cbor_value(b"\x81" * (MAX_DEPTH - 1) + b"\x00")
    for depth in (MAX_DEPTH, 5_000):
        with pytest.raises(MalformedToken):
            cbor_value(b"\x81" * depth + b"\x00")


@pytest.mark.parametrize(
    "header",
    [
        {1: -7, 2: [99], 4: KEY.kid.encode()}, {1: -7, 4: KEY.kid.encode(), 33: b"cert"}, {1: -7, 4: "text"},
        {1: -7, 4: KEY.kid.encode(), 16: 60}, {1: -7, 4: KEY.kid.encode(), 16: "JWT"}, {1: -37, 4: KEY.kid.encode()},
        {1: 5, 4: KEY.kid.encode()}, {1: "ES256", 4: KEY.kid.encode()}, {4: KEY.kid.encode()},
        {1: -8, 4: KEY.kid.encode()},
    ],
)  # fmt: skip
def test_headers_that_are_refused(header: dict[int, Any]) -> None:
    """`crit`, certificates, another type, and each algorithm that is not the key's own (RFC 8725 in COSE's words)."""
    with pytest.raises(UnacceptableHeader):
        verify(made(header))


def test_the_unprotected_header_only_helps_to_find_the_key() -> None:
    """Whatever else stands there was signed by nobody."""
    assert verify(made({1: -7}, {4: KEY.kid.encode()}))["iss"] == "i"
    with pytest.raises(UnacceptableHeader):
        verify(made({4: KEY.kid.encode()}, {1: -7}))
    with pytest.raises(UnacceptableHeader):
        verify(made(None, {4: KEY.kid.encode()}))


def test_keys_are_named() -> None:
    """A token without a key's name, or with another's, is no reason to try every key there is."""
    for kid in (b"", b"short", b"nobodys-key"):
        with pytest.raises(UnknownKey):
            verify(made({1: -7, 4: kid}))
    with pytest.raises(BadSignature):
        verify(made(key=PrivateKey.generate(Algorithm.ES256)))


@pytest.mark.parametrize("tag", [16, 17, 61, 98])
def test_other_tags(tag: int) -> None:
    """A message of another kind must never pass for a signature."""
    with pytest.raises(MalformedToken):
        verify(made(tag=tag))


def test_a_claim_is_said_once() -> None:
    """`iss` as 1 and as a text would be two issuers, one for each reader."""
    with pytest.raises(ClaimRefused):
        verify(made(payload=encode_cbor({1: "i", "iss": "j"})))
    with pytest.raises(ClaimRefused):
        verify(made(payload=encode_cbor({7: "text"})))


def test_rsa_and_post_quantum_keys_sign_no_cwt() -> None:
    """A signature of 256 bytes and more is what CWTs are there to avoid."""
    with pytest.raises(UnacceptableKey):
        CwtSigner(PrivateKey.generate(Algorithm.RS256))


def test_the_key_set_names_keys_as_tokens_do() -> None:
    """An API that reads only CBOR finds the key by comparing bytes."""
    first, second = cbor_value(cose_key_set(KEYS))
    assert first[2] == cbor2.loads(cbor2.loads(CwtSigner(KEY).sign(CLAIMS)).value[0])[4]
    assert (first[1], first[3], first[-1], len(first[-2]), len(first[-3])) == (2, -7, 1, 32, 32)
    assert (second[1], second[3], second[-1], len(second[-2])) == (1, -8, 6, 32)


def test_text_form_is_canonical_and_bounded() -> None:
    """One token has one text, or a cache and a revocation see two."""
    text = cwt_text(CwtSigner(KEY).sign(CLAIMS))
    assert looks_like_cwt(text)
    for wrong in (text + "=", text + "!", text[:-1] + "~", "A" * 20_000, "0o\udcff"):
        with pytest.raises(JoseError):
            verify_cwt(wrong, KEYS, ACCESS_TOKEN_ALGORITHMS)
    assert cwt_text(cwt_bytes(text)) == text
