"""Read deterministically encoded CBOR (RFC 8949 section 4.2.1), and only the types that tokens need.

Any other encoding is refused: indefinite and over-long lengths, keys that are repeated or out of order, tags, undefined
and other simple values, NaN and infinities. So two readers of one token never see two tokens, and no tag constructs an
object.
"""

from __future__ import annotations

import math
import struct
from typing import Any

from .errors import MalformedToken

MAX_DEPTH = 8
_SIZES = {24: 1, 25: 2, 26: 4, 27: 8}
_FLOATS = {25: ">e", 26: ">f", 27: ">d"}
_NARROWER = {26: ">e", 27: ">f"}
_SIMPLE: dict[int, bool | None] = {20: False, 21: True, 22: None}


def cbor_value(raw: bytes) -> Any:
    """The one value: int, bytes, str, list, dict with int or str keys, bool, None or float. Raises `MalformedToken`."""
    value, end = _value(raw, 0, MAX_DEPTH)
    if end != len(raw):
        raise MalformedToken("CBOR: bytes after the end")
    return value


def cbor_map(raw: bytes) -> dict[int | str, Any]:
    """`cbor_value`, if it is a map."""
    found = cbor_value(raw)
    if not isinstance(found, dict):
        raise MalformedToken("CBOR: not a map")
    return found


def byte_string(raw: bytes) -> bytes:
    """Encode a byte string: verifying needs no other encoding."""
    size = len(raw)
    if size < 24:
        return bytes([0x40 | size]) + raw
    if size < 256:
        return bytes([0x58, size]) + raw
    return b"\x59" + size.to_bytes(2, "big") + raw


def _value(raw: bytes, at: int, depth: int) -> tuple[Any, int]:
    if depth == 0:
        raise MalformedToken(f"CBOR: more than {MAX_DEPTH} levels")
    major, short, number, at = _head(raw, at)
    if major == 0:
        return number, at
    if major == 1:
        return -1 - number, at
    if major in (2, 3):
        text = _bytes(raw, at, number)
        return (text if major == 2 else _text(text)), at + number
    if major == 4:
        return _array(raw, at, number, depth)
    if major == 5:
        return _map(raw, at, number, depth)
    if major == 7 and short in _SIMPLE:
        return _SIMPLE[short], at
    if major == 7 and short in _FLOATS:
        return _float(raw[at - _SIZES[short] : at], short), at
    raise MalformedToken("CBOR: a tag or a simple value that no token has")


def _head(raw: bytes, at: int) -> tuple[int, int, int, int]:
    """Major type, additional information, its number, and the offset of the content."""
    first = _bytes(raw, at, 1)[0]
    major, short = first >> 5, first & 31
    if short < 24:
        return major, short, short, at + 1
    if short > 27:
        raise MalformedToken("CBOR: an indefinite or reserved length")
    size = _SIZES[short]
    number = int.from_bytes(_bytes(raw, at + 1, size), "big")
    if major != 7 and number < (24 if size == 1 else 1 << (4 * size)):
        raise MalformedToken("CBOR: a number is longer than it has to be")
    return major, short, number, at + 1 + size


def _bytes(raw: bytes, at: int, count: int) -> bytes:
    found = raw[at : at + count]
    if len(found) != count:
        raise MalformedToken("CBOR: it ends too early")
    return found


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedToken("CBOR: a text is not UTF-8") from None


def _array(raw: bytes, at: int, count: int, depth: int) -> tuple[list[Any], int]:
    if count > len(raw) - at:
        raise MalformedToken("CBOR: it ends too early")
    found = []
    for _ in range(count):
        value, at = _value(raw, at, depth - 1)
        found.append(value)
    return found, at


def _map(raw: bytes, at: int, count: int, depth: int) -> tuple[dict[int | str, Any], int]:
    if count > len(raw) - at:
        raise MalformedToken("CBOR: it ends too early")
    found: dict[int | str, Any] = {}
    before = b""
    for _ in range(count):
        begin = at
        key, at = _value(raw, at, depth - 1)
        if isinstance(key, bool) or not isinstance(key, int | str):
            raise MalformedToken("CBOR: a key is neither a whole number nor a text")
        if raw[begin:at] <= before:
            raise MalformedToken("CBOR: a key is repeated or out of order")
        before = raw[begin:at]
        found[key], at = _value(raw, at, depth - 1)
    return found, at


def _float(raw: bytes, short: int) -> float:
    number: float = struct.unpack(_FLOATS[short], raw)[0]
    if not math.isfinite(number):
        raise MalformedToken("CBOR: a number is not finite")
    if short in _NARROWER:
        try:
            narrow: float = struct.unpack(_NARROWER[short], struct.pack(_NARROWER[short], number))[0]
        except OverflowError:
            return number
        if narrow == number:
            raise MalformedToken("CBOR: a number is longer than it has to be")
    return number
