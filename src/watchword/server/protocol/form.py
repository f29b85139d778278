"""Parse application/x-www-form-urlencoded bodies, strictly (RFC 6749 appendix B, RFC 3986 section 2.1).

A raw CR or LF can be no part of a form: one that has any is refused, for what stands behind it could be dropped by one
reader and read by another. A parameter without a value counts as absent (RFC 6749 section 3.2), whatever its name.
Bytes that are not UTF-8 become lone surrogates, which match no identifier and no scope-token, so that each field's own
rule refuses them.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from functools import lru_cache

from .errors import InvalidRequest

MAX_FIELDS = 100
_HEX = b"0123456789abcdefABCDEF"
_ESCAPED = {bytes((a, b)): bytes([int(bytes((a, b)), 16)]) for a in _HEX for b in _HEX}
"""The byte of each pair of hexadecimal digits: faster than a regular expression, for every token request."""
_LONG = 1_024
REPEATABLE = frozenset({"resource"})
"""In every request. A grant may declare more (`Grant.repeatable`)."""
_REMEMBERED = 256
"""The longest cached body in bytes, and the number of cached bodies."""
_ASSERTION = b"client_assertion="
_ASSERTION_TYPE = b"client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
"""As nearly all encoders write it; otherwise the form is parsed each time."""
_OF_A_JWT = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
_CREDENTIALS = re.compile(rb"secret|assertion|token|password|%", re.IGNORECASE)


def decode_component(raw: bytes) -> str:
    """One key or value: `+` is a space, `%XX` a byte."""
    if b"+" in raw:
        raw = raw.replace(b"+", b" ")
    if b"%" in raw:
        try:
            raw = _unescaped_long(raw) if len(raw) > _LONG else _unescaped(raw)
        except KeyError:
            raise InvalidRequest("a percent-encoding in the body is broken") from None
    return raw.decode("utf-8", "surrogateescape")


def _unescaped(raw: bytes) -> bytes:
    first, *escaped = raw.split(b"%")
    return first + b"".join([_ESCAPED[part[:2]] + part[2:] for part in escaped])


def _unescaped_long(raw: bytes) -> bytes:
    """In C, twenty times as fast: a quoted-printable text has the same escapes, with another sign.

    What that reader lets pass, it shortens by less than a right escape; what else it knows, soft line breaks and a sign
    that is no escape, goes the usual way. Raises `KeyError`.
    """
    if b"=" in raw or b"\n" in raw or b"\r" in raw:
        return _unescaped(raw)
    found = binascii.a2b_qp(raw.replace(b"%", b"="))
    if len(raw) - len(found) != 2 * raw.count(b"%"):
        raise KeyError
    return found


def parse_form(body: bytes, repeatable: frozenset[str] = REPEATABLE) -> dict[str, str | list[str]]:
    """Parameters by name; the repeatable ones as lists. Raises `InvalidRequest` on a repetition."""
    if b"\n" in body or b"\r" in body:
        raise InvalidRequest("a line break stands in the form: encode it as %0D%0A, or leave it out")
    pairs = body.split(b"&")
    if len(pairs) > MAX_FIELDS:
        raise InvalidRequest(f"more than {MAX_FIELDS} parameters")
    form: dict[str, str | list[str]] = {}
    for pair in pairs:
        if not pair:
            continue
        raw_name, _, raw_value = pair.partition(b"=")
        name, value = decode_component(raw_name), decode_component(raw_value)
        if not value:
            continue
        if name in repeatable:
            form.setdefault(name, []).append(value)  # type: ignore[union-attr]
        elif name in form:
            raise InvalidRequest("a parameter is repeated")
        else:
            form[name] = value
    return form


def parse_known_form(body: bytes, repeatable: frozenset[str] = REPEATABLE) -> Mapping[str, str | list[str]]:
    """`parse_form`, for callers that send the same each time: a short body without credentials is parsed once.

    Bodies that could contain a secret are not cached, nor bodies with escapes, which could hide one. A client
    assertion differs each time, and the rest of its body is the same.
    """
    if _ASSERTION not in body:
        return _remembered(body, repeatable) if _may_be_remembered(body) else parse_form(body, repeatable)
    before, _, after = body.partition(_ASSERTION)
    assertion, _, more = after.partition(b"&")
    rest = before + more
    if (
        (before and not before.endswith(b"&"))
        or assertion.translate(None, _OF_A_JWT)
        or not _may_be_remembered(rest)
        or b"\n" in rest
        or b"\r" in rest
        or not assertion
    ):
        return parse_form(body, repeatable)
    return {**_remembered(rest, repeatable), "client_assertion": assertion.decode("ascii")}


def _may_be_remembered(body: bytes) -> bool:
    """Whether a body is short and holds no credentials. Bodies that passed are known: the search is 2 % of a token."""
    if body in _HARMLESS:
        return True
    if len(body) > _REMEMBERED or _CREDENTIALS.search(body.replace(_ASSERTION_TYPE, b"", 1)):
        return False
    if len(_HARMLESS) >= _REMEMBERED:
        _HARMLESS.clear()
    _HARMLESS.add(body)
    return True


_HARMLESS: set[bytes] = set()
_remembered = lru_cache(_REMEMBERED)(parse_form)
