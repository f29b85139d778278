"""Fetch small JSON documents from the issuer, with a limit on size and time. httpx is imported on first use."""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Final

from watchword.resource.fetched.url import may_use_proxy

if TYPE_CHECKING:
    import ssl

    import httpx

    Transport = httpx.BaseTransport | httpx.AsyncBaseTransport

DAY: Final = 86_400.0
BIGGEST_DOCUMENT: Final = 262_144
"""Bytes of body that are read before a document is given up."""
_HEADERS: Final = {"accept": "application/json, application/jwk-set+json", "accept-encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Fetch:
    """How documents of the issuer are fetched: ``Verifier(..., fetch=Fetch(timeout=2.0))``.

    Args:
        timeout: seconds for one document.
        cool_down: seconds between two fetches of the keys that tokens with an unknown key id cause.
        outage: seconds for which the last keys are used while no newer ones can be fetched.
        insecure_http: allows plain http to other machines, where everybody can change the keys; never in production.
        transport: an httpx transport in place of the network.
    """

    timeout: float = 5.0
    cool_down: float = 30.0
    outage: float = DAY
    insecure_http: bool = False
    transport: Transport | None = None


USUAL: Final = Fetch()
"""A `Fetch` with nothing changed."""


class FetchFailed(Exception):
    """No usable document; the text is for people. ``status`` is 0 when there was no answer."""

    def __init__(self, why: str, status: int = 0) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class Document:
    """A 200 answer of the wanted type; header names are in lower case."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Question:
    """A form for one of the issuer's endpoints. Headers and form hold secrets and are not shown."""

    url: str
    form: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    accept: str = ""
    """The one media type that the answer may have; empty for JSON."""


def fetch(url: str, seconds: float, transport: Transport | None, accept: str = "") -> Document:
    """The document, read within about ``seconds``. Raises `FetchFailed`, for redirects too.

    ``accept`` is the one media type that is wanted in place of JSON.
    """
    import httpx

    client = _client(transport, seconds, url)
    try:
        return _read(client, client.build_request("GET", url, headers=_headers(accept)), seconds, accept)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise FetchFailed(f"no answer ({type(error).__name__})") from None
    finally:
        if transport is None:
            client.close()


async def afetch(url: str, seconds: float, transport: Transport | None, accept: str = "") -> Document:
    """`fetch`, for an event loop."""
    import httpx

    client = _async_client(transport, seconds, url)
    try:
        return await _aread(client, client.build_request("GET", url, headers=_headers(accept)), seconds, accept)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise FetchFailed(f"no answer ({type(error).__name__})") from None
    finally:
        if transport is None:
            await client.aclose()


class Channel:
    """POSTs to one issuer over connections that stay open: of this process, and of one event loop at a time.

    If the server has closed the connection, the request is sent again once: these requests change nothing.
    """

    def __init__(self, transport: Transport | None) -> None:
        self._transport = transport
        self._mine: tuple[int, httpx.Client] | None = None
        self._loops: tuple[weakref.ref[asyncio.AbstractEventLoop], httpx.AsyncClient] | None = None

    def ask(self, question: Question, seconds: float) -> Document:
        """The answer. Raises `FetchFailed`."""
        import httpx

        if self._mine is None or self._mine[0] != os.getpid():
            self._mine = os.getpid(), _client(self._transport, seconds, question.url)
        client = self._mine[1]
        try:
            try:
                return _read(client, _post(client, question, seconds), seconds, question.accept)
            except (httpx.NetworkError, httpx.RemoteProtocolError):
                return _read(client, _post(client, question, seconds), seconds, question.accept)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise FetchFailed(f"no answer ({type(error).__name__})") from None

    async def aask(self, question: Question, seconds: float) -> Document:
        """`ask`, for an event loop."""
        import httpx

        loop = asyncio.get_running_loop()
        if self._loops is None or self._loops[0]() is not loop:
            self._loops = weakref.ref(loop), _async_client(self._transport, seconds, question.url)
        client = self._loops[1]
        try:
            try:
                return await _aread(client, _post(client, question, seconds), seconds, question.accept)
            except (httpx.NetworkError, httpx.RemoteProtocolError):
                return await _aread(client, _post(client, question, seconds), seconds, question.accept)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise FetchFailed(f"no answer ({type(error).__name__})") from None


def _client(transport: Transport | None, seconds: float, url: str) -> httpx.Client:
    import httpx

    if transport is not None and not isinstance(transport, httpx.BaseTransport):
        raise TypeError("the injected transport is asynchronous only")
    return httpx.Client(
        transport=transport, timeout=seconds, follow_redirects=False, verify=_tls(), trust_env=may_use_proxy(url)
    )


def _async_client(transport: Transport | None, seconds: float, url: str) -> httpx.AsyncClient:
    import httpx

    if transport is not None and not isinstance(transport, httpx.AsyncBaseTransport):
        raise TypeError("the injected transport is synchronous only")
    return httpx.AsyncClient(
        transport=transport, timeout=seconds, follow_redirects=False, verify=_tls(), trust_env=may_use_proxy(url)
    )


@cache
def _tls() -> ssl.SSLContext:
    """One for the process, with SSL_CERT_FILE: httpx leaves that variable out when it may not use proxies."""
    import httpx

    return httpx.create_ssl_context()


def _post(client: httpx.Client | httpx.AsyncClient, question: Question, seconds: float) -> httpx.Request:
    headers = {**_headers(question.accept), **question.headers}
    return client.build_request("POST", question.url, data=dict(question.form), headers=headers, timeout=seconds)


def _headers(accept: str) -> dict[str, str]:
    return {**_HEADERS, "accept": accept} if accept else dict(_HEADERS)


def _read(client: httpx.Client, request: httpx.Request, seconds: float, accept: str) -> Document:
    deadline = time.monotonic() + seconds
    response = client.send(request, stream=True, auth=None)
    try:
        _check(response, accept)
        body = bytearray()
        for chunk in response.iter_bytes():
            _grow(body, chunk, deadline)
    finally:
        response.close()
    return _document(response, body)


async def _aread(client: httpx.AsyncClient, request: httpx.Request, seconds: float, accept: str) -> Document:
    deadline = time.monotonic() + seconds
    response = await client.send(request, stream=True, auth=None)
    try:
        _check(response, accept)
        body = bytearray()
        async for chunk in response.aiter_bytes():
            _grow(body, chunk, deadline)
    finally:
        await response.aclose()
    return _document(response, body)


def _document(response: httpx.Response, body: bytearray) -> Document:
    return Document({name.lower(): value for name, value in response.headers.items()}, bytes(body))


def _check(response: httpx.Response, accept: str) -> None:
    kind = response.headers.get("content-type", "").split(";")[0].strip().lower()
    status = response.status_code
    if status != 200:
        raise FetchFailed(f"the answer is {status}, not 200; redirects are not followed", status)
    if kind not in ((accept,) if accept else ("application/json", "application/jwk-set+json")):
        raise FetchFailed(f"the answer is not {accept or 'JSON'}", status)
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise FetchFailed("the answer is compressed though none was asked for", status)


def _grow(body: bytearray, chunk: bytes, deadline: float) -> None:
    body += chunk
    if len(body) > BIGGEST_DOCUMENT:
        raise FetchFailed(f"the answer is larger than {BIGGEST_DOCUMENT} bytes")
    if time.monotonic() > deadline:
        raise FetchFailed("the answer comes too slowly")
