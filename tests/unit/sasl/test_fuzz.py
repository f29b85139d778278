"""Bytes that nobody planned: both parsers answer with a message or with `Malformed`, and with nothing else."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from watchword.sasl import (
    Accepted,
    Challenge,
    Malformed,
    OAuthBearerClient,
    OAuthBearerServer,
    Refused,
    SaslError,
    decode_line,
    encode_line,
    read_message,
)

TOKEN = st.from_regex(r"[A-Za-z0-9._~+/-]{1,40}={0,2}", fullmatch=True)
NEARLY = st.lists(
    st.one_of(
        st.sampled_from(
            [b"n,", b"y,", b"p=x,", b"a=", b",", b"\1", b"\1\1", b"auth=", b"Bearer ", b"host=", b"=2C", b"="]
        ),
        st.binary(max_size=4),
        TOKEN.map(str.encode),
    ),
    max_size=12,
).map(b"".join)


class Anyone:
    """Whom the verifier of these tests sees behind every token."""

    subject = "me"


def verify(unverified_token: str) -> Anyone:
    assert unverified_token
    return Anyone()


@given(st.one_of(NEARLY, st.binary(max_size=200)))
@example(b"n,,\1auth=Bearer a\1\1")
@example(b"n,a==2,\1\1")
def test_any_message_is_read_or_malformed(data: bytes) -> None:
    """One stranger's bytes would end a server's process, or a message be read in two ways."""
    try:
        said = read_message(data)
    except Malformed:
        said = None
    exchange = OAuthBearerServer(verify)
    try:
        outcome = exchange.respond(data)
    except SaslError:
        assert said is None or said.authzid not in ("", "me")
        return
    assert said is not None
    assert isinstance(outcome, Accepted if said.unverified_token else Challenge)


@given(NEARLY)
def test_nothing_succeeds_twice(data: bytes) -> None:
    """A second message that is accepted is a login without a first check."""
    exchange = OAuthBearerServer(verify)
    first: Any = None
    with suppress(SaslError):
        first = exchange.respond(data)
    for _ in range(2):
        try:
            second = exchange.respond(b"n,,\1auth=Bearer a\1\1" if first is None else data)
        except SaslError:
            continue
        raise AssertionError(second)


@given(st.one_of(st.binary(max_size=200), st.from_regex(r"[A-Za-z0-9+/=\s]{0,40}", fullmatch=True).map(str.encode)))
def test_one_line_one_message(line: bytes) -> None:
    """Two spellings of one message pass a filter that knows only the other."""
    try:
        decoded = decode_line(line)
    except Malformed:
        return
    assert encode_line(decoded) == line


@given(st.one_of(st.binary(max_size=200), st.recursive(st.text(max_size=5), st.lists).map(lambda v: repr(v).encode())))
@example(b'{"status":"\\ud800"}')
@example(b'{"status":"x","status":"y"}')
def test_any_challenge_ends_in_a_refusal(data: bytes) -> None:
    """A hostile server would crash its clients one by one."""
    client = OAuthBearerClient("a")
    client.respond(b"")
    assert client.respond(data) == b"\1"
    try:
        client.finish(succeeded=False)
    except Refused as refused:
        str(refused).encode()
        return
    raise AssertionError("no refusal")


@given(TOKEN, st.text(max_size=20), st.none() | st.text(max_size=20), st.none() | st.integers(0, 65535))
def test_what_we_write_we_read(token: str, authzid: str, host: str | None, port: int | None) -> None:
    """The two sides would disagree about what was said, in the escapes first of all."""
    try:
        client = OAuthBearerClient(token, authzid=authzid, host=host, port=port)
    except ValueError:
        said = authzid + (host or "")
        assert not said.isprintable() or not (host or "").isascii()
        return
    said = read_message(client.respond(b""))
    assert (said.unverified_token, said.authzid, said.unverified_host) == (token, authzid, host)
    assert said.unverified_port == (None if port is None else str(port))
