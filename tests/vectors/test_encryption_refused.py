"""No JWE is accepted anywhere (RFC 7516): every JWE vector, valid or not, stops at the gate."""

from __future__ import annotations

from typing import Any

import pytest
from tests.vectors.corpus import ALL, Vector, load, names, parameters, present, wycheproof

from watchword.jose import KeySet, MalformedToken, decode_unverified, verify_signature

COOKBOOK = [*names("jose-cookbook/jwe/*.json"), "jose-cookbook/curve25519/ecdh-es.json"]


@pytest.mark.parametrize("vector", wycheproof("json_web_encryption_test"))
def test_wycheproof_jwe(vector: Vector) -> None:
    """Decryption would come back with its bombs (CVE-2024-33664) and its key confusions (CVE-2023-6681)."""
    present(vector)
    with pytest.raises(MalformedToken):
        verify_signature(vector["jwe"], KeySet([]), algorithms=ALL, typ=None)


def compact_forms() -> list[tuple[str, Vector]]:
    found: list[tuple[str, Vector]] = []
    for name in COOKBOOK:
        document: Any = load(name)
        if document and "compact" in document["output"]:
            found.append((name.rpartition("/")[2].partition(".")[0], {"jwe": document["output"]["compact"]}))
    nested = load("jose-cookbook/6.nesting_signatures_and_encryption.json")
    if nested:
        found.append(("6", {"jwe": nested["encrypt"]["output"]["compact"]}))
    return found


@pytest.mark.parametrize("vector", parameters(compact_forms()))
def test_cookbook_jwe(vector: Vector) -> None:
    """The same, for every algorithm of RFC 7520 section 5 and for a token inside an encrypted one."""
    present(vector)
    assert vector["jwe"].count(".") == 4
    with pytest.raises(MalformedToken):
        decode_unverified(vector["jwe"])
