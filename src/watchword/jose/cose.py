"""Read strictly and verify COSE_Sign1 (RFC 9052 section 4.2), with the CBOR reader of this package.

As strict as `compact.py`: size before anything is decoded, one encoding, one tag, only the header parameters listed,
no `crit`, no certificates or keys inside the message, an explicit list of algorithms.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import Any

from msgspec import Struct

from .algorithms import Algorithm
from .cbor import byte_string, cbor_map, cbor_value
from .errors import BadSignature, MalformedToken, UnacceptableHeader, UnknownKey
from .keys import KeySet, PublicKey

MAX_COSE = 8_192
ALG, KID, TYP = 1, 4, 16
COSE_ALGORITHMS = {-7: Algorithm.ES256, -8: Algorithm.EdDSA}
"""RFC 9053 sections 2.1 and 2.2: what a CWT is signed with."""
_READ = {**COSE_ALGORITHMS, -9: Algorithm.ES256, -19: Algorithm.EdDSA}
"""With the fully specified names of the same two (RFC 9864 section 2)."""
CWT = 61
"""application/cwt as CoAP content format (RFC 8392 section 9.2): the `typ` of RFC 9596."""
MIN_KID, _TRIES = 8, 4
SIGN1_TAG = b"\xd2"
CONTEXT = b"\x84\x6aSignature1"


class UnverifiedSign1(Struct, frozen=True):
    """A message's parts; nothing in it is trusted."""

    unverified_header: dict[int | str, Any]
    unverified_kid: bytes
    unverified_payload: bytes
    signing_input: bytes
    signature: bytes

    def __repr__(self) -> str:
        return "UnverifiedSign1(...)"


def key_hint(kid: str) -> bytes:
    """The short key id in a message: the beginning of the `kid` in the JWK set, enough to find the key."""
    return kid.encode()[:MIN_KID]


def decode_sign1(unverified_raw: bytes, max_size: int = MAX_COSE) -> UnverifiedSign1:
    """Read strictly: size and tag before decoding, then only deterministic CBOR. Raises `MalformedToken`."""
    if len(unverified_raw) > max_size:
        raise MalformedToken(f"a CWT has at most {max_size} bytes")
    if unverified_raw[:1] != SIGN1_TAG:
        raise MalformedToken("a CWT is a COSE_Sign1 with its tag 18, and no other kind of message")
    parts = cbor_value(unverified_raw[1:])
    if not isinstance(parts, list) or len(parts) != 4:
        raise MalformedToken("a COSE_Sign1 has four parts")
    protected, unprotected, payload, signature = parts
    if not isinstance(unprotected, dict) or not all(
        isinstance(part, bytes) for part in (protected, payload, signature)
    ):
        raise MalformedToken("the parts of a COSE_Sign1 are of other types")
    header = cbor_map(protected)
    signing_input = CONTEXT + byte_string(protected) + b"\x40" + byte_string(payload)
    return UnverifiedSign1(header, _kid(header, unprotected), payload, signing_input, signature)


def _kid(header: dict[int | str, Any], unprotected: dict[int | str, Any]) -> bytes:
    """The key id. It may be in the unprotected header (RFC 8392 appendix A.3), as it only finds the key; once."""
    if unprotected.keys() - {KID} or (KID in unprotected and KID in header):
        raise UnacceptableHeader("only kid may stand in the unprotected header, and only once")
    kid = unprotected.get(KID, header.get(KID, b""))
    if not isinstance(kid, bytes):
        raise UnacceptableHeader("kid is not a byte string")
    return kid


def verify_sign1(
    unverified: UnverifiedSign1, keys: KeySet, *, algorithms: Collection[Algorithm], typ: int = CWT
) -> bytes:
    """The payload of a message that a key of the set signed; `typ` counts when it is there. Raises a `JoseError`."""
    header = unverified.unverified_header
    if header.keys() - {ALG, KID, TYP}:
        raise UnacceptableHeader("a header parameter that is not allowed (crit, keys and certificates are not)")
    if TYP in header and header[TYP] != typ:
        raise UnacceptableHeader("typ is not application/cwt (61)")
    name = header.get(ALG)
    algorithm = _READ.get(name) if isinstance(name, int) else None
    if algorithm is None or algorithm not in algorithms:
        raise UnacceptableHeader("the algorithm is not in the list of allowed ones")
    for key in _meant(keys, unverified.unverified_kid, algorithm):
        with suppress(BadSignature):
            key.verify(unverified.signing_input, unverified.signature)
            return unverified.unverified_payload
    raise BadSignature("the signature does not fit")


def _meant(keys: KeySet, kid: bytes, algorithm: Algorithm) -> list[PublicKey]:
    if not kid:
        raise UnknownKey("the token names no key")
    whole = len(kid) < MIN_KID
    named = [key for name, key in keys.items() if (name.encode() == kid if whole else name.encode().startswith(kid))]
    if not named:
        raise UnknownKey("no key of that id is in the set")
    fitting = [key for key in named if key.algorithm == algorithm]
    if not fitting:
        raise UnacceptableHeader("the algorithm is not the key's (one key, one algorithm)")
    if len(fitting) > _TRIES:
        raise UnknownKey("the token names too many keys")
    return fitting
