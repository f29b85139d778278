"""multipart/form-data: which fields are read, and how much work a stranger can make of it."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.server.http.appid.multipart import read_multipart
from watchword.server.protocol.errors import InvalidRequest

TYPE = b"multipart/form-data; boundary=x"
NAMED = b'Content-Disposition: form-data; name="a"'
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def part(head: bytes, value: bytes = b"v") -> bytes:
    """One part between its delimiters."""
    return b"--x\r\n" + head + b"\r\n\r\n" + value + b"\r\n--x--\r\n"


@given(st.dictionaries(st.text("abc_-.", min_size=1, max_size=9), TEXTS, min_size=1, max_size=5))
def test_what_a_library_sends_is_read(fields: dict[str, str]) -> None:
    """Applications that were written for App ID would get no token."""
    sent = httpx.Request("POST", "http://a", files={name: (None, value) for name, value in fields.items()})
    found = dict(read_multipart(sent.headers["content-type"].encode(), sent.read()))
    assert found == fields


@pytest.mark.parametrize(
    "body",
    [
        b"", b"--x", b"--x--\r\n--y", part(NAMED)[:-6], part(NAMED) + b"more", b"before" + part(NAMED),
        part(b"Content-Disposition: form-data"), part(b'Content-Disposition: form-data; name=""'),
        part(NAMED + b'; filename="f"'), part(NAMED + b"\r\nContent-Transfer-Encoding: base64"),
        part(NAMED + b"\r\nContent-Type: multipart/mixed; boundary=y"), part(NAMED + b"\r\n" + NAMED),
        part(NAMED + b"\r\nContent-Type: text/plain; charset=utf-16"), part(b" " + NAMED), part(b"a: " + b"b" * 2_000),
        part(b'Content-Disposition: attachment; name="a"'), part(NAMED.replace(b"\"a\"", b"\"a\\\"b\"")),
        b"".join(part(NAMED)[:-6] for _ in range(150)) + b"--x--", b"--x\n" + NAMED + b"\n\nv\n--x--",
    ],
)  # fmt: skip
def test_what_is_no_field_is_refused(body: bytes) -> None:
    """A file, a nested part or half a body would be read as something that its sender did not mean."""
    with pytest.raises(InvalidRequest):
        list(read_multipart(TYPE, body))


@pytest.mark.parametrize("parameters", [b"", b"boundary=", b"boundary=x; boundary=x", b"boundary=" + b"x" * 71])
def test_one_boundary(parameters: bytes) -> None:
    """Two readers would divide the same body in two ways."""
    with pytest.raises(InvalidRequest):
        list(read_multipart(b"multipart/form-data; " + parameters, part(NAMED)))


def test_empty_values_are_told() -> None:
    """The form's rule for them is the form's, not the reader's."""
    assert list(read_multipart(TYPE, part(NAMED, b""))) == [("a", "")]
