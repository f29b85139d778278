"""base64url without padding, canonical only (RFC 7515 section 2), and JSON without duplicate members."""

from __future__ import annotations

import binascii
import json
from typing import Any, NoReturn

from .errors import MalformedToken

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")
_PADDING = (b"", b"", b"==", b"=")


def b64url(raw: bytes) -> bytes:
    """Encode."""
    return binascii.b2a_base64(raw, newline=False).translate(_TO_URL).rstrip(b"=")


def unb64url(text: bytes) -> bytes:
    """Decode what `b64url` would have written, and nothing else: no padding, no unused bits."""
    if b"+" in text or b"/" in text or b"=" in text or len(text) % 4 == 1:
        raise MalformedToken("base64url: illegal character, padding or length")
    try:
        raw = binascii.a2b_base64(text.translate(_FROM_URL) + _PADDING[len(text) % 4], strict_mode=True)
    except binascii.Error:
        raise MalformedToken("base64url: illegal character") from None
    if len(text) % 4 and b64url(raw[-(len(raw) % 3) :]) != text[-(len(text) % 4) :]:
        raise MalformedToken("base64url: unused bits are set")
    return raw


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedToken("JSON: a member is repeated")
    return found


def _no_constant(name: str) -> NoReturn:
    raise MalformedToken(f"JSON: {name} is not a number")


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def json_object(raw: bytes) -> dict[str, Any]:
    """An object; duplicate members, NaN, other types, deep nesting and bad UTF-8 are refused."""
    try:
        found = _decoder.decode(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        raise MalformedToken("JSON: not well-formed") from None
    if not isinstance(found, dict):
        raise MalformedToken("JSON: not an object")
    return found
