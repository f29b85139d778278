"""Read and write the messages of RFC 7628: gs2 header, key-value pairs, error challenge, and base64 lines."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Final

import msgspec

from watchword.sasl.errors import Malformed

MAX_MESSAGE: Final = 65_536
"""Bytes of one message, and characters of its base64; more is refused before anything is decoded."""
KVSEP: Final = b"\x01"
DUMMY: Final = b"\x01"
"""The client's answer to an error challenge (RFC 7628 section 3.2.3)."""

_KEY = re.compile(rb"[A-Za-z]+")
_VALUE = re.compile(rb"[\x20-\x7e\t\r\n]*")
_BEARER = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/-]+=*)")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)
_SASLNAME = re.compile(rb"(?:[^\x00-\x1f\x7f,=]|=2C|=3D)+")
_SCHEME = re.compile(rb"[!#$%&'*+.^_`|~A-Za-z0-9-]+")


@dataclass(frozen=True, slots=True)
class ClientMessage:
    """The message of a client: well-formed, otherwise unchecked.

    ``unverified_token`` is None when the message has none (RFC 7628 section 4.3: the client asks for discovery) and
    when ``scheme`` is not ``bearer``. ``unverified_host`` and ``unverified_port`` name the server as the
    client claims: use them in a log, never for routing.
    """

    authzid: str
    scheme: str
    unverified_token: str | None = field(repr=False)
    unverified_host: str | None = None
    unverified_port: str | None = None


class ErrorChallenge(msgspec.Struct, frozen=True, omit_defaults=True):
    """The members of RFC 7628 section 3.2.2, and no others."""

    status: str
    scope: str | None = None
    openid_configuration: str | None = msgspec.field(name="openid-configuration", default=None)

    def encode(self) -> bytes:
        """The JSON that is sent."""
        return msgspec.json.encode(self)


_decode_challenge = msgspec.json.Decoder(ErrorChallenge).decode


def read_challenge(unverified: bytes) -> ErrorChallenge:
    """Raises `Malformed`."""
    _bounded(unverified)
    try:
        return _decode_challenge(unverified)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise Malformed("the error challenge is not the JSON of RFC 7628 section 3.2.2") from None


def read_message(unverified: bytes) -> ClientMessage:
    """The first message of a client (RFC 7628 section 3.1).

    Raises:
        Malformed: anything that the ABNF does not allow, channel binding, a key twice, a token that is no
            ``b64token`` (RFC 6750 section 2.1), more than `MAX_MESSAGE` bytes.
    """
    _bounded(unverified)
    header, separator, rest = unverified.partition(KVSEP)
    authzid = _read_gs2_header(header)
    if not separator or not rest.endswith(KVSEP):
        raise Malformed("the message does not end with two separators (%x01)")
    pairs = _read_pairs(rest[:-1])
    scheme, token = _read_auth(pairs.get("auth", b""))
    texts = {key: value.decode("ascii") for key, value in pairs.items()}
    return ClientMessage(authzid, scheme, token, texts.get("host"), texts.get("port"))


def is_token(text: str) -> bool:
    """Whether it has the characters of RFC 6750 section 2.1 only."""
    return _TOKEN.fullmatch(text) is not None


def write_message(token: str, *, authzid: str = "", host: str | None = None, port: int | None = None) -> bytes:
    """The first message of a client. Raises ValueError for characters that it cannot hold."""
    if not is_token(token):
        raise ValueError("an access token has only the characters of RFC 6750 section 2.1")
    name = authzid.replace("=", "=3D").replace(",", "=2C")
    if authzid and not _SASLNAME.fullmatch(name.encode()):
        raise ValueError("an authorization identity holds no control characters")
    named = f"a={name}" if authzid else ""
    pairs = [("host", host), ("port", None if port is None else str(port)), ("auth", f"Bearer {token}")]
    parts = [f"n,{named},".encode()]
    for key, value in pairs:
        if value is not None:
            if not _VALUE.fullmatch(value.encode()):
                raise ValueError(f"{key} is printable ASCII")
            parts.append(f"{key}={value}".encode())
    return KVSEP.join([*parts, b"", b""])


def decode_line(line: bytes) -> bytes:
    """One base64 line as IMAP, SMTP and others carry it, without its line end.

    Strict (RFC 4648 section 3): no white space, canonical padding, at most `MAX_MESSAGE` characters. Raises
    `Malformed`; so does a lone ``=``, which in other mechanisms is an empty first message (RFC 4959 section 3).
    """
    _bounded(line)
    try:
        decoded = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("the message is not base64") from None
    if base64.b64encode(decoded) != line:
        raise Malformed("the message is not canonical base64")
    return decoded


def encode_line(message: bytes) -> bytes:
    """The opposite of `decode_line`."""
    return base64.b64encode(message)


def _bounded(unverified: bytes) -> None:
    if len(unverified) > MAX_MESSAGE:
        raise Malformed(f"the message has more than {MAX_MESSAGE} bytes")


def _read_gs2_header(header: bytes) -> str:
    """RFC 5801 section 4: the authzid, or an empty text. ``F`` and ``p=`` are of other mechanisms."""
    flag, *rest = header.split(b",")
    if flag.startswith(b"p="):
        raise Malformed("OAUTHBEARER has no channel binding (RFC 7628 section 3.1)")
    if flag not in (b"n", b"y") or len(rest) != 2 or rest[1]:
        raise Malformed("the gs2 header is not n,[a=authzid],")
    named = rest[0]
    if not named:
        return ""
    if not named.startswith(b"a=") or not _SASLNAME.fullmatch(named, 2):
        raise Malformed("the gs2 header's authzid is not a=saslname; in it, = is written =3D and a comma =2C")
    try:
        return named[2:].replace(b"=2C", b",").replace(b"=3D", b"=").decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("the authzid is not UTF-8") from None


def _read_pairs(block: bytes) -> dict[str, bytes]:
    """Every pair ends with its own separator; unknown keys are kept, a key twice is refused."""
    if not block:
        return {}
    if not block.endswith(KVSEP):
        raise Malformed("a pair has no separator after it")
    pairs: dict[str, bytes] = {}
    for pair in block[:-1].split(KVSEP):
        key, equals, value = pair.partition(b"=")
        if not equals or not _KEY.fullmatch(key):
            raise Malformed("a pair is not key=value with a key of letters")
        if not _VALUE.fullmatch(value):
            raise Malformed("a value holds a control character or is not ASCII")
        name = key.decode("ascii").lower()
        if name in pairs:
            raise Malformed(f"the key {name[:32]} is there twice")
        pairs[name] = value
    return pairs


def _read_auth(value: bytes) -> tuple[str, str | None]:
    """Scheme in lower case, and the token if it is a bearer token."""
    if not value:
        return "", None
    scheme = value.split(b" ", 1)[0]
    if not _SCHEME.fullmatch(scheme):
        raise Malformed("auth does not begin with a scheme (RFC 9110 section 11.1)")
    name = scheme.decode("ascii").lower()
    if name != "bearer":
        return name, None
    found = _BEARER.fullmatch(value)
    if found is None:
        raise Malformed("the token is not a b64token (RFC 6750 section 2.1)")
    return name, found[1].decode("ascii")
