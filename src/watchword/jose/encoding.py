"""Strict base64url (RFC 7515 section 2), strict JSON without duplicate members, and raw ECDSA signatures."""

from __future__ import annotations

import binascii
import json
import math
from typing import Any, NoReturn

from .errors import MalformedToken

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_+/=", b"+/   ")
"""What base64url does not have becomes what no base64 has."""
_PADDING = (b"", b"", b"==", b"=")
_LAST = (None, b"", b"AQgw", b"AEIMQUYcgkosw048")
"""The allowed last characters of a text whose last character has unused bits, by its length modulo 4."""


def b64url(raw: bytes) -> bytes:
    """Encode."""
    return binascii.b2a_base64(raw, newline=False).translate(_TO_URL).rstrip(b"=")


def unb64url(text: bytes) -> bytes:
    """Decode only the form that `b64url` writes: no padding, no unused bits."""
    over = len(text) % 4
    last = _LAST[over]
    if last is not None and text[-1:] not in last:
        raise MalformedToken("base64url: unused bits are set" if last else "base64url: illegal length")
    try:
        return binascii.a2b_base64(text.translate(_FROM_URL) + _PADDING[over], strict_mode=True)
    except binascii.Error:
        raise MalformedToken("base64url: illegal character or padding") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedToken("JSON: a member is repeated")
    return found


def _no_constant(name: str) -> NoReturn:
    raise MalformedToken(f"JSON: {name} is not a number")


def _finite(text: str) -> float:
    # 1e400 is well-formed JSON that Python reads as infinity.
    number = float(text)
    if not math.isfinite(number):
        raise MalformedToken("JSON: a number is out of range")
    return number


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
_scan = _decoder.scan_once  # type: ignore[attr-defined]  # what `decode` calls between two looks for white space


def json_object(raw: bytes, most: int | None = None) -> dict[str, Any]:
    """`json_value`, if it is an object.

    `most`: how many objects and arrays may stand in it, brackets in its texts counted too. Each costs a thousand times
    what a byte of text does, and nobody has to be known to send them.
    """
    if most is not None and raw.count(b"{") + raw.count(b"[") > most:
        raise MalformedToken(f"JSON: more than {most} objects and arrays")
    found = json_value(raw)
    if not isinstance(found, dict):
        raise MalformedToken("JSON: not an object")
    return found


def json_value(raw: bytes) -> Any:
    """Any value; duplicate members, NaN, deep nesting and bad UTF-8 are refused.

    Faster parsers silently keep the last of two members with one name, so that two readers may see two tokens (RFC 8725
    section 2.4). The standard library's parser can refuse duplicates.
    """
    try:
        text = raw.decode("utf-8")
        try:
            found, end = _scan(text, 0)
        except StopIteration:
            end = -1
        if end != len(text):  # white space around it, or no JSON
            found = _decoder.decode(text)
        if b"\\u" in raw:
            # Half a surrogate pair cannot be encoded as UTF-8 again (RFC 7493 section 2.1).
            json.dumps(found, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise MalformedToken("JSON: not well-formed") from None
    return found


def raw_from_der(der: bytes, size: int) -> bytes:
    """r || s, each `size` bytes, from the DER that our own signing call just made (RFC 7518 section 3.4).

    It trusts the shape of the DER: never use it for a signature from elsewhere.
    """
    at = 4 if der[1] < 0x80 else 5  # P-521 needs a length of two bytes
    end = at + der[at - 1]
    return der[at:end][-size:].rjust(size, b"\0") + der[end + 2 :][-size:].rjust(size, b"\0")
