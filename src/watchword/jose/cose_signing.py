"""Sign CWTs (RFC 8392). The only module that writes CBOR and so needs `cbor2`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cbor2

from .algorithms import Algorithm
from .cbor import byte_string
from .cose import ALG, CONTEXT, COSE_ALGORITHMS, CWT, KID, SIGN1_TAG, TYP, key_hint
from .cwt import numbered
from .encoding import unb64url
from .errors import UnacceptableKey
from .keys import KeySet, PrivateKey

_LABELS = {algorithm: label for label, algorithm in COSE_ALGORITHMS.items()}
_KTY, _CRV = {"EC": 2, "OKP": 1}, {"P-256": 1, "Ed25519": 6}


def encode_cbor(value: Any) -> bytes:
    """Deterministic (RFC 8949 section 4.2.1) for maps whose keys have one length each, as all of ours do."""
    return cbor2.dumps(value, canonical=True)


class CwtSigner:
    """Signs claims with one key under one header, encoded once."""

    def __init__(self, key: PrivateKey) -> None:
        """Raises `UnacceptableKey` for an algorithm that no small device verifies."""
        label = _LABELS.get(key.algorithm)
        if label is None:
            raise UnacceptableKey(f"a CWT is signed with {' or '.join(sorted(_LABELS))}")
        self.key = key
        self._header = byte_string(encode_cbor({ALG: label, KID: key_hint(key.kid), TYP: CWT}))
        self._head = CONTEXT + self._header + b"\x40"

    def sign(self, claims: Mapping[str, Any]) -> bytes:
        """The tagged COSE_Sign1 of claims that have a JWT's names."""
        payload = byte_string(encode_cbor(numbered(claims)))
        return b"%b\x84%b\xa0%b%b" % (
            SIGN1_TAG, self._header, payload, byte_string(self.key.sign(self._head + payload)),
        )  # fmt: skip


def cose_key_set(keys: KeySet) -> bytes:
    """The public keys that verify CWTs, as a COSE_KeySet (RFC 9052 section 7) with the key ids that tokens use."""
    return encode_cbor([_cose_key(key.to_jwk()) for key in keys.values() if key.algorithm in _LABELS])


def _cose_key(jwk: Mapping[str, str]) -> dict[int, Any]:
    made: dict[int, Any] = {
        1: _KTY[jwk["kty"]], 2: key_hint(jwk["kid"]), 3: _LABELS[Algorithm(jwk["alg"])], 4: [2],
        -1: _CRV[jwk["crv"]], -2: unb64url(jwk["x"].encode()),
    }  # fmt: skip
    if "y" in jwk:
        made[-3] = unb64url(jwk["y"].encode())
    return made
