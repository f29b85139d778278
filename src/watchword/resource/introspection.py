"""Opaque tokens: the issuer is asked what one is worth (RFC 7662), and its answer is believed for moments."""

from __future__ import annotations

import base64
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus

from watchword.jose import JoseError
from watchword.jose.encoding import json_object
from watchword.resource.discovery import checked_url, endpoint_of, metadata_url
from watchword.resource.errors import IntrospectionUnavailable, TokenInvalid
from watchword.resource.fetch import Channel, Document, FetchFailed, Question, afetch, fetch

if TYPE_CHECKING:
    from watchword.resource.fetch import Transport

AFTER_FAILURE: Final = 1.0
"""Seconds for which nobody else waits for an endpoint that has just failed."""
REMEMBERED: Final = 10_000
"""Inactive tokens that are remembered."""
_log = logging.getLogger("watchword.resource")
_Steps = Generator[str | Question, Document, dict[str, Any]]


class Introspection:
    """That and how tokens are introspected.

    Args:
        client_id, client_secret: this API's own credentials at the issuer; the application must be among
            the API's introspectors.
        endpoint: None finds it in the issuer's metadata.
        remember: seconds for which an answer, also ``inactive``, is not asked for again: how long a revoked
            token may live on here. Never beyond ``exp``.
        every_token: ask about JWTs, too, after they were verified here; else only about opaque tokens.
    """

    __slots__ = ("_authorization", "endpoint", "every_token", "remember")

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        *,
        endpoint: str | None = None,
        remember: float = 5.0,
        every_token: bool = False,
    ) -> None:
        self._authorization = basic(client_id, client_secret)
        self.endpoint, self.remember, self.every_token = endpoint, remember, every_token

    def __repr__(self) -> str:
        return "Introspection(...)"

    def question(self, endpoint: str, unverified_token: str) -> Question:
        """RFC 7662 section 2.1."""
        form = {"token": unverified_token, "token_type_hint": "access_token"}
        return Question(endpoint, form, {"authorization": self._authorization})


class Introspector:
    """Asks one issuer. Raises `TokenInvalid` and `IntrospectionUnavailable`."""

    def __init__(
        self,
        issuer: str,
        settings: Introspection,
        *,
        now: Callable[[], float],
        timeout: float,
        insecure_http: bool,
        transport: Transport | None,
    ) -> None:
        self._issuer, self._settings = issuer, settings
        self._now, self._timeout, self._insecure_http = now, timeout, insecure_http
        self._given = None if settings.endpoint is None else checked_url(settings.endpoint, insecure_http)
        self._endpoint = self._given
        self._transport, self._channel = transport, Channel(transport)
        self._inactive: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()
        self._not_before = float("-inf")

    def ask(self, unverified_token: str) -> dict[str, Any]:
        """What the issuer says of an active token; nothing in it is judged but ``active``."""
        steps = self._steps(unverified_token)
        try:
            step = next(steps)
            while True:
                step = steps.send(self._send(step))
        except StopIteration as done:
            return dict(done.value)
        except FetchFailed as error:
            raise self._failed(error) from None

    async def aask(self, unverified_token: str) -> dict[str, Any]:
        """`ask`, for an event loop."""
        steps = self._steps(unverified_token)
        try:
            step = next(steps)
            while True:
                step = steps.send(await self._asend(step))
        except StopIteration as done:
            return dict(done.value)
        except FetchFailed as error:
            raise self._failed(error) from None

    def _send(self, step: str | Question) -> Document:
        if isinstance(step, str):
            return fetch(step, self._timeout, self._transport)
        return self._channel.ask(step, self._timeout)

    async def _asend(self, step: str | Question) -> Document:
        if isinstance(step, str):
            return await afetch(step, self._timeout, self._transport)
        return await self._channel.aask(step, self._timeout)

    def _steps(self, unverified_token: str) -> _Steps:
        """What to send, without I/O."""
        if self._now() < self._inactive.get(unverified_token, float("-inf")):
            raise TokenInvalid("the issuer said a moment ago that the token is not active")
        if self._now() < self._not_before:
            raise IntrospectionUnavailable("introspection failed a moment ago; it is not tried again at once")
        endpoint = self._endpoint
        if endpoint is None:
            document = yield metadata_url(self._issuer)
            endpoint = endpoint_of(document, self._issuer, "introspection_endpoint", self._insecure_http)
            self._endpoint = endpoint
        answer = yield self._settings.question(endpoint, unverified_token)
        return self._active(answer, unverified_token)

    def _active(self, answer: Document, unverified_token: str) -> dict[str, Any]:
        try:
            claims = json_object(answer.body)
        except JoseError:
            raise FetchFailed("the answer is not a JSON object") from None
        active = claims.pop("active", None)
        if active is not True:
            # `"true"` and 1 are not yes (RFC 7662 section 2.2).
            self._forget_soon(unverified_token)
            said = "the token is not active" if active is False else f"active is {type(active).__name__}, not true"
            raise TokenInvalid(f"introspection at {self._issuer}: {said}")
        return claims

    def _forget_soon(self, unverified_token: str) -> None:
        with self._lock:
            self._inactive[unverified_token] = self._now() + self._settings.remember
            if len(self._inactive) > REMEMBERED:
                self._inactive.popitem(last=False)

    def _failed(self, error: FetchFailed) -> IntrospectionUnavailable:
        self._endpoint, self._not_before = self._given, self._now() + AFTER_FAILURE
        why = f"introspection at {self._issuer} failed: {error}"
        if error.status in (400, 401, 403):
            why += "; are this API's own client id and secret right and its application enabled?"
        _log.warning("%s", why)
        return IntrospectionUnavailable(why)


def basic(client_id: str, client_secret: str) -> str:
    """An Authorization header (RFC 6749 section 2.3.1)."""
    pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
    return "Basic " + base64.b64encode(pair.encode()).decode()
