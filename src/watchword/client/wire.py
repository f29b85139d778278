"""Build the requests to the issuer and read its answers. Pure functions.

Answers are untrusted: duplicate names, NaN and deep nesting in the JSON are refused, and the type of each member that
is used is checked.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from watchword.client.errors import InvalidAnswer, TokenRefused
from watchword.client.proof import Proven
from watchword.client.token import AccessToken

LONGEST_LIFE: Final = 86_400.0
"""Seconds for which a token is kept at most, whatever ``expires_in`` says."""

_B64TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*", re.ASCII)
_ERROR_WORD = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]{1,64}")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class Ask:
    """One HTTP request to the issuer. ``headers`` may hold the secret, so it is never shown."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None

    def __repr__(self) -> str:
        return f"Ask({self.method} {self.url})"


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer; header names are in lower case; `Exchange` has limited the size of ``body``."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def checked_url(url: str, what: str, *, insecure_http: bool) -> str:
    """``url`` itself, if a secret may be sent there.

    Raises:
        ValueError: userinfo, fragment, no host, a scheme other than https (http: loopback only,
            unless ``insecure_http``), or characters that no URL has.
    """
    if not url.isascii() or re.search(r"[\s\\\x00-\x1f\x7f]", url):
        raise ValueError(f"{what} has characters that no URL has")
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError(f"{what} has userinfo before its host: not a place for a secret")
    if not parts.hostname or parts.fragment:
        raise ValueError(f"{what} needs a host and no fragment")
    if parts.scheme == "https" or (parts.scheme == "http" and (insecure_http or is_loopback(parts.hostname))):
        return url
    raise ValueError(f"{what} must be https (plain http: loopback only)")


def is_loopback(host: str) -> bool:
    """Whether ``host`` names this machine: ``localhost`` or a loopback address. Nothing is resolved."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def may_use_proxy(url: str) -> bool:
    """Whether a request to ``url`` may go through a proxy of the environment (HTTPS_PROXY and its like).

    https to another machine only: a proxy would read what plain http sends, and loopback is this machine.
    """
    parts = urlsplit(url)
    return parts.scheme == "https" and not is_loopback(parts.hostname or "")


def metadata_url(issuer: str) -> str:
    """RFC 8414 section 3.1: the well-known part is inserted between the host and the issuer's path."""
    parts = urlsplit(issuer)
    return f"{parts.scheme}://{parts.netloc}/.well-known/oauth-authorization-server{parts.path.rstrip('/')}"


def metadata_request(issuer: str) -> Ask:
    """The request for the issuer's metadata."""
    return Ask("GET", metadata_url(issuer), {"accept": "application/json", "accept-encoding": "identity"})


def token_request(endpoint: str, proven: Proven, parameters: Sequence[tuple[str, str]], dpop: str | None = None) -> Ask:
    """A token request: ``parameters`` (RFC 6749 section 4.4.2), the client authentication, and a DPoP proof if any."""
    headers = {
        "accept": "application/json",
        "accept-encoding": "identity",
        "content-type": "application/x-www-form-urlencoded",
        **proven.headers,
    }
    if dpop is not None:
        headers["dpop"] = dpop
    form = [*parameters, *proven.form]
    return Ask("POST", endpoint, headers, urlencode(form).encode())


def read_metadata(
    answer: Answer, issuer: str, *, insecure_http: bool, mtls: bool = False, member: str = "token_endpoint"
) -> str:
    """The token endpoint, or another ``member``, of metadata that is the issuer's own (RFC 8414 section 3.3).

    ``mtls``: the one among ``mtls_endpoint_aliases``, if it is there (RFC 8705 section 5).

    Raises:
        InvalidAnswer: not 200 JSON, another ``issuer``, or an endpoint where no secret may go.
    """
    if answer.status != 200:
        raise InvalidAnswer(f"the issuer's metadata answered {answer.status}")
    document = json_object(answer)
    if document.get("issuer") != issuer:
        raise InvalidAnswer("the metadata is of another issuer (RFC 8414 section 3.3)")
    endpoint, aliases = document.get(member), document.get("mtls_endpoint_aliases")
    if mtls and isinstance(aliases, dict):
        endpoint = aliases.get(member, endpoint)
    if not isinstance(endpoint, str):
        raise InvalidAnswer(f"the metadata has no {member}")
    try:
        return checked_url(endpoint, f"{member} of the metadata", insecure_http=insecure_http)
    except ValueError as error:
        raise InvalidAnswer(str(error)) from None


def wants_nonce(answer: Answer) -> bool:
    """Whether the token endpoint refused a DPoP proof because it lacks the nonce (RFC 9449 section 8)."""
    try:
        return answer.status == 400 and json_object(answer).get("error") == "use_dpop_nonce"
    except InvalidAnswer:
        return False


def read_token(answer: Answer, *, asked_at: float, default_life: float, kind: str = "Bearer") -> AccessToken:
    """The token of an answer (RFC 6749 section 5.1); life is counted from before the request left.

    ``kind`` is the ``token_type`` that is demanded: a token that should be bound to a key, and is not, is refused
    (RFC 9449 section 5).

    Raises:
        TokenRefused: a 4xx with an OAuth error.
        InvalidAnswer: anything else that is not a token.
    """
    if 400 <= answer.status < 500:
        raise refusal(answer)
    if answer.status != 200:
        raise InvalidAnswer(f"the token endpoint answered {answer.status}")
    document = json_object(answer)
    value, given, scope = (document.get(name) for name in ("access_token", "token_type", "scope"))
    if not isinstance(value, str) or not _B64TOKEN.fullmatch(value):
        raise InvalidAnswer("access_token is not a token (RFC 6750 section 2.1)")
    if not isinstance(given, str) or given.lower() != kind.lower():
        raise InvalidAnswer(f"token_type is not {kind}")
    if scope is not None and not isinstance(scope, str):
        raise InvalidAnswer("scope is not a text")
    return AccessToken(value, asked_at + _life(document, default_life), scope)


def retry_after(answer: Answer, now: float) -> float | None:
    """Seconds to wait by ``Retry-After`` (RFC 9110 section 10.2.3), or None if it is absent or malformed."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def clock_ahead(answer: Answer, now: float) -> float:
    """Seconds by which the server's clock (``Date``, RFC 9110 section 6.6.1) is ahead of ``now``; 0 without one."""
    try:
        return parsedate_to_datetime(answer.headers.get("date", "")).timestamp() - now
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0


def _life(document: dict[str, Any], default_life: float) -> float:
    life = document.get("expires_in", default_life)
    if isinstance(life, bool) or not isinstance(life, int | float):
        raise InvalidAnswer("expires_in is not a number")
    if not life > 0 or (isinstance(life, float) and not math.isfinite(life)):
        raise InvalidAnswer("expires_in is not a positive number")
    return float(min(life, LONGEST_LIFE))


def refusal(answer: Answer) -> TokenRefused | InvalidAnswer:
    """The exception for a 4xx answer (RFC 6749 section 5.2)."""
    try:
        document = json_object(answer)
    except InvalidAnswer:
        return InvalidAnswer(f"the token endpoint answered {answer.status} without an OAuth error")
    error, description = document.get("error"), document.get("error_description")
    if not isinstance(error, str) or not _ERROR_WORD.fullmatch(error):
        return InvalidAnswer(f"the token endpoint answered {answer.status} without an OAuth error")
    shown = _UNPRINTABLE.sub("?", description)[:300] if isinstance(description, str) else None
    return TokenRefused(error, shown, answer.status)


def json_object(answer: Answer) -> dict[str, Any]:
    """The body, if it is strict JSON and an object. Raises `InvalidAnswer`."""
    kind = answer.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/json":
        raise InvalidAnswer("the answer is not application/json")
    try:
        document = json.loads(answer.body.decode(), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise InvalidAnswer("the answer is not strict JSON") from None
    if not isinstance(document, dict):
        raise InvalidAnswer("the answer is not a JSON object")
    return document


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name occurs twice")
    return document


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
