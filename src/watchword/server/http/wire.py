"""Bytes in and bytes out: the small ASGI vocabulary that every endpoint shares.

Nothing here knows OAuth's rules; `answer_error` is the one place that turns an `OAuthError` into bytes.
"""

from __future__ import annotations

import asyncio
import binascii
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from ..protocol.errors import (
    InvalidClient,
    InvalidRequest,
    InvalidToken,
    OAuthError,
    TooLarge,
    TooSlow,
    UseDpopNonce,
    without_frames,
)
from ..protocol.form import decode_component

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

encode_json = msgspec.json.Encoder().encode
MAX_BODY = 65_536
_DIGITS = 18
MAX_HEADERS = 100
MAX_HEADER_BYTES = 32_768
_NEVER = frozenset({b"q=0", b"q=0.0", b"q=0.00", b"q=0.000"})
_TOKEN_SAFE = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_TRACEPARENT = re.compile(rb"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

SECURITY: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
NO_STORE: tuple[Header, ...] = (
    (b"cache-control", b"no-store"),
    (b"pragma", b"no-cache"),
    *SECURITY,
)
JSON: Header = (b"content-type", b"application/json")
_END: MutableMapping[str, Any] = {"type": "http.response.body"}
_awaited: set[Receive] = set()
"""Of this process: requests whose bodies are still on the way. They do no work (see `protocol/admission.py`)."""


async def answer(
    send: Send,
    status: int,
    body: bytes,
    headers: tuple[Header, ...] = NO_STORE,
    content: Header = JSON,
) -> None:
    """One complete answer."""
    length = (b"content-length", b"%d" % len(body))
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [content, length, *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})


def accepts(raw: list[Header], *named: bytes) -> bool:
    """Whether `Accept` names one of these ranges itself, not through a wildcard and not with a weight of zero."""
    for name, value in raw:
        if name == b"accept" and (value != b"*/*" or b"*/*" in named):
            ranges = [one.replace(b" ", b"").split(b";") for one in value.lower().split(b",")]
            if any(one[0] in named and not _NEVER.intersection(one) for one in ranges):
                return True
    return False


def public_text(text: str) -> str:
    """RFC 6749 section 5.2: what may stand in error_description and in a quoted header value."""
    return _TOKEN_SAFE.sub("'", text)


async def answer_error(send: Send, error: OAuthError, *, used_authorization: bool, request_id: str = "") -> None:
    """RFC 6749 section 5.2, RFC 6750 section 3; `WWW-Authenticate` only when the Authorization header was used."""
    without_frames(error)
    headers = NO_STORE
    if isinstance(error, InvalidClient) and used_authorization:
        headers = (
            *headers,
            (b"www-authenticate", b'Basic realm="watchword", charset="UTF-8"'),
        )
    if isinstance(error, InvalidToken) and used_authorization:
        said = f'Bearer error="{error.error}", error_description="{public_text(error.public)}"'
        headers = (*headers, (b"www-authenticate", said.encode()))
    if isinstance(error, UseDpopNonce):
        headers = (*headers, (b"dpop-nonce", error.nonce.encode()))
    if error.retry_after is not None:
        headers = (*headers, (b"retry-after", b"%d" % error.retry_after))
    if request_id:
        headers = (*headers, (b"x-request-id", request_id.encode()))
    if isinstance(error, TooLarge | TooSlow):
        headers = (*headers, (b"connection", b"close"))
    body = encode_json({"error": error.error, "error_description": public_text(error.public)})
    await answer(send, error.status, body, headers)


async def not_found(send: Send) -> None:
    """No such path: no banner, no hint."""
    await answer(
        send,
        404,
        encode_json({"error": "not_found", "error_description": "there is nothing at this path"}),
    )


async def method_not_allowed(send: Send, allow: bytes) -> None:
    """RFC 9110 section 15.5.6."""
    body = encode_json({"error": "method_not_allowed", "error_description": f"use {allow.decode()}"})
    await answer(send, 405, body, (*NO_STORE, (b"allow", allow)))


def source_in(scope: Scope) -> str:
    """The caller's address, as failed attempts are counted."""
    peer = scope.get("client")
    return str(peer[0]) if peer else "unknown"


async def read_body(
    receive: Receive, declared: bytes | None, limit: int, timeout: float, keep: int | None = None
) -> bytes:
    """The whole body. Raises `TooLarge` before buffering beyond `limit`, `TooSlow`, `InvalidRequest`.

    With `keep`, one that is longer than that is read to its end and cut behind `keep` and one byte more: only what is
    wrong with it is to be said.
    """
    if declared is not None and declared.isdigit() and (len(declared) > _DIGITS or int(declared) > limit):
        raise TooLarge(f"the body is longer than {limit} bytes")
    message = await _receive(receive, timeout)
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        if len(body) > limit:
            raise TooLarge(f"the body is longer than {limit} bytes")
        return body if keep is None else body[: keep + 1]
    kept, size, room = bytearray(), 0, (limit if keep is None else keep) + 1
    _awaited.add(receive)
    try:
        async with asyncio.timeout(timeout):
            while True:
                size += len(body)
                if size > limit:
                    raise TooLarge(f"the body is longer than {limit} bytes")
                kept += body[: room - len(kept)]
                if not message.get("more_body"):
                    return bytes(kept)
                message = await _next(receive)
                body = message.get("body", b"")
    except TimeoutError:
        raise TooSlow("the body did not arrive in time") from None
    finally:
        _awaited.discard(receive)


async def _receive(receive: Receive, timeout: float) -> MutableMapping[str, Any]:
    """The first message; a timer only when the body is not there yet (the usual case costs nothing)."""
    waiting = receive()
    try:
        waiting.send(None)  # type: ignore[attr-defined]
    except StopIteration as done:
        return _checked(done.value)
    except AttributeError:
        return _checked(await waiting)
    waiting.close()  # type: ignore[attr-defined]
    _awaited.add(receive)
    try:
        async with asyncio.timeout(timeout):
            return await _next(receive)
    except TimeoutError:
        raise TooSlow("the body did not arrive in time") from None
    finally:
        _awaited.discard(receive)


def bodies_awaited() -> int:
    """How many requests of this process wait for the rest of their bodies."""
    return len(_awaited)


async def _next(receive: Receive) -> MutableMapping[str, Any]:
    return _checked(await receive())


def _checked(message: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if message["type"] == "http.disconnect":
        raise InvalidRequest("the connection ended before the body did")
    return message


def request_id_of(raw: list[Header]) -> str:
    """The caller's own id of a request whose headers nobody has judged; empty: it has none."""
    for name, value in raw:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value.decode()
    return ""


def basic_credentials(authorization: bytes, *, encoded: bool = True) -> tuple[str, str]:
    """Client id and secret from a Basic header (RFC 7617; RFC 6749 section 2.3.1 when `encoded`).

    Padding is required; one or more spaces or tabs separate the scheme. Raises `InvalidClient`.
    """
    scheme, _, value = authorization.replace(b"\t", b" ").partition(b" ")
    if scheme.lower() != b"basic":
        raise InvalidClient(detail="the Authorization scheme is not Basic")
    try:
        plain = binascii.a2b_base64(value.strip(b" "), strict_mode=True)
    except (binascii.Error, ValueError):
        raise InvalidClient(detail="Basic credentials are not base64") from None
    raw_id, colon, raw_secret = plain.partition(b":")
    if not colon:
        raise InvalidClient(detail="Basic credentials have no colon")
    if not encoded:
        return raw_id.decode("utf-8", "surrogateescape"), raw_secret.decode("utf-8", "surrogateescape")
    try:
        return decode_component(raw_id), decode_component(raw_secret)
    except InvalidRequest:
        raise InvalidClient(detail="Basic credentials have a broken percent-encoding") from None


class Headers:
    """The few headers that matter, from one pass over the request's."""

    __slots__ = (
        "authorization",
        "authorizations",
        "content_encoding",
        "content_length",
        "content_type",
        "dpop",
        "dpops",
        "request_id",
        "size",
    )

    def __init__(self, raw: list[Header]) -> None:
        self.authorization: bytes | None = None
        self.authorizations = 0
        self.dpop: bytes | None = None
        self.dpops = 0
        self.content_type: bytes | None = None
        self.content_length: bytes | None = None
        self.content_encoding: bytes | None = None
        self.request_id = ""
        self.size = 0
        for name, value in raw:
            self.size += len(value)
            if name == b"authorization":
                self.authorization = value
                self.authorizations += 1
            elif name == b"content-type":
                self.content_type = value
            elif name == b"content-length":
                self.content_length = value
            elif name == b"content-encoding":
                self.content_encoding = value
            elif name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
                self.request_id = value.decode()
            elif name == b"dpop":
                self.dpop = value
                self.dpops += 1
            elif name == b"traceparent" and not self.request_id:
                found = _TRACEPARENT.fullmatch(value)
                if found and found[1].strip(b"0"):
                    self.request_id = found[1].decode()
        if len(raw) > MAX_HEADERS or self.size > MAX_HEADER_BYTES:
            self._judge_size(len(raw))

    def _judge_size(self, count: int) -> None:
        """A well-formed Basic credential of any size is a wrong secret, not a flood; all else is refused.

        So is a DPoP proof of any size a wrong proof.
        """
        rest = self.size - len(self.dpop or b"")
        if count <= MAX_HEADERS and rest <= MAX_HEADER_BYTES:
            return
        if (
            count <= MAX_HEADERS
            and self.authorization is not None
            and rest - len(self.authorization) < MAX_HEADER_BYTES
        ):
            try:
                basic_credentials(self.authorization)
            except InvalidClient:
                pass
            else:
                return
        raise InvalidRequest("the request's headers are too many or too long")

    def media(self) -> bytes:
        """The body's media type in lower case. Raises `InvalidRequest` for a charset other than UTF-8."""
        found = self.content_type or b""
        if b";" not in found:
            return found.strip().lower()
        media, _, parameters = found.lower().partition(b";")
        for parameter in parameters.split(b";"):
            name, _, value = parameter.partition(b"=")
            if name.strip() == b"charset" and value.strip(b' \t"') not in (b"utf-8", b"utf8"):
                raise InvalidRequest("send the body in UTF-8, or name no charset")
        return media.strip()

    def only_form(self) -> None:
        """Raises `InvalidRequest` unless the body is an unencoded form."""
        if self.media() != b"application/x-www-form-urlencoded":
            raise InvalidRequest("send Content-Type: application/x-www-form-urlencoded")
        if self.content_encoding not in (None, b"identity"):
            raise InvalidRequest("request bodies with a Content-Encoding are not read")

    def basic(self, *, encoded: bool = True) -> tuple[str, str] | None:
        """Basic credentials if the Authorization header is there; two of them are refused."""
        if self.authorization is None:
            return None
        if self.authorizations > 1:
            raise InvalidRequest("send one Authorization header")
        return basic_credentials(self.authorization, encoded=encoded)
