"""`ClientCredentials`: what a caller holds. The cache, its locks, and the doors for httpx and requests."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

import httpx

from watchword.client import wire
from watchword.client.errors import TokenError, TokenRefused
from watchword.client.exchange import Exchange, Transport
from watchword.client.flow import Pause, Plan, Result, Step, fetch_token
from watchword.client.secret import Secret
from watchword.client.token import AccessToken, Held, hold

if TYPE_CHECKING:
    from watchword.client.for_requests import RequestsAuth

_log = logging.getLogger("watchword.client")

AuthMethod = Literal["client_secret_basic", "client_secret_post"]

AFTER_FAILURE = 5.0
"""Seconds for which a failed renewal is not tried again while the old token is still valid."""


class ClientCredentials(httpx.Auth):
    """An application's tokens for one API: ``httpx.Client(auth=ClientCredentials(...))``.

    Args:
        issuer: the issuer's URL; the token endpoint is discovered from it (RFC 8414) on first use.
        client_id, client_secret: RFC 6749 section 2.3.1.
        resource: RFC 8707, one URI or several. ``audience``: for servers that use that word.
        scope: a space-separated text or the scopes one by one; None asks for all that is granted.
        token_endpoint: skips discovery. ``auth_method``: where id and secret are put.
        timeout: seconds for connecting and for reading. ``tries``: how often a request may be sent.
        default_life: seconds for which a token without ``expires_in`` is kept.
        insecure_http: lets secret and tokens travel over plain http to other machines; never in production.
        now, sleep, asleep, rng, transport: clock (Unix seconds), waiting, chance in [0, 1) and network.

    Raises:
        ValueError: a URL where no secret may go, or an unknown method.

    Safe for threads, tasks, several event loops and fork; threads share one request in flight, and so
    do the tasks of one loop.
    """

    def __init__(
        self,
        issuer: str,
        client_id: str,
        client_secret: str | Secret,
        *,
        resource: str | Iterable[str] | None = None,
        audience: str | None = None,
        scope: str | Iterable[str] | None = None,
        token_endpoint: str | None = None,
        auth_method: AuthMethod = "client_secret_basic",
        timeout: float = 5.0,
        tries: int = 3,
        default_life: float = 60.0,
        insecure_http: bool = False,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        asleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: Callable[[], float] | None = None,
        transport: Transport | None = None,
    ) -> None:
        if auth_method not in ("client_secret_basic", "client_secret_post") or tries < 1:
            raise ValueError("auth_method is client_secret_basic or client_secret_post; tries is at least 1")
        if token_endpoint is not None:
            wire.checked_url(token_endpoint, "token_endpoint", insecure_http=insecure_http)
        self._plan = Plan(
            issuer=wire.checked_url(issuer, "issuer", insecure_http=insecure_http),
            client_id=client_id,
            secret=Secret(client_secret),
            method=auth_method,
            parameters=_parameters(resource, audience, scope),
            insecure_http=insecure_http,
            default_life=default_life,
            now=now,
            # The system's source has no state, so a forked child does not repeat its parent's jitter.
            rng=rng or random.SystemRandom().random,
        )
        self._given_endpoint = self._endpoint = token_endpoint
        self._tries = tries
        self._sleep, self._asleep = sleep, asleep
        self._exchange = Exchange(timeout, transport)
        self._held: Held | None = None
        self._failure: tuple[int, TokenError] | None = None
        self._attempts = 0
        self._new_locks()

    def __repr__(self) -> str:
        return f"ClientCredentials({self._plan.issuer!r}, {self._plan.client_id!r})"

    # -- tokens ---------------------------------------------------------------------------------

    def token(self) -> AccessToken:
        """A token that is valid now: cached, or fetched. Raises `TokenError`."""
        held = self._fresh()
        if held is not None:
            return held
        seen = self._attempts
        lock = self._thread_lock()
        if not lock.acquire(blocking=self._valid() is None):
            return self._valid() or self.token()  # another thread renews; the old one is still good
        try:
            return self._shared(seen) or self._renew_sync()
        finally:
            lock.release()

    async def atoken(self) -> AccessToken:
        """`token`, for an event loop."""
        held = self._fresh()
        if held is not None:
            return held
        seen = self._attempts
        lock = self._loop_lock()
        stale = self._valid()
        if stale is not None and lock.locked():
            return stale
        async with lock:
            return self._shared(seen) or await self._renew_async()

    def drop(self, token: AccessToken) -> None:
        """Forget ``token`` if it is the one held: an API has refused it (RFC 6750 section 3.1)."""
        held = self._held
        if held is not None and held.token.value == token.value:
            self._held = None

    # -- httpx and requests ---------------------------------------------------------------------

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Sign ``request``; after a 401 once more with a new token. The second 401 is the caller's."""
        self._check_target(request)
        token = self.token()
        response = yield _signed(request, token)
        if response.status_code == 401:
            self.drop(token)
            if _repeatable(request):
                response.read()
                yield _signed(request, self.token())

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """`sync_auth_flow`, for an event loop."""
        self._check_target(request)
        token = await self.atoken()
        response = yield _signed(request, token)
        if response.status_code == 401:
            self.drop(token)
            if _repeatable(request):
                await response.aread()
                yield _signed(request, await self.atoken())

    def for_requests(self) -> RequestsAuth:
        """The same tokens for ``requests.get(url, auth=...)``; needs the requests package."""
        from watchword.client.for_requests import RequestsAuth

        return RequestsAuth(self)

    def check_target(self, url: str) -> None:
        """Raise ValueError where a bearer token may not go (RFC 6750 section 5.3)."""
        wire.checked_url(url.split("#")[0], "the API's URL", insecure_http=self._plan.insecure_http)

    def _check_target(self, request: httpx.Request) -> None:
        self.check_target(f"{request.url.scheme}://{request.url.netloc.decode('ascii')}/")

    # -- renewal --------------------------------------------------------------------------------

    def _fresh(self) -> AccessToken | None:
        held = self._held
        return held.token if held is not None and self._plan.now() < held.renew_at else None

    def _valid(self) -> AccessToken | None:
        held = self._held
        return held.token if held is not None and self._plan.now() < held.token.expires_at else None

    def _shared(self, seen: int) -> AccessToken | None:
        """What whoever held the lock before us got, a failure too: waiters do not repeat it one by one."""
        if self._attempts != seen and self._failure is not None and self._failure[0] == self._attempts:
            if (stale := self._valid()) is not None:
                return stale
            raise self._failure[1].with_traceback(None)
        return self._fresh()

    def _steps(self) -> Step:
        """One renewal. While the old token is valid nobody waits for a retry."""
        return fetch_token(self._plan, self._endpoint, 1 if self._valid() else self._tries)

    def _renew_sync(self) -> AccessToken:
        steps = self._steps()
        try:
            wanted = next(steps)
            while True:
                if isinstance(wanted, Pause):
                    self._sleep(wanted.seconds)
                    wanted = steps.send(None)
                else:
                    wanted = steps.send(self._exchange.send(wanted))
        except StopIteration as done:
            return self._keep(done.value)
        except TokenError as error:
            return self._survive(error)

    async def _renew_async(self) -> AccessToken:
        steps = self._steps()
        try:
            wanted = next(steps)
            while True:
                if isinstance(wanted, Pause):
                    await self._asleep(wanted.seconds)
                    wanted = steps.send(None)
                else:
                    wanted = steps.send(await self._exchange.asend(wanted))
        except StopIteration as done:
            return self._keep(done.value)
        except TokenError as error:
            return self._survive(error)

    def _keep(self, result: Result) -> AccessToken:
        self._attempts += 1
        self._failure = None
        self._endpoint = result.endpoint
        self._held = hold(result.token, asked_at=result.asked_at, chance=self._plan.rng())
        return result.token

    def _survive(self, error: TokenError) -> AccessToken:
        """Go on with the old token if it is still valid, else raise ``error``."""
        self._attempts += 1
        self._failure = (self._attempts, error)
        if not isinstance(error, TokenRefused):
            self._endpoint = self._given_endpoint  # it may have moved: discover again
        stale = self._valid()
        if stale is None:
            raise error
        self._held = Held(stale, self._plan.now() + AFTER_FAILURE)
        _log.warning("renewing the access token failed, the old one is still valid: %s", error)
        return stale

    # -- locks ----------------------------------------------------------------------------------

    def _new_locks(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._loop_locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    def _thread_lock(self) -> threading.Lock:
        """The lock of this process: one that a parent held when it forked would never be released here."""
        if self._pid != os.getpid():
            self._new_locks()
        return self._lock

    def _loop_lock(self) -> asyncio.Lock:
        """The lock of the running loop: an asyncio lock belongs to one loop only."""
        self._thread_lock()
        return self._loop_locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())


def _parameters(
    resource: str | Iterable[str] | None, audience: str | None, scope: str | Iterable[str] | None
) -> tuple[tuple[str, str], ...]:
    """The form's own parameters; only ``resource`` may occur more than once (RFC 8707 section 2)."""
    resources = [resource] if isinstance(resource, str) else list(resource or ())
    found = [("resource", one) for one in resources]
    if audience is not None:
        found.append(("audience", audience))
    if scope is not None:
        found.append(("scope", scope if isinstance(scope, str) else " ".join(scope)))
    return tuple(found)


def _signed(request: httpx.Request, token: AccessToken) -> httpx.Request:
    request.headers["Authorization"] = f"Bearer {token.value}"
    return request


def _repeatable(request: httpx.Request) -> bool:
    """Whether the body can be sent twice: bytes can, a generator cannot."""
    return isinstance(request.stream, httpx.ByteStream)
