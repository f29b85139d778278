"""The worst bytes for each reader of a stranger's bytes: found by trying what costs most, over and over.

Every reader is linear: four times the bytes are at most some four times the work, whatever they say.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from tests.fuzz.parsers import PARSERS

from watchword.jose import JoseError
from watchword.jose.certificate_header import HeaderKind, read_headers
from watchword.server.http.appid.bodies import read_fields
from watchword.server.http.oauth.register import metadata_of
from watchword.server.http.wire import Headers, basic_credentials
from watchword.server.protocol.errors import OAuthError
from watchword.server.protocol.form import parse_form
from watchword.server.protocol.token_form import token_request

LIMIT = 65_536
"""Bytes of a body or a header that most readers take; the others refuse it sooner."""
STEEPEST = 9.0
"""For four times the bytes. Linear work is 4, quadratic is 16; between them there is room for a machine's moods."""
WORTH_IT = 0.001
"""Seconds below which a growth says nothing."""
UNITS = [
    b"a", b" ", b"\n", b"\r\n", b"[", b"{", b'{"a":', b'"', b"\\", b"\\u0041", b"0", b"9", b"-", b".", b"a.", b",",
    b"a,", b";", b"=", b"&", b"a=b&", b"a&", b"%", b"%41", b"+", b":", b"a:b\n", b"--x\r\n", b"\r\n--x", b"--x\r\n\r\n",
    b"\x9f", b"\x81", b"\xa1\x61\x61", b"\xff", b"\xc3\xa9", b"Cert=", b'Cert="",', b":AAAA:,", b"[0],",
    b'{"type":"pay"},', b"/", b"..", b"( ",
]  # fmt: skip
PREFIXES = [
    b"",
    b"[",
    b'{"a":"',
    b'{"a":',
    b'{"a":[',
    b"a=",
    b"Basic ",
    b"--x\r\n",
    b"e30.e30.",
    b"Client-Cert: :",
    b"a.",
]


@dataclass(frozen=True)
class Worst:
    """What costs a reader most: seconds, and what it is made of."""

    reader: str
    prefix: bytes
    unit: bytes
    seconds: float


def _media(content_type: bytes) -> Callable[[bytes], object]:
    headers = Headers([(b"content-type", content_type)])
    return lambda data: read_fields(headers, data)


def _header(kind: HeaderKind) -> Callable[[bytes], object]:
    name = kind.encode()
    return lambda data: read_headers(kind, [(name, data)])


READERS: dict[str, Callable[[bytes], object]] = {
    **{
        name: parse
        for name, parse in PARSERS.items()
        if name not in ("assertion", "client_cert", "forwarded_client_cert")
    },
    "assertion": lambda data: token_request(parse_form(b"client_assertion_type=x&client_assertion=" + data), None),
    "Client-Cert": _header("client-cert"),
    "X-Forwarded-Client-Cert": _header("x-forwarded-client-cert"),
    "registration": lambda data: metadata_of(Headers([(b"content-type", b"application/json")]), data),
    "form": parse_form,
    "basic": basic_credentials,
    "App ID multipart": _media(b"multipart/form-data; boundary=x"),
    "App ID boundary": lambda data: _media(b"multipart/form-data; boundary=" + data)(b"--x--"),
    "App ID JSON": _media(b"application/json"),
}


def of(prefix: bytes, unit: bytes, size: int) -> bytes:
    """So many bytes."""
    return prefix + unit * (max(0, size - len(prefix)) // len(unit))


def seconds(read: Callable[[bytes], object], data: bytes, tries: int = 1) -> float:
    """Of the processor, the least of some tries. What a reader refuses, it has read."""
    least = float("inf")
    for _ in range(tries):
        begun = time.process_time()
        with suppress(OAuthError, JoseError):
            read(data)
        least = min(least, time.process_time() - begun)
    return least


def searched(name: str, size: int = LIMIT) -> Iterator[Worst]:
    """Every combination."""
    for prefix in PREFIXES:
        for unit in UNITS:
            yield Worst(name, prefix, unit, seconds(READERS[name], of(prefix, unit, size)))


def worst(name: str) -> Worst:
    """The one that costs most of all."""
    gc.collect()
    found = max(searched(name), key=lambda each: each.seconds)
    data = of(found.prefix, found.unit, LIMIT)
    return Worst(name, found.prefix, found.unit, seconds(READERS[name], data, 5))


def growth(found: Worst) -> float:
    """How much more of the processor four times its bytes take; 0: too little to say."""
    read = READERS[found.reader]
    small, large = (seconds(read, of(found.prefix, found.unit, size), 5) for size in (LIMIT, 4 * LIMIT))
    return large / small if large > WORTH_IT else 0.0


def main() -> list[str]:
    """Readers that are steeper than linear."""
    steep = []
    for name in READERS:
        found = worst(name)
        grown = growth(found)
        if grown > STEEPEST:
            steep.append(f"{name}: {grown:.1f} times the work for 4 times {found.prefix!r} and {found.unit!r}")
    return steep
