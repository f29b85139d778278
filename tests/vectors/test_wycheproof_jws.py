"""Wycheproof, JSON Web Signature and JSON Web Key (JWT-054): every vector, through the same gate as a token."""

from __future__ import annotations

import re

import pytest
from tests.vectors.corpus import ABSENT, Vector, keys_of, load, present, refusal, wycheproof

from watchword.jose import JoseError, MalformedToken, UnacceptableHeader, UnacceptableKey
from watchword.jose.encoding import unb64url

JWS, KEYS = "json_web_signature_test", "json_web_key_test"

ALG_DIFFERS: dict[int, type[JoseError]] = {
    346: UnacceptableHeader,
    347: UnacceptableKey,
    350: UnacceptableHeader,
    351: UnacceptableKey,
}
"""Called valid, and refused here. The key's `alg` is not the header's (PS256 and PS384, or `ES521`,
which does not exist, and ES512): one algorithm per key, RFC 8725 section 3.1. All five Python
libraries that were measured refuse them too."""

ILLEGAL_CHARACTER = {372, 373}
"""Called valid, and refused here: a `?` in the base64url, which a decoder may skip and another may
not (RFC 7515 section 2 has no such character; RFC 4648 section 3.3 says to reject)."""

EMPTY_PAYLOAD = {259, 264, 268, 272, 320, 325}
"""Called valid, and refused by the gate: `header..signature`. A JWS may be empty, a JWT may not (RFC
7519 section 7.2 wants a JSON object), and two dots in a row are also how a detached payload looks
(RFC 7515 appendix F). The signatures themselves are checked below, and fit."""

NO_PADDING_LEFT = {367, 370}
"""Called invalid for their `=` padding, which the published file lost: they are, letter for letter,
tcId 357, which it calls valid. No verifier can be right about both; what they meant is tested below."""

REFUSED_THOUGH_VALID = ALG_DIFFERS.keys() | ILLEGAL_CHARACTER | EMPTY_PAYLOAD


def by_id(*ids: int) -> list[Vector]:
    document = load(f"wycheproof/{JWS}.json")
    groups = document["testGroups"] if document else []
    cases = [{**case, "group": group} for group in groups for case in group["tests"]]
    return [case for case in cases if case["tcId"] in ids] or [ABSENT]


def key(vector: Vector) -> dict[str, object]:
    group = vector["group"]
    found: dict[str, object] = group.get("public") or group["private"]
    return found


@pytest.mark.parametrize("vector", wycheproof(JWS))
def test_jwt_054_signature(vector: Vector) -> None:
    """Known attacks on JWS libraries (none, HMAC confusion, embedded keys, padding) would come back."""
    present(vector)
    refused = refusal(vector["jws"], key(vector))
    if vector["tcId"] in REFUSED_THOUGH_VALID:
        assert refused is not None and vector["result"] == "valid"
    elif vector["tcId"] in NO_PADDING_LEFT:
        assert vector["jws"] == by_id(357)[0]["jws"] and vector["result"] == "invalid"
    else:
        assert (refused is None) == (vector["result"] == "valid"), refused


@pytest.mark.parametrize("vector", wycheproof(KEYS))
def test_jwt_054_key(vector: Vector) -> None:
    """Weak, mistyped, wrong-purpose, mixed and duplicate keys would verify tokens."""
    present(vector)
    refused = refusal(vector["jws"], key(vector))
    assert (refused is None) == (vector["result"] == "valid"), refused


@pytest.mark.parametrize("tc", sorted(ALG_DIFFERS))
def test_refused_because_one_key_has_one_algorithm(tc: int) -> None:
    """The exception to "valid is accepted" would hide a refusal for some other reason."""
    vector = by_id(tc)[0]
    present(vector)
    assert isinstance(refusal(vector["jws"], key(vector)), ALG_DIFFERS[tc])


@pytest.mark.parametrize("tc", sorted(ILLEGAL_CHARACTER))
def test_refused_because_of_an_illegal_character(tc: int) -> None:
    """The exception would hide a refusal for some other reason: without the `?` it is a good token."""
    vector = by_id(tc)[0]
    present(vector)
    assert isinstance(refusal(vector["jws"], key(vector)), MalformedToken)
    assert refusal(vector["jws"].replace("?", ""), key(vector)) is None


@pytest.mark.parametrize("tc", sorted(EMPTY_PAYLOAD))
def test_refused_because_there_is_no_payload_though_the_signature_fits(tc: int) -> None:
    """The exception would hide a broken primitive: key and algorithm must be right about these."""
    vector = by_id(tc)[0]
    present(vector)
    assert isinstance(refusal(vector["jws"], key(vector)), MalformedToken)
    signing_input, _, signature = vector["jws"].rpartition(".")
    (only,) = keys_of(key(vector)).values()
    only.verify(signing_input.encode(), unb64url(signature.encode()))


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("junk", ["=", "==", " ", "\n", "\r\n", "+", "/", "?", "\x00", "é"])
def test_jwt_019_padding_and_illegal_characters(part: int, junk: str) -> None:
    """What tcId 367 and 370 meant: PyJWT and joserfc accept `=`, and one token then has many spellings."""
    vector = by_id(357)[0]
    present(vector)
    parts = vector["jws"].split(".")
    assert refusal(".".join(parts), key(vector)) is None
    for place in (0, 2, len(parts[part])):
        changed = [*parts]
        changed[part] = parts[part][:place] + junk + parts[part][place:]
        assert isinstance(refusal(".".join(changed), key(vector)), MalformedToken)


def test_the_corpus_is_whole() -> None:
    """A shortened file would pass in silence: these are the counts that the files themselves state."""
    for name, count in ((JWS, 401), (KEYS, 26)):
        document = load(f"wycheproof/{name}.json")
        present(document or ABSENT)
        assert len(wycheproof(name)) == document["numberOfTests"] == count
    assert not re.search(r"[^A-Za-z0-9_.-]", by_id(357)[0]["jws"])
