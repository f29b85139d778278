"""The public test vectors, found beside the checkout or through WATCHWORD_SHARED, as pytest parameters."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from watchword.jose import Algorithm, JoseError, KeySet, PublicKey
from watchword.jose.compact import verify_bytes

Vector = Mapping[str, Any]

ALL = frozenset(Algorithm)
"""Every algorithm is listed, so that only the binding of one algorithm to one key can refuse a mix-up."""

ABSENT: dict[str, Any] = {"absent": True}
"""The only parameter when the folder is not there, so that its absence is seen in the report."""


def _folder() -> Path:
    given = os.environ.get("WATCHWORD_SHARED")
    return (Path(given) if given else Path(__file__).resolve().parents[3] / "shared") / "vectors"


def names(pattern: str) -> list[str]:
    """Files of the corpus, or one that stands for the missing corpus."""
    root = _folder()
    return sorted(str(path.relative_to(root)) for path in root.glob(pattern)) or ["absent"]


def load(name: str) -> Any:
    """One file, or None when the corpus is not here."""
    path = _folder() / name
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def present(vector: Vector) -> None:
    """Called first by every test here: no corpus is a failure, except on a CI that cannot have it."""
    if "absent" not in vector:
        return
    if os.environ.get("CI"):
        pytest.skip("vectors folder absent")
    pytest.fail("vectors folder absent: set WATCHWORD_SHARED to the folder that holds vectors/")


def parameters(vectors: Iterable[tuple[str, Vector]]) -> list[Any]:
    """(id, vector) pairs as pytest parameters."""
    return [pytest.param(vector, id=name) for name, vector in vectors] or [pytest.param(ABSENT, id="absent")]


def wycheproof(name: str) -> list[Any]:
    """One parameter per test of a Wycheproof file, `tcId` in its id; the test carries its group."""
    return parameters(_cases(load(f"wycheproof/{name}.json")))


def _cases(document: Any) -> Iterator[tuple[str, Vector]]:
    for group in document["testGroups"] if document else ():
        for case in group["tests"]:
            words = "".join(c if c.isalnum() else "_" for c in case["comment"])[:40]
            yield f"tcId{case['tcId']}-{case['result']}-{words}", {**case, "group": group}


def keys_of(jwk: Mapping[str, Any]) -> KeySet:
    """The keys as the product would get them.

    A set goes through the parser for remote sets. Secrets reach us from our own configuration only,
    so a single oct key or a set of nothing else is read as that; a mixed set never is.
    """
    listed = jwk.get("keys", [jwk])
    if all(key["kty"] == "oct" for key in listed):
        return KeySet(PublicKey.from_jwk(key, allow_symmetric=True) for key in listed)
    if "keys" in jwk:
        return KeySet.parse(json.dumps(jwk).encode())
    return KeySet([PublicKey.from_jwk(jwk)])


def refusal(jws: str, jwk: Mapping[str, Any]) -> JoseError | None:
    """What the product says: None for a token that it accepts. Any other exception is a defect."""
    try:
        verify_bytes(jws, keys_of(jwk), algorithms=ALL, typ=None, kid_required=False)
    except JoseError as error:
        return error
    return None
