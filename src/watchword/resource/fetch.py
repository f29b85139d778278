"""GET of a small JSON document from the issuer, capped in size and time. httpx is imported on first use."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import httpx

    Transport = httpx.BaseTransport | httpx.AsyncBaseTransport

BIGGEST_DOCUMENT: Final = 262_144
"""Bytes of body that are read before a document is given up."""
_HEADERS: Final = {"accept": "application/json, application/jwk-set+json", "accept-encoding": "identity"}


class FetchFailed(Exception):
    """No usable document; the text says why, for people."""


@dataclass(frozen=True, slots=True)
class Document:
    """A 200 answer of JSON type; header names are in lower case."""

    headers: Mapping[str, str]
    body: bytes


def fetch(url: str, seconds: float, transport: Transport | None) -> Document:
    """The document, read within about ``seconds``. Raises `FetchFailed`, for redirects too."""
    import httpx

    deadline = time.monotonic() + seconds
    if transport is not None and not isinstance(transport, httpx.BaseTransport):
        raise TypeError("the injected transport is asynchronous only")
    client = httpx.Client(transport=transport, timeout=seconds, follow_redirects=False)
    try:
        with client.stream("GET", url, headers=_HEADERS) as response:
            _check(response)
            body = bytearray()
            for chunk in response.iter_bytes():
                _grow(body, chunk, deadline)
        return Document({k.lower(): v for k, v in response.headers.items()}, bytes(body))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise FetchFailed(f"no answer ({type(error).__name__})") from None
    finally:
        if transport is None:
            client.close()


async def afetch(url: str, seconds: float, transport: Transport | None) -> Document:
    """`fetch`, for an event loop."""
    import httpx

    deadline = time.monotonic() + seconds
    if transport is not None and not isinstance(transport, httpx.AsyncBaseTransport):
        raise TypeError("the injected transport is synchronous only")
    client = httpx.AsyncClient(transport=transport, timeout=seconds, follow_redirects=False)
    try:
        async with client.stream("GET", url, headers=_HEADERS) as response:
            _check(response)
            body = bytearray()
            async for chunk in response.aiter_bytes():
                _grow(body, chunk, deadline)
        return Document({k.lower(): v for k, v in response.headers.items()}, bytes(body))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise FetchFailed(f"no answer ({type(error).__name__})") from None
    finally:
        if transport is None:
            await client.aclose()


def _check(response: httpx.Response) -> None:
    kind = response.headers.get("content-type", "").split(";")[0].strip().lower()
    if response.status_code != 200:
        raise FetchFailed(f"the answer is {response.status_code}, not 200; redirects are not followed")
    if kind not in ("application/json", "application/jwk-set+json"):
        raise FetchFailed("the answer is not JSON")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise FetchFailed("the answer is compressed though none was asked for")


def _grow(body: bytearray, chunk: bytes, deadline: float) -> None:
    body += chunk
    if len(body) > BIGGEST_DOCUMENT:
        raise FetchFailed(f"the answer is larger than {BIGGEST_DOCUMENT} bytes")
    if time.monotonic() > deadline:
        raise FetchFailed("the answer comes too slowly")
