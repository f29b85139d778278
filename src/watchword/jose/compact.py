"""Read strictly, sign and verify compact JWS (RFC 7515 section 7.1), and check the claims of a JWT."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Set
from contextlib import suppress
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct

from .algorithms import FULLY_SPECIFIED, Algorithm
from .encoding import b64url, json_object, unb64url
from .errors import BadSignature, ClaimRefused, MalformedToken, UnacceptableHeader, UnknownKey
from .keys import KeySet, PrivateKey, PublicKey

MAX_TOKEN = 16_384
MAX_HEADERS = 100
_SHORT_HEADER = 512
"""Characters of a header that is cached: all tokens of one key have the same header."""
ACCESS_TOKEN_HEADER = frozenset({"alg", "kid", "typ", "ver"})
"""What may stand in an access token's header; every other use brings its own list."""


class Unverified(Struct, frozen=True):
    """A token's parts; nothing in it is trusted."""

    unverified_header: dict[str, Any]
    unverified_payload: bytes
    signing_input: bytes
    signature: bytes

    def __repr__(self) -> str:
        return "Unverified(...)"


class Read(Struct, frozen=True):
    """A token and the object in it, read once; nothing in it is trusted."""

    token: Unverified
    unverified_claims: dict[str, Any]

    def __repr__(self) -> str:
        return "Read(...)"


class Verified(Struct, frozen=True):
    """A token whose signature was verified; its claims are not checked yet."""

    header: dict[str, Any]
    claims: dict[str, Any]

    def __repr__(self) -> str:
        return "Verified(...)"


def decode_unverified(unverified_token: str, max_size: int = MAX_TOKEN) -> Unverified:
    """Read strictly: check size and shape before decoding, then accept only canonical base64url and strict JSON."""
    signing_input, header, payload, signature = _parts(unverified_token, max_size)
    read = _known_header if len(header) <= _SHORT_HEADER else _header
    return Unverified(read(header), unb64url(payload), signing_input, unb64url(signature))


def _header(unverified_header: bytes) -> dict[str, Any]:
    return json_object(unb64url(unverified_header))


_known_header = lru_cache(256)(_header)
"""Nobody writes to what it gives. A header that was read is not thereby trusted: each use judges it anew."""


def read_unverified(unverified_token: str) -> Read:
    """Read the claims before the signature is verified, to find out whose keys to use. Raises a `JoseError`."""
    token = decode_unverified(unverified_token)
    return Read(token, json_object(token.unverified_payload))


def check_header(
    unverified_header: Mapping[str, Any],
    algorithms: Collection[Algorithm],
    members: Set[str] = ACCESS_TOKEN_HEADER,
) -> tuple[Algorithm, str | None]:
    """Only the members listed; no embedded or remote keys, no `crit`, no `b64`, no `zip`."""
    if not unverified_header.keys() <= members:
        raise UnacceptableHeader("a header member that is not allowed (RFC 8725 section 3.1, RFC 7515 section 4.1.11)")
    name, kid = unverified_header.get("alg"), unverified_header.get("kid")
    if isinstance(name, str):
        name = FULLY_SPECIFIED.get(name, name)
    if not isinstance(name, str) or name not in algorithms:
        raise UnacceptableHeader("the algorithm is not in the list of allowed ones")
    if not isinstance(kid, str) and "kid" in unverified_header:
        raise UnacceptableHeader("kid is not a text")
    return Algorithm(name), kid


def check_type(unverified_header: Mapping[str, Any], typ: Collection[str]) -> None:
    """RFC 9068 section 4, RFC 8725 section 3.11: compared without case and without `application/`."""
    found = unverified_header.get("typ")
    if not isinstance(found, str) or found.lower().removeprefix("application/") not in {t.lower() for t in typ}:
        raise UnacceptableHeader(f"typ is not {' or '.join(sorted(typ))}")


def verify_bytes(
    unverified_token: str,
    keys: KeySet,
    *,
    algorithms: Collection[Algorithm],
    typ: Collection[str] | None,
    kid_required: bool = True,
    members: Set[str] = ACCESS_TOKEN_HEADER,
    max_size: int = MAX_TOKEN,
) -> tuple[dict[str, Any], bytes]:
    """Header and payload of a token that a key of the set signed, whatever the payload is.

    Everything that `verify_signature` checks but for the payload's JSON.
    """
    token = decode_unverified(unverified_token, max_size)
    algorithm, kid = check_header(token.unverified_header, algorithms, members)
    if typ is not None:
        check_type(token.unverified_header, typ)
    key = _key_for(keys, kid, algorithm, kid_required)
    key.verify(token.signing_input, token.signature)
    return token.unverified_header, token.unverified_payload


def verify_with_one_of(
    unverified: Read,
    keys: KeySet,
    *,
    algorithms: Collection[Algorithm],
    members: Set[str],
    typ: Collection[str],
    tries: int,
) -> tuple[Verified, PublicKey]:
    """Like `verify_signature`, for callers with several registered keys; returns the key that fits as well.

    `typ` counts when it is there. Without a `kid`, the set's keys of the header's algorithm are tried, at
    most `tries` of them. Raises a `JoseError`.
    """
    token = unverified.token
    algorithm, kid = check_header(token.unverified_header, algorithms, members)
    if "typ" in token.unverified_header:
        check_type(token.unverified_header, typ)
    if kid is not None:
        candidates = [_key_for(keys, kid, algorithm, kid_required=True)]
    else:
        candidates = [key for key in keys.values() if key.algorithm == algorithm]
    if not 1 <= len(candidates) <= tries:
        raise UnknownKey("the token names no key, and none or too many could be meant")
    for key in candidates:
        with suppress(BadSignature):
            key.verify(token.signing_input, token.signature)
            return Verified(token.unverified_header, unverified.unverified_claims), key
    raise BadSignature("the signature fits none of the keys")


def verify_signature(
    unverified_token: str,
    keys: KeySet,
    *,
    algorithms: Collection[Algorithm],
    typ: Collection[str] | None,
    kid_required: bool = True,
    max_size: int = MAX_TOKEN,
) -> Verified:
    """Header and claims of a token of at most `max_size` characters that a key of the set signed.

    Does not check any claim: see `check_claims`. Raises a `JoseError`.
    """
    header, payload = verify_bytes(
        unverified_token, keys, algorithms=algorithms, typ=typ, kid_required=kid_required, max_size=max_size
    )
    return Verified(header, json_object(payload))


class Gate:
    """`verify_signature` for many tokens of one issuer: the same checks, but each header text is checked once.

    Only headers of tokens that a key of ``keys`` has signed are cached, so that the issuer alone decides how many there
    are. The result depends on nothing but the header's text, the key set and the lists.
    """

    def __init__(self, keys: KeySet, *, algorithms: Collection[Algorithm], typ: Collection[str]) -> None:
        self.keys = keys
        self._algorithms, self._typ = frozenset(algorithms), frozenset(typ)
        self._signed_with: dict[str, PublicKey] = {}

    def claims(self, unverified_token: str) -> dict[str, Any]:
        """The claims of a token that a key of the set signed; none of them is checked. Raises a `JoseError`."""
        header = unverified_token.partition(".")[0]
        key = self._signed_with.get(header)
        if key is None:
            verified = verify_signature(unverified_token, self.keys, algorithms=self._algorithms, typ=self._typ)
            if len(self._signed_with) < MAX_HEADERS:
                self._signed_with[header] = self.keys[verified.header["kid"]]
            return verified.claims
        signing_input, _, payload, signature = _parts(unverified_token)
        key.verify(signing_input, unb64url(signature))
        return json_object(unb64url(payload))


def _parts(unverified_token: str, max_size: int = MAX_TOKEN) -> tuple[bytes, bytes, bytes, bytes]:
    """Signing input, header, payload and signature before decoding: only size and shape are checked.

    `unb64url` checks the characters of each part before the part is used.
    """
    if len(unverified_token) > max_size:
        raise MalformedToken(f"a token has at most {max_size} characters")
    signing_input, _, signature = unverified_token.encode("utf-8", "surrogatepass").rpartition(b".")
    header, _, payload = signing_input.partition(b".")
    if not (header and payload and signature) or b"." in payload:
        raise MalformedToken("a token has three parts of base64url, separated by dots")
    return signing_input, header, payload, signature


def _key_for(keys: KeySet, kid: str | None, algorithm: Algorithm, kid_required: bool) -> PublicKey:
    if kid is None:
        fitting = [key for key in keys.values() if key.algorithm == algorithm]
        if kid_required or len(fitting) != 1:
            raise UnknownKey("the token names no key")
        return fitting[0]
    key = keys.get(kid)
    if key is None:
        raise UnknownKey("no key of that id is in the set")
    if key.algorithm != algorithm:
        raise UnacceptableHeader("the algorithm is not the key's (one key, one algorithm)")
    return key


class Signer:
    """Signs payloads with one key under one header, encoded once.

    The header may add members; `alg` and `kid` are the key's and cannot be replaced. `named`: include `kid`.
    """

    def __init__(
        self,
        key: PrivateKey,
        typ: str | None = "at+jwt",
        header: Mapping[str, Any] | None = None,
        *,
        named: bool = True,
    ) -> None:
        self.key = key
        if header and not header.keys().isdisjoint(("alg", "kid")):
            raise UnacceptableHeader("alg and kid are the key's")
        full: dict[str, Any] = {"alg": key.algorithm.value, **({"kid": key.kid} if named else {})}
        if typ is not None:
            full["typ"] = typ
        self._head = b64url(msgspec.json.encode({**full, **(header or {})})) + b"."
        self._sign = key.sign

    def sign(self, payload: bytes) -> str:
        """The compact serialisation."""
        signing_input = self._head + b64url(payload)
        return (signing_input + b"." + b64url(self._sign(signing_input))).decode("ascii")


def check_claims(
    claims: Mapping[str, Any],
    *,
    issuer: str,
    audience: str | Collection[str],
    now: float,
    leeway: float = 0,
    ahead: float | None = None,
) -> None:
    """RFC 9068 section 4: iss exact, aud ours, exp required and ahead, nbf and iat not ahead.

    `leeway` and `ahead` are seconds: how long past exp, and how far ahead nbf and iat may be (`leeway` when
    None). Does not check scope, revocation or confirmation. Raises `ClaimRefused`, which names the rule.
    """
    if claims.get("iss") != issuer or not isinstance(claims.get("iss"), str):
        raise ClaimRefused("iss", f"issuer is {_shown(claims.get('iss'))}, expected {issuer!r}")
    if not isinstance(audience, str) or claims.get("aud") != audience:
        _check_audience(claims.get("aud"), {audience} if isinstance(audience, str) else set(audience))
    expires = numeric_date(claims, "exp", required=True)
    if expires is not None and now >= expires + leeway:
        raise ClaimRefused("exp", f"expired {now - expires:.0f} s ago by this machine's clock")
    for name in ("nbf", "iat"):
        value = numeric_date(claims, name, required=False)
        if value is not None and value > now + (leeway if ahead is None else ahead):
            raise ClaimRefused(name, f"{name} is {value - now:.0f} s ahead of this machine's clock")
    if "scope" in claims and not isinstance(claims["scope"], str):
        raise ClaimRefused("scope", "scope is not a text")


def _check_audience(found: object, wanted: set[str]) -> None:
    listed = [found] if isinstance(found, str) else found
    if not isinstance(listed, list) or not listed or not all(isinstance(item, str) for item in listed):
        raise ClaimRefused("aud", "aud is missing or not a text or list of texts")
    if wanted.isdisjoint(listed):
        raise ClaimRefused(
            "aud",
            f"audience is {_shown(listed)}, this API is {', '.join(sorted(wanted))}",
        )


def numeric_date(claims: Mapping[str, Any], name: str, *, required: bool) -> float | None:
    """RFC 7519 section 2, NumericDate: a finite number, not a text, not a boolean."""
    value = claims.get(name)
    if value is None and not required and name not in claims:
        return None
    if type(value) is int and 0 <= value < 2**53:  # what nearly everybody sends
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ClaimRefused(name, f"{name} is missing or not a number")
    try:
        number = float(value)
    except OverflowError:
        raise ClaimRefused(name, f"{name} is out of range") from None
    if not math.isfinite(number) or not 0 <= number < 2**53:
        raise ClaimRefused(name, f"{name} is out of range")
    return number


def _shown(value: object) -> str:
    """A claim for a log line: escaped, so that it cannot forge another line, and cut short."""
    text = repr(value) if isinstance(value, str | list) else type(value).__name__
    return text if len(text) <= 200 else text[:200] + "..."
