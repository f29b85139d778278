"""Bodies that are parsed once: what is kept of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.server.protocol import form
from watchword.server.protocol.errors import InvalidRequest
from watchword.server.protocol.form import parse_form, parse_known_form


def kept() -> int:
    """How many bodies are remembered."""
    return form._remembered.cache_info().currsize


def test_the_usual_body_is_parsed_once() -> None:
    """Each token would be paid for once more."""
    body = b"grant_type=client_credentials&scope=a%3Aread".replace(b"%3A", b":")
    assert parse_known_form(body) == parse_form(body)
    assert parse_known_form(body) is parse_known_form(body)


@pytest.mark.parametrize(
    "body",
    [
        b"grant_type=client_credentials&client_id=a&client_secret=b",
        b"grant_type=client_credentials&client_%73ecret=b",
        b"grant_type=client_credentials&CLIENT_SECRET=b",
        b"grant_type=client_credentials&client_assertion=a%2Eb.c",
        b"grant_type=client_credentials&client_assertion=a.b.c&client_secret=d",
        b"grant_type=client_credentials&client_assertion=a.b.c&client_assertion_type=urn%3Asecret",
        b"grant_type=client_credentials&x_client_assertion=a.b.c",
        b"grant_type=password&username=a&password=b",
        b"subject_token=a.b.c",
        b"grant_type=client_credentials&scope=" + b"a" * 256,
    ],
)
def test_credentials_are_never_kept(body: bytes) -> None:
    """Secrets of every caller would stand in the memory of the server for as long as it runs."""
    before = kept()
    assert parse_known_form(body) == parse_form(body)
    assert kept() == before


def test_an_assertion_is_never_kept() -> None:
    """It is another one each time: all of them would push out what is worth keeping, and stand in memory besides."""
    form._remembered.cache_clear()
    before, bodies = kept(), []
    for assertion in (b"a.b.c", b"d.e.f"):
        bodies.append(b"&".join((b"client_id=an-id", b"client_assertion=" + assertion, form._ASSERTION_TYPE)))
        assert parse_known_form(bodies[-1]) == parse_form(bodies[-1])
        assert kept() == before + 1, "what stands around it, once"
    for body in bodies:
        form._remembered(body, form.REPEATABLE)
    assert kept() == before + 1 + len(bodies), "and not with it"


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n", b"\n&scope=a", b"\r\nx=1", b"&a=\nb"])
def test_a_line_break_is_no_end(end: bytes) -> None:
    """A caller that asked for one scope would get all that are granted: what stood behind the break was dropped."""
    for parse in (parse_form, parse_known_form):
        with pytest.raises(InvalidRequest):
            parse(b"grant_type=client_credentials" + end)


def test_no_value_is_no_parameter() -> None:
    """RFC 6749 section 3.2: a library that sends every field would be refused for two ways to authenticate."""
    body = b"grant_type=a&client_secret=&client_assertion=&client_assertion_type=&scope=&resource=&resource=r&scope=s&x"
    assert parse_form(body) == parse_known_form(body) == {"grant_type": "a", "resource": ["r"], "scope": "s"}


@given(
    st.lists(
        st.sampled_from([b"%", b"%4", b"%41", b"%zz", b"%\n", b"%00", b"%C3%a9", b"=", b"a", b" ", b"\t", b"%%", b"."])
    )
)
def test_a_long_value_is_read_as_a_short_one(pieces: list[bytes]) -> None:
    """The quicker way would take a broken escape for a right one, or drop a byte of a secret."""
    found: list[object] = []
    for read in (form._unescaped, form._unescaped_long):
        try:
            found.append(read(b"".join(pieces)))
        except KeyError:
            found.append(None)
    assert found[0] == found[1]


PIECES = st.sampled_from(
    (
        b"client_assertion=", b"a.b.c", b"client_assertion", b"=", b"&", b"&&", b"%", b"%2E", b"+", b"\n", b"\r",
        b"\xff", b"scope=a", b"client_secret=s", form._ASSERTION_TYPE, b"client%5Fassertion=x", b"resource=r",
    )
)  # fmt: skip


@given(st.lists(PIECES, max_size=8).map(b"".join))
def test_around_an_assertion_nothing_is_read_differently(body: bytes) -> None:
    """A quicker way to read would let through what the careful one refuses, or read it as something else."""
    try:
        expected: object = parse_form(body)
    except InvalidRequest as refusal:
        expected = refusal.public
    try:
        found: object = parse_known_form(body)
    except InvalidRequest as refusal:
        found = refusal.public
    assert found == expected


def test_a_refusal_is_not_kept() -> None:
    """A body that was refused once would be refused in another's words, or taken, the second time."""
    before = kept()
    for _ in range(2):
        with pytest.raises(InvalidRequest):
            parse_known_form(b"scope=a&scope=b")
    assert kept() == before


def test_what_is_kept_is_bounded() -> None:
    """A caller with a new scope each time would fill the memory of the server."""
    for n in range(1000):
        parse_known_form(b"scope=%d" % n)
    assert kept() == 256
