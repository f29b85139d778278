"""Read the client certificate in a proxy's header: `Client-Cert` (RFC 9440), `X-Forwarded-Client-Cert` (Envoy).

Pure functions. The caller must make sure that a trusted proxy wrote the headers: anybody can send them.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import unquote_to_bytes

from .certificates import MAX_CHAIN, MAX_DER, Certificate, UnacceptableCertificate, read_pem

HeaderKind = Literal["client-cert", "x-forwarded-client-cert"]
MAX_HEADER: Final = 65_536
_ITEM = re.compile(r":([A-Za-z0-9+/]+={0,2}):")
"""A byte sequence (RFC 9651 section 3.3.5), without parameters."""
_PAIR = re.compile(r'([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^",;=]*)')


@dataclass(frozen=True, slots=True)
class Presented:
    """The client certificate (DER) of the TLS handshake, and the further certificates that the client sent."""

    certificate: bytes
    unverified_chain: tuple[bytes, ...] = ()


def read_headers(kind: HeaderKind, headers: Iterable[tuple[bytes, bytes]]) -> Presented | None:
    """The certificate in the headers; None: the client sent no certificate. Header names are in lower case.

    Raises:
        UnacceptableCertificate: a header that is repeated, too long or malformed.
    """
    listed = list(headers)
    if kind == "client-cert":
        return _rfc9440(_once(listed, b"client-cert"), _once(listed, b"client-cert-chain"))
    return _envoy(_once(listed, b"x-forwarded-client-cert"))


def _once(headers: Sequence[tuple[bytes, bytes]], wanted: bytes) -> str:
    found = [value for name, value in headers if name == wanted]
    if len(found) > 1:
        raise UnacceptableCertificate(f"{wanted.decode()} is there more than once")
    if not found:
        return ""
    if len(found[0]) > MAX_HEADER:
        raise UnacceptableCertificate(f"{wanted.decode()} is longer than {MAX_HEADER} bytes")
    return found[0].decode("latin-1").strip(" \t")


def _rfc9440(leaf: str, chain: str) -> Presented | None:
    """RFC 9440 sections 2.2 and 2.3: an item, and a list of items."""
    if not leaf:
        if chain:
            raise UnacceptableCertificate("Client-Cert-Chain without Client-Cert")
        return None
    items = [part.strip(" \t") for part in chain.split(",")] if chain else []
    if len(items) > MAX_CHAIN:
        raise UnacceptableCertificate(f"a chain has at most {MAX_CHAIN} certificates")
    return Presented(_item(leaf), tuple(_item(item) for item in items))


def _item(text: str) -> bytes:
    found = _ITEM.fullmatch(text)
    if found is None or len(found[1]) > 2 * MAX_DER:
        raise UnacceptableCertificate("Client-Cert is not a byte sequence (RFC 9440 section 2.2)")
    try:
        return base64.b64decode(found[1], validate=True)
    except binascii.Error:
        raise UnacceptableCertificate("Client-Cert is not base64") from None


def _envoy(text: str) -> Presented | None:
    """One element only: of several elements it is unknown which proxy wrote which (set SANITIZE_SET)."""
    if not text:
        return None
    pairs = _pairs(text)
    if not pairs.get("cert"):
        if pairs.get("hash") or pairs.get("chain"):
            raise UnacceptableCertificate("X-Forwarded-Client-Cert has no Cert: let the proxy send the certificate")
        return None
    leaf = _escaped_pem(pairs["cert"])
    if len(leaf) != 1:
        raise UnacceptableCertificate("Cert holds more than one certificate")
    chain = _escaped_pem(pairs["chain"]) if pairs.get("chain") else []
    if len(chain) > MAX_CHAIN:
        raise UnacceptableCertificate(f"a chain has at most {MAX_CHAIN} certificates")
    return Presented(leaf[0].der, tuple(one.der for one in chain if one.der != leaf[0].der))


def _pairs(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while True:
        pair = _PAIR.match(text, at)
        if pair is None:
            raise UnacceptableCertificate("X-Forwarded-Client-Cert is not a list of pairs")
        name, value = pair[1].lower(), pair[2]
        if name in found and name in ("cert", "chain", "hash"):
            raise UnacceptableCertificate(f"X-Forwarded-Client-Cert says {name} twice")
        found[name] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        at = pair.end()
        if at == len(text):
            return found
        if text[at] != ";":
            raise UnacceptableCertificate("X-Forwarded-Client-Cert has more than one element")
        at += 1


def _escaped_pem(text: str) -> list[Certificate]:
    """URL-encoded PEM; `+` is itself."""
    return read_pem(unquote_to_bytes(text))
