"""Find the issuer of an API from the API's URL (RFC 9728): a generator without I/O, and two loops that send.

An API may name any issuer. Only issuers that the caller has allowed beforehand are used: an API must not be able to
choose the server that gets the secret.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from watchword.client import wire
from watchword.client.errors import InvalidAnswer, IssuerNotAllowed, TokenUnavailable
from watchword.client.exchange import Exchange
from watchword.client.flow import NoAnswer
from watchword.client.network import DIRECT, Network
from watchword.client.wire import Answer, Ask

TIMEOUT: Final = 5.0
"""Seconds for each of the two requests."""
_BEARER: Final = re.compile(r"(?:^|,)\s*(?:Bearer|DPoP)\s", re.IGNORECASE)
_POINTER: Final = re.compile(r'(?:^|[\s,])resource_metadata\s*=\s*"([^"\\\s]{1,2048})"', re.IGNORECASE)
_HEADERS: Final = {"accept": "application/json", "accept-encoding": "identity"}

Steps = Generator[Ask, Answer | NoAnswer, "Discovered"]


@dataclass(frozen=True, slots=True)
class Discovered:
    """The arguments for `ClientCredentials`: ``ClientCredentials(found.issuer, ..., resource=found.resource)``."""

    issuer: str
    resource: str
    scopes: tuple[str, ...] = ()


def discover(
    url: str,
    allowed: Iterable[str],
    *,
    network: Network = DIRECT,
) -> Discovered:
    """Ask the API at ``url`` which issuers it trusts, and return the first that is ``allowed``.

    ``network``: of its fields, ``timeout``, ``insecure_http`` and ``transport`` are used.

    Raises:
        ValueError: a URL with userinfo, or plain http to another machine.
        IssuerNotAllowed: none of the API's issuers is allowed.
        InvalidAnswer, TokenUnavailable: no metadata, or metadata of another resource.
    """
    steps, exchange = _steps(url, tuple(allowed), network.insecure_http), _exchange(network)
    try:
        wanted = next(steps)
        while True:
            wanted = steps.send(exchange.send(wanted))
    except StopIteration as done:
        found: Discovered = done.value
        return found


async def adiscover(
    url: str,
    allowed: Iterable[str],
    *,
    network: Network = DIRECT,
) -> Discovered:
    """`discover`, for an event loop."""
    steps, exchange = _steps(url, tuple(allowed), network.insecure_http), _exchange(network)
    try:
        wanted = next(steps)
        while True:
            wanted = steps.send(await exchange.asend(wanted))
    except StopIteration as done:
        found: Discovered = done.value
        return found


def _exchange(network: Network) -> Exchange:
    return Exchange(network.timeout_or(TIMEOUT), network.transport)


def _steps(url: str, allowed: tuple[str, ...], insecure_http: bool) -> Steps:
    wire.checked_url(url, "the API's URL", insecure_http=insecure_http)
    answer = _arrived((yield Ask("GET", url, _HEADERS)))
    place = _pointer(answer) or _well_known(url)
    try:
        wire.checked_url(place, "resource_metadata", insecure_http=insecure_http)
    except ValueError as error:
        raise InvalidAnswer(str(error)) from None
    if _origin(place) != _origin(url):
        raise InvalidAnswer("resource_metadata is not on the API's own host (RFC 9728 section 3.1)")
    return _read(_arrived((yield Ask("GET", place, _HEADERS))), url, allowed)


def _read(answer: Answer, url: str, allowed: tuple[str, ...]) -> Discovered:
    if answer.status != 200:
        raise InvalidAnswer(f"the API's metadata answered {answer.status}")
    document = wire.json_object(answer)
    resource, issuers = document.get("resource"), document.get("authorization_servers")
    if not isinstance(resource, str) or not _covers(resource, url):
        raise InvalidAnswer("the metadata is of another resource (RFC 9728 section 3.3)")
    if not isinstance(issuers, list):
        raise InvalidAnswer("the API's metadata names no authorization_servers")
    for issuer in issuers:
        if issuer in allowed:
            return Discovered(issuer, resource, _scopes(document.get("scopes_supported")))
    raise IssuerNotAllowed(f"the API at {_host(url)} names no issuer that you allowed")


def _pointer(answer: Answer) -> str | None:
    """``resource_metadata`` of a Bearer challenge (RFC 9728 section 5.1)."""
    challenge = answer.headers.get("www-authenticate", "")
    if answer.status != 401 or not _BEARER.search(challenge):
        return None
    found = _POINTER.search(challenge)
    return found[1] if found else None


def _well_known(url: str) -> str:
    """RFC 9728 section 3.1, for an API that says nothing in its 401."""
    parts = urlsplit(url)
    path = parts.path if parts.path != "/" else ""
    return f"{parts.scheme}://{parts.netloc}/.well-known/oauth-protected-resource{path}"


def _covers(resource: str, url: str) -> bool:
    """The resource is the URL that was called, or a whole number of path segments above it on the same host."""
    if _origin(resource) != _origin(url) or urlsplit(resource).fragment:
        return False
    above, called = urlsplit(resource).path.rstrip("/"), urlsplit(url).path
    return called.rstrip("/") == above or called.startswith(above + "/")


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc.lower()


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _scopes(found: object) -> tuple[str, ...]:
    return tuple(one for one in found if isinstance(one, str)) if isinstance(found, list) else ()


def _arrived(answer: Answer | NoAnswer) -> Answer:
    if isinstance(answer, NoAnswer):
        raise TokenUnavailable(answer.why.replace("the issuer", "the API"))
    if answer.status >= 500:
        raise TokenUnavailable(f"the API answered {answer.status}")
    return answer
