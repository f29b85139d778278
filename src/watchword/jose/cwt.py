"""Convert CWT claims (RFC 8392) to JWT claims and back, and verify CWTs.

All checks work on the JWT form: claim names of a JWT, and `cti` as the hexadecimal `jti`. To keep tokens small, a claim
that follows from another one is left out: without `client_id`, the client is the subject.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from .algorithms import Algorithm
from .cbor import cbor_map
from .cose import MAX_COSE, decode_sign1, verify_sign1
from .encoding import b64url, unb64url
from .errors import ClaimRefused, MalformedToken
from .keys import KeySet

CTI = 7
NAMES: dict[int, str] = {
    1: "iss", 2: "sub", 3: "aud", 4: "exp", 5: "nbf", 6: "iat", CTI: "jti", 8: "cnf", 9: "scope", 65535: "status",
}  # fmt: skip
"""RFC 8392 section 4, RFC 8747 section 3.1, RFC 9200 section 8.14, draft-ietf-oauth-status-list section 6.3."""
KEYS = {name: key for key, name in NAMES.items()}
LEFT_OUT = frozenset({"iat", "client_id"})
_BEGINS = "0o"
"""Of a text that can be a CWT: tag 18 and an array, in base64url."""


def looks_like_cwt(unverified_token: str) -> bool:
    """Whether the text is a CWT and no other token of ours: a JWT has dots, an opaque token another beginning."""
    return unverified_token.startswith(_BEGINS) and "." not in unverified_token


def cwt_text(unverified_raw: bytes) -> str:
    """The form in which HTTP carries a CWT: base64url without padding."""
    return b64url(unverified_raw).decode()


def cwt_bytes(unverified_token: str) -> bytes:
    """Raises `MalformedToken`."""
    if len(unverified_token) > MAX_COSE * 4 // 3 + 2:
        raise MalformedToken(f"a CWT has at most {MAX_COSE} bytes")
    return unb64url(unverified_token.encode("utf-8", "surrogateescape"))


def numbered(claims: Mapping[str, Any]) -> dict[int | str, Any]:
    """The claims of one of our tokens, as its CWT has them; in the order that is signed."""
    asks_for_itself = claims.get("client_id") == claims.get("sub")
    dropped = LEFT_OUT if asks_for_itself else LEFT_OUT - {"client_id"}
    made = {KEYS.get(name, name): value for name, value in claims.items() if name not in dropped}
    made[CTI] = bytes.fromhex(claims["jti"])
    return made


def named(unverified_claims: dict[int | str, Any]) -> dict[str, Any]:
    """By JWT names. Raises `ClaimRefused` for a claim that occurs twice, by number and by name."""
    made: dict[str, Any] = {}
    for key, value in unverified_claims.items():
        name = NAMES.get(key, str(key)) if isinstance(key, int) else key
        if name in made or (isinstance(key, str) and key in KEYS):
            raise ClaimRefused(name, f"{name} stands in the token by name, where a number means it")
        made[name] = value
    if "jti" in made:
        if not isinstance(made["jti"], bytes):
            raise ClaimRefused("jti", "cti is not a byte string")
        made["jti"] = made["jti"].hex()
    if "client_id" not in made and "sub" in made:
        made["client_id"] = made["sub"]
    return made


def verify_cwt(unverified_token: str, keys: KeySet, algorithms: Collection[Algorithm]) -> dict[str, Any]:
    """The claims of a CWT (base64url) that a key of the set signed; none of them is checked. Raises a `JoseError`."""
    parts = decode_sign1(cwt_bytes(unverified_token))
    return named(cbor_map(verify_sign1(parts, keys, algorithms=algorithms)))


def read_unverified_cwt(unverified_token: str) -> tuple[dict[int | str, Any], dict[str, Any]]:
    """Header and claims before the signature is verified; nothing in them is trusted. Raises a `JoseError`."""
    parts = decode_sign1(cwt_bytes(unverified_token))
    return {**parts.unverified_header, 4: parts.unverified_kid}, named(cbor_map(parts.unverified_payload))
