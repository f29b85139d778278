"""Token introspection (RFC 7662, RFC 9701): ask the issuer about a token, and cache the answer for a few seconds."""

from __future__ import annotations

import base64
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus

from watchword.jose import ACCESS_TOKEN_ALGORITHMS, Algorithm, JoseError, KeySet, UnknownKey
from watchword.jose.encoding import json_object
from watchword.resource.errors import IntrospectionUnavailable, TokenInvalid
from watchword.resource.fetched.discovery import endpoint_of, metadata_url
from watchword.resource.fetched.fetch import Channel, Document, Fetch, FetchFailed, Question, afetch, fetch
from watchword.resource.fetched.signed_introspection import MEDIA_TYPE, read_signed
from watchword.resource.fetched.url import checked_url

if TYPE_CHECKING:
    from watchword.resource.fetched.keys import KeySource

AFTER_FAILURE: Final = 1.0
"""Seconds after a failure in which the endpoint is not asked again."""
REMEMBERED: Final = 10_000
"""Inactive tokens that are remembered."""
_log = logging.getLogger("watchword.resource")


@dataclass(frozen=True, slots=True)
class _Keys:
    """A step that asks for the issuer's keys; ``than`` is a set in which a key was missing."""

    than: KeySet | None = None


_Steps = Generator[str | Question | _Keys, Document | KeySet | None, dict[str, Any]]


class Introspection:
    """Introspect tokens at their issuer: ``Verifier(Issuer(url, introspection=Introspection(...)), ...)``.

    Args:
        client_id, client_secret: this API's own credentials at the issuer; the application must be among
            the API's introspectors.
        endpoint: the URL; None discovers it from the issuer's metadata.
        remember: seconds for which an answer is cached, also an inactive one: for this long a revoked token may
            still be accepted. Never beyond ``exp``.
        every_token: introspect JWTs too, after they were verified here; otherwise only opaque tokens.
        signed: demand signed answers (RFC 9701): signed by the issuer, for this client, within the last minute.
        algorithms: that signed answers may have.
    """

    __slots__ = ("_authorization", "algorithms", "client_id", "endpoint", "every_token", "remember", "signed")

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        *,
        endpoint: str | None = None,
        remember: float = 5.0,
        every_token: bool = False,
        signed: bool = False,
        algorithms: Collection[Algorithm] = ACCESS_TOKEN_ALGORITHMS,
    ) -> None:
        self._authorization = basic(client_id, client_secret)
        self.client_id, self.signed, self.algorithms = client_id, signed, frozenset(algorithms)
        self.endpoint, self.remember, self.every_token = endpoint, remember, every_token

    def __repr__(self) -> str:
        return "Introspection(...)"

    def question(self, endpoint: str, unverified_token: str) -> Question:
        """RFC 7662 section 2.1."""
        form = {"token": unverified_token, "token_type_hint": "access_token"}
        accept = MEDIA_TYPE if self.signed else ""
        return Question(endpoint, form, {"authorization": self._authorization}, accept)


class Introspector:
    """Asks one issuer. Raises `TokenInvalid` and `IntrospectionUnavailable`."""

    def __init__(
        self,
        issuer: str,
        settings: Introspection,
        keys: KeySource,
        *,
        now: Callable[[], float],
        fetch: Fetch,
        metadata_keys: KeySet | None = None,
    ) -> None:
        self._issuer, self._settings, self._keys = issuer, settings, keys
        self._now, self._fetch, self._metadata_keys = now, fetch, metadata_keys
        self._given = None if settings.endpoint is None else checked_url(settings.endpoint, fetch.insecure_http)
        self._endpoint = self._given
        self._channel = Channel(fetch.transport)
        self._inactive: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()
        self._not_before = float("-inf")

    def ask(self, unverified_token: str) -> dict[str, Any]:
        """The issuer's answer about an active token; only ``active`` is checked here."""
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

    def _send(self, step: str | Question | _Keys) -> Document | KeySet | None:
        if isinstance(step, _Keys):
            return self._keys.current() if step.than is None else self._keys.after_unknown(step.than)
        if isinstance(step, str):
            return fetch(step, self._fetch.timeout, self._fetch.transport)
        return self._channel.ask(step, self._fetch.timeout)

    async def _asend(self, step: str | Question | _Keys) -> Document | KeySet | None:
        if isinstance(step, _Keys):
            return await (self._keys.acurrent() if step.than is None else self._keys.aafter_unknown(step.than))
        if isinstance(step, str):
            return await afetch(step, self._fetch.timeout, self._fetch.transport)
        return await self._channel.aask(step, self._fetch.timeout)

    def _steps(self, unverified_token: str) -> _Steps:
        """Without I/O: yields requests, is sent the answers."""
        if self._now() < self._inactive.get(unverified_token, float("-inf")):
            raise TokenInvalid("the issuer said a moment ago that the token is not active")
        if self._now() < self._not_before:
            raise IntrospectionUnavailable("introspection failed a moment ago; it is not tried again at once")
        endpoint = self._endpoint
        if endpoint is None:
            document = yield metadata_url(self._issuer)
            assert isinstance(document, Document)
            endpoint = endpoint_of(
                document, self._issuer, "introspection_endpoint", self._fetch.insecure_http, self._metadata_keys
            )
            self._endpoint = endpoint
        answer = yield self._settings.question(endpoint, unverified_token)
        assert isinstance(answer, Document)
        if self._settings.signed:
            claims = yield from self._signed(answer)
        else:
            claims = _plain(answer)
        return self._active(claims, unverified_token)

    def _signed(self, answer: Document) -> _Steps:
        """Verify with the cached keys; with newer ones if the key is not among them."""
        keys = yield _Keys()
        assert isinstance(keys, KeySet)
        try:
            try:
                return self._read(answer, keys)
            except UnknownKey:
                newer = yield _Keys(keys)
                if not isinstance(newer, KeySet):
                    raise
                return self._read(answer, newer)
        except JoseError as error:
            raise FetchFailed(f"the signed answer is refused: {error.rule}") from None

    def _read(self, answer: Document, keys: KeySet) -> dict[str, Any]:
        return read_signed(
            answer.body,
            keys,
            issuer=self._issuer,
            client_id=self._settings.client_id,
            algorithms=self._settings.algorithms,
            now=self._now(),
        )

    def _active(self, claims: dict[str, Any], unverified_token: str) -> dict[str, Any]:
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


def _plain(answer: Document) -> dict[str, Any]:
    try:
        return json_object(answer.body)
    except JoseError:
        raise FetchFailed("the answer is not a JSON object") from None


def basic(client_id: str, client_secret: str) -> str:
    """An Authorization header (RFC 6749 section 2.3.1)."""
    pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
    return "Basic " + base64.b64encode(pair.encode()).decode()
