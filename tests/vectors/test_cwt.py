"""The RFC's own CWTs (RFC 8392 appendix A): the signed one is read, every other kind of message is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from watchword.jose import ACCESS_TOKEN_ALGORITHMS, BadSignature, JoseError, KeySet, PublicKey
from watchword.jose.cwt import cwt_text, verify_cwt
from watchword.jose.encoding import b64url

RFC8392: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "rfc8392.json").read_text())


def keys() -> KeySet:
    """The key of appendix A.2.3."""
    given = RFC8392["key"]
    point = {name: b64url(bytes.fromhex(given[f"{name}_hex"])).decode() for name in ("x", "y")}
    return KeySet([PublicKey.from_jwk({name: given[name] for name in ("kty", "crv", "alg", "kid")} | point)])


def text(hexadecimal: str) -> str:
    """As HTTP carries it."""
    return cwt_text(bytes.fromhex(hexadecimal))


def test_the_signed_example() -> None:
    """Appendix A.3: without it we would read no CWT but our own."""
    assert verify_cwt(text(RFC8392["signed"]["cwt"]), keys(), ACCESS_TOKEN_ALGORITHMS) == RFC8392["signed"]["claims"]


def test_every_byte_of_the_signed_example_counts() -> None:
    """A byte that can be changed unseen is a claim, a length or a header that nobody signed."""
    raw = bytes.fromhex(RFC8392["signed"]["cwt"])
    for at in range(len(raw)):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        with pytest.raises(JoseError):
            verify_cwt(cwt_text(changed), keys(), ACCESS_TOKEN_ALGORITHMS)


@pytest.mark.parametrize("vector", RFC8392["refused"], ids=lambda vector: vector["id"])
def test_other_kinds_of_messages(vector: dict[str, str]) -> None:
    """A MAC is made by whoever can check it, and without its tag one kind of message can pass for another."""
    with pytest.raises(JoseError) as refused:
        verify_cwt(text(vector["cwt"]), keys(), ACCESS_TOKEN_ALGORITHMS)
    assert not isinstance(refused.value, BadSignature)
