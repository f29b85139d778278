"""Follow the issuer's feed of revocations: an API refuses a revoked token within a second, without a request per token.

A thread or an asyncio task polls ``{issuer}/revocations``, which the issuer holds open until there is news (long
polling). After ``max_stale`` seconds without an answer every token is refused with `RevocationsUnknown`, a 503.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from watchword.jose import JoseError
from watchword.jose.encoding import json_object
from watchword.resource.claims import Claims
from watchword.resource.errors import RevocationsUnknown, TokenInvalid
from watchword.resource.fetched.fetch import Channel, Document, FetchFailed, Question
from watchword.resource.fetched.introspection import basic
from watchword.resource.fetched.url import checked_url

if TYPE_CHECKING:
    from watchword.resource.fetched.fetch import Transport

LONGEST_WAIT: Final = 5.0
"""Seconds for which the issuer holds a question open when there is no news."""
PAUSE: Final = 0.2
"""Seconds between two questions; after a failure it doubles up to a second."""
MOST_MARKS: Final = 500_000
"""Revocations that are kept. With more of them the feed fails and goes stale: none is left out."""
LONGEST_LEEWAY: Final = 3_600.0
"""Seconds after its expiry for which a revoked token is remembered, for a `Verifier` with leeway."""
TIMEOUT: Final = 5.0
_log = logging.getLogger("watchword.resource")
_Steps = Generator[tuple[Question, float] | float, Document | FetchFailed | None, None]


class RevocationFeed:
    """The revocations of one issuer for one API: ``Verifier(Issuer(issuer, revocations=feed), ...)``.

    Args:
        issuer, audience: as for the `Verifier`.
        client_id, client_secret: the API's own; the application must be among the API's introspectors.
        max_stale: seconds for which tokens are accepted after the last answer: when the issuer cannot be reached, a
            revoked token works for this long at most. Counted from `start` at first.
        endpoint: None is ``{issuer}/revocations``.
        now: Unix seconds; wall time, so that the time in which a machine was suspended counts.

    Start it after a fork, once in each process: ``with feed: ...`` (a thread), or ``async with feed: ...``
    (a task of this loop); `start` and `stop`, `astart` and `astop` do the same. A feed that was never
    started refuses every token.
    """

    def __init__(
        self,
        issuer: str,
        *,
        audience: str,
        client_id: str,
        client_secret: str,
        max_stale: float = 30.0,
        endpoint: str | None = None,
        now: Callable[[], float] = time.time,
        insecure_http: bool = False,
        transport: Transport | None = None,
    ) -> None:
        if max_stale < 1:
            raise ValueError("max_stale is at least one second: an answer needs time to arrive")
        self._url = checked_url(endpoint or f"{issuer}/revocations", insecure_http)
        self.issuer, self.audience = issuer, audience
        self._authorization = basic(client_id, client_secret)
        self._max_stale, self._wait = max_stale, min(LONGEST_WAIT, max_stale / 3)
        self._now, self._channel = now, Channel(transport)
        self._tokens: dict[str, float] = {}
        self._applications: dict[str, tuple[bool, int, float]] = {}
        self._marks: dict[str, str] = {}
        self._cursor = ""
        self._known_at = float("-inf")
        self._why = "the feed was never started"
        self._stopping, self._learning = threading.Event(), threading.Lock()
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"RevocationFeed({self._url}, {self.audience})"

    # -- asked by the Verifier -------------------------------------------------------------------

    def check(self, claims: Claims) -> None:
        """Raises `TokenInvalid` for what was revoked, `RevocationsUnknown` when that is not known."""
        now = self._now()
        if not self._known_at - self._max_stale <= now < self._known_at + self._max_stale:
            raise RevocationsUnknown(f"revocations at {self._url} are not known freshly enough: {self._why}")
        token_id = claims.raw.get("jti")
        if token_id in self._tokens or not self._tokens.keys().isdisjoint(claims.raw.get("subject_tokens", ())):
            raise TokenInvalid(f"the token {token_id!r} of {claims.client_id} was revoked")
        if self._applications:
            for client_id in {claims.client_id, claims.subject}:  # two where one acts for another (RFC 8693)
                self._check_application(client_id, claims, token_id)

    def _check_application(self, client_id: str, claims: Claims, token_id: object) -> None:
        enabled, not_before_ms, _ = self._applications.get(self._mark(client_id), (True, 0, 0.0))
        if not enabled:
            raise TokenInvalid(f"the application {client_id} is disabled or deleted")
        if not_before_ms and _issued_ms(token_id, claims.raw.get("iat")) <= not_before_ms:
            raise TokenInvalid(f"the tokens that {client_id} had before were cut off")

    def _mark(self, client_id: str) -> str:
        """The digest by which the feed names an application, so that an API learns nothing about other applications."""
        found = self._marks.get(client_id)
        if found is None:
            digest = hashlib.sha256(f"{self.audience}\n{client_id}".encode()).digest()
            found = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            if len(self._marks) > MOST_MARKS:
                self._marks.clear()
            self._marks[client_id] = found
        return found

    # -- followed by a thread or a task ----------------------------------------------------------

    def start(self) -> None:
        """Follow the feed in a thread of this process, which ends with it."""
        self._begin()
        self._stopping = threading.Event()
        run = threading.Thread(target=self._run, args=[self._stopping], name="watchword-revocations", daemon=True)
        self._thread = run
        self._thread.start()

    def stop(self) -> None:
        """Stop polling, without waiting for the pending answer. After ``max_stale`` seconds every token is refused."""
        self._stopping.set()
        self._thread, self._why = None, "the feed was stopped"

    def __enter__(self) -> RevocationFeed:
        self.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self.stop()

    async def astart(self) -> None:
        """Follow the feed in a task of this loop."""
        self._begin()
        self._task = asyncio.get_running_loop().create_task(self._arun())

    async def astop(self) -> None:
        """`stop`, for the task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._task, self._why = None, "the feed was stopped"

    async def __aenter__(self) -> RevocationFeed:
        await self.astart()
        return self

    async def __aexit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        await self.astop()

    def refresh(self) -> None:
        """Read all news now, without long polling. Raises `RevocationsUnknown` when the issuer does not answer."""
        try:
            while self._learn(self._channel.ask(self._question(0), TIMEOUT), self._now()):
                pass
        except FetchFailed as failed:
            self._fail(failed)
            raise RevocationsUnknown(self._why) from None

    async def arefresh(self) -> None:
        """`refresh`, for an event loop."""
        try:
            while self._learn(await self._channel.aask(self._question(0), TIMEOUT), self._now()):
                pass
        except FetchFailed as failed:
            self._fail(failed)
            raise RevocationsUnknown(self._why) from None

    def _begin(self) -> None:
        if self._thread is not None or self._task is not None:
            raise RuntimeError("the feed is being followed already")
        self._known_at, self._why = max(self._known_at, self._now()), "no answer yet"

    def _run(self, stopping: threading.Event) -> None:
        steps = self._steps()
        step = next(steps)
        while not stopping.is_set():
            if isinstance(step, float):
                stopping.wait(step)
                step = next(steps)
            else:
                step = steps.send(self._ask(*step))

    def _ask(self, question: Question, seconds: float) -> Document | FetchFailed:
        try:
            return self._channel.ask(question, seconds)
        except FetchFailed as failed:
            return failed

    async def _arun(self) -> None:
        steps = self._steps()
        step = next(steps)
        while True:
            if isinstance(step, float):
                await asyncio.sleep(step)
                step = next(steps)
                continue
            try:
                answer: Document | FetchFailed = await self._channel.aask(*step)
            except FetchFailed as failed:
                answer = failed
            step = steps.send(answer)

    def _steps(self) -> _Steps:
        """Without I/O: yields questions and pauses, for ever."""
        # At first and after a failure there is no long polling: tokens are accepted again only after an answer.
        wait, pause = 0.0, PAUSE
        while True:
            asked_at = self._now()
            answer = yield self._question(wait), wait + TIMEOUT
            try:
                if isinstance(answer, FetchFailed):
                    raise answer
                assert answer is not None
                if self._learn(answer, asked_at):
                    continue
                wait, pause = self._wait, PAUSE
            except FetchFailed as failed:
                self._fail(failed)
                wait, pause = 0.0, min(1.0, pause * 2)
            yield pause

    def _question(self, wait: float) -> Question:
        form = {"audience": self.audience, "cursor": self._cursor, "wait": f"{wait:.3f}"}
        return Question(self._url, form, {"authorization": self._authorization})

    def _learn(self, answer: Document, asked_at: float) -> bool:
        """Store the news; True if there is more. Raises `FetchFailed` and stores nothing then."""
        try:
            page = json_object(answer.body)
            cursor, more, listed = page["cursor"], page["more"], page["revocations"]
            read = [_read(mark) for mark in listed]
        except (JoseError, KeyError, TypeError, ValueError):
            raise FetchFailed("the answer is not a page of revocations") from None
        if not isinstance(cursor, str) or not isinstance(more, bool):
            raise FetchFailed("the answer is not a page of revocations")
        with self._learning:
            for name, state in read:
                if isinstance(state, tuple):
                    self._applications[name] = state
                else:
                    self._tokens[name] = state
            self._forget_expired()
            if len(self._tokens) + len(self._applications) > MOST_MARKS:
                raise FetchFailed(f"more than {MOST_MARKS} revocations")
            self._cursor = cursor
            if not more:
                # The answer is as old as the question: later revocations are not in it.
                self._known_at, self._why = asked_at, "no answer since"
        return more

    def _forget_expired(self) -> None:
        before = self._now() - LONGEST_LEEWAY
        for token_id in [name for name, expires_at in self._tokens.items() if expires_at < before]:
            del self._tokens[token_id]
        for mark in [name for name, (_, _, expires_at) in self._applications.items() if expires_at < before]:
            del self._applications[mark]

    def _fail(self, failed: FetchFailed) -> None:
        self._why = str(failed)
        if failed.status in (400, 401, 403):
            self._why += "; is this API's application enabled, its secret right, and is it among the introspectors?"
        _log.warning("revocations at %s could not be read: %s", self._url, self._why)


def _read(mark: dict[str, Any]) -> tuple[str, float | tuple[bool, int, float]]:
    """One entry. Raises KeyError, TypeError or ValueError."""
    expires_at = mark["exp"]
    if type(expires_at) is not int:
        raise ValueError("exp")
    if "jti" in mark:
        if not isinstance(mark["jti"], str):
            raise ValueError("jti")
        return mark["jti"], float(expires_at)
    name, enabled, not_before_ms = mark["application"], mark["enabled"], mark["not_before_ms"]
    if not isinstance(name, str) or not isinstance(enabled, bool) or type(not_before_ms) is not int:
        raise ValueError("application")
    return name, (enabled, not_before_ms, float(expires_at))


def _issued_ms(token_id: object, iat: object) -> float:
    """When the token was issued: a ``jti`` of Watchword begins with the milliseconds, ``iat`` has only seconds."""
    if isinstance(token_id, str) and len(token_id) == 32:
        try:
            return int(token_id[:12], 16)
        except ValueError:
            pass
    return iat * 1000.0 if isinstance(iat, int | float) else float("-inf")
