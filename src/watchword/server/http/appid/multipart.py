"""multipart/form-data with fields alone (RFC 7578): one pass over the bytes, and no more of MIME than that needs.

What a field has no use for is refused: files, nested parts, transfer encodings, charsets other than UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...protocol.errors import InvalidRequest
from ...protocol.form import MAX_FIELDS

MAX_HEAD = 1_024
"""Bytes of the headers of one part."""
_BOUNDARY = re.compile(rb"""[0-9A-Za-z'()+_,./:=?-]{1,70}""")
"""RFC 2046 section 5.1.1, without spaces: nobody's library makes them."""
_DISPOSITION = re.compile(
    rb"""form-data[ \t]*;[ \t]*name=(?:"([^"\\\x00-\x1f\x7f]{0,200})"|([!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}))"""
)
_PLAIN = re.compile(rb"text/plain[ \t]*(?:;[ \t]*charset=\"?utf-8\"?)?", re.IGNORECASE)


def boundary_of(content_type: bytes) -> bytes:
    """The `boundary` parameter. Raises `InvalidRequest`."""
    found = [
        value.strip(b" \t")
        for name, equals, value in (part.partition(b"=") for part in content_type.split(b";")[1:])
        if equals and name.strip(b" \t").lower() == b"boundary"
    ]
    boundary = found[0] if len(found) == 1 else b""
    if len(boundary) > 1 and boundary.startswith(b'"') and boundary.endswith(b'"'):
        boundary = boundary[1:-1]
    if not _BOUNDARY.fullmatch(boundary):
        raise InvalidRequest("Content-Type: multipart/form-data needs one boundary of 1 to 70 characters")
    return boundary


def read_multipart(content_type: bytes, body: bytes) -> Iterator[tuple[str, str]]:
    """Names and values in their order. Raises `InvalidRequest`.

    Bytes that are not UTF-8 become lone surrogates, as in a form: each field's own rule refuses them.
    """
    delimiter = b"\r\n--" + boundary_of(content_type)
    parts = (b"\r\n" + body).split(delimiter, MAX_FIELDS + 2)
    if len(parts) > MAX_FIELDS + 2:
        raise InvalidRequest(f"more than {MAX_FIELDS} parameters")
    before, *fields, end = parts if len(parts) > 1 else [b"", b""]
    if before.strip(b"\r\n") or not end.startswith(b"--") or end[2:].strip(b" \t\r\n"):
        raise InvalidRequest("the multipart body is broken: it begins and ends with its boundary")
    for field in fields:
        yield _field(field)


def _field(part: bytes) -> tuple[str, str]:
    line, _, rest = part.partition(b"\r\n")
    head, blank, value = rest[: MAX_HEAD + 4].partition(b"\r\n\r\n")
    if line.strip(b" \t") or not blank or len(head) > MAX_HEAD:
        raise InvalidRequest("each part of the multipart body is one named field")
    name: bytes | None = None
    for header in head.split(b"\r\n"):
        label, colon, text = header.partition(b":")
        label, text = label.lower(), text.strip(b" \t")
        found = _DISPOSITION.fullmatch(text) if colon and label == b"content-disposition" and name is None else None
        if found is not None:
            name = found[1] if found[1] is not None else found[2]
        elif not colon or label != b"content-type" or not _PLAIN.fullmatch(text):
            raise InvalidRequest("each part of the multipart body is one named field: no file, no transfer encoding")
    if not name:
        raise InvalidRequest("each part of the multipart body is one named field")
    value = rest[len(head) + 4 :]
    return name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape")
