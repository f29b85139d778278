"""`TokenSource`: caches a token in memory and renews it with one request for all threads and tasks."""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Self

from watchword.client.disk import DiskCache, shared_renewal
from watchword.client.errors import SecretMissing, TokenError, TokenRefused
from watchword.client.exchange import Exchange
from watchword.client.flight import Flight
from watchword.client.flow import Learned, Plan, Steps, renew
from watchword.client.token import AccessToken, Held


class _Guard:
    """The lock for the few lines that start and end a `Flight`: one for all sources, and a new one after a fork."""

    def __init__(self) -> None:
        self.new()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.new)

    def new(self) -> None:
        self.lock = threading.Lock()


guard = _Guard()


class Lessons:
    """Shared by the sources of one application, so that the endpoint is discovered once for all of them."""

    __slots__ = ("learned",)

    def __init__(self, learned: Learned) -> None:
        self.learned = learned


class TokenSource:
    """The tokens of one plan; safe for threads, tasks, several event loops and fork."""

    __slots__ = ("_asleep", "_disk", "_exchange", "_flight", "_held", "_lessons", "_plan", "_sleep")

    def __init__(
        self,
        plan: Plan,
        exchange: Exchange,
        disk: DiskCache | None,
        sleep: Callable[[float], None],
        asleep: Callable[[float], Awaitable[None]],
        lessons: Lessons | None = None,
    ) -> None:
        self._plan, self._exchange, self._disk = plan, exchange, disk
        self._sleep, self._asleep = sleep, asleep
        self._held: Held | None = None
        self._flight: Flight | None = None
        self._lessons = lessons or Lessons(Learned(plan.endpoint))

    @classmethod
    def like(cls, source: TokenSource, **changed: Any) -> Self:
        """The same application, key and network for other tokens, which are kept in memory only.

        ``changed`` are fields of `Plan`.
        """
        plan = replace(source._plan, **changed)
        return cls(plan, source._exchange, None, source._sleep, source._asleep, source._lessons)

    def token(self) -> AccessToken:
        """A token that is valid now: cached, or fetched. Raises `TokenError`."""
        while True:
            if (token := self._fresh()) is not None:
                return token
            flight, leads = self._board()
            if leads:
                return self._lead(flight)
            if (stale := self._valid()) is not None:
                return stale
            if flight.is_in_this_loop():  # waiting here would stop the task that is to bring the token
                return self._drive(self._steps())
            if (outcome := _unpacked(flight.wait())) is not None:
                return outcome

    async def atoken(self) -> AccessToken:
        """`token`, for an event loop."""
        while True:
            if (token := self._fresh()) is not None:
                return token
            flight, leads = self._board()
            if leads:
                return await self._alead(flight)
            if (stale := self._valid()) is not None:
                return stale
            if (outcome := _unpacked(await flight.await_())) is not None:
                return outcome

    def drop(self, token: AccessToken) -> None:
        """Remove ``token`` from memory and disk: an API has refused it (RFC 6750 section 3.1)."""
        held = self._held
        if held is not None and held.token.value == token.value:
            self._held = None
        if self._disk is not None:
            with suppress(SecretMissing):
                self._disk.forget(self._disk.name(self._plan), token.value)

    # -- requests to an API ---------------------------------------------------------------------

    def signed(self, token: AccessToken, method: str, url: str) -> dict[str, str]:
        """The headers to add to one request; with a DPoP key they are good for that request only."""
        key = self._plan.dpop
        if key is None:
            return {"Authorization": f"Bearer {token.value}"}
        now = self._plan.now() + self._lessons.learned.clock_offset
        return {"Authorization": f"DPoP {token.value}", "DPoP": key.proof(method, url, now, token.value)}

    def note_answer(self, token: AccessToken, url: str, status: int, headers: Mapping[str, str]) -> bool:
        """Note what the API answered; True when the request may succeed if it is sent again with a new `token`.

        Drops a token that was refused, unless only the nonce of its proof was wrong. ``headers`` must find names in
        any case.
        """
        key = self._plan.dpop
        renewed = key is not None and key.note_nonce(url, headers.get("DPoP-Nonce"))
        if status != 401:
            return False
        if not (renewed and 'error="use_dpop_nonce"' in headers.get("WWW-Authenticate", "")):
            self.drop(token)
        return True

    # -- flights --------------------------------------------------------------------------------

    def _fresh(self) -> AccessToken | None:
        held = self._held
        return held.token if held is not None and self._plan.now() < held.renew_at else None

    def _valid(self) -> AccessToken | None:
        """The held token while it is valid: callers use it during a renewal and do not wait."""
        held = self._held
        return held.token if held is not None and self._plan.now() < held.token.expires_at else None

    def _board(self) -> tuple[Flight, bool]:
        """The flight that is under way, or a new one; True if the caller has to lead it."""
        with guard.lock:
            flight = self._flight
            if flight is not None and not flight.is_lost():
                return flight, False
            self._flight = flight = Flight()
            return flight, True

    def _lead(self, flight: Flight) -> AccessToken:
        outcome: AccessToken | TokenError | None = None
        try:
            outcome = self._fresh() or self._drive(self._steps())  # the last flight may just have landed
            return outcome
        except TokenError as error:
            outcome = error
            raise
        finally:
            self._land(flight, outcome)

    async def _alead(self, flight: Flight) -> AccessToken:
        outcome: AccessToken | TokenError | None = None
        try:
            outcome = self._fresh() or await self._adrive(self._steps())
            return outcome
        except TokenError as error:
            outcome = error
            raise
        finally:
            self._land(flight, outcome)

    def _land(self, flight: Flight, outcome: AccessToken | TokenError | None) -> None:
        with guard.lock:
            if self._flight is flight:
                self._flight = None
        flight.end(outcome)

    # -- one renewal ----------------------------------------------------------------------------

    def _steps(self) -> Steps[tuple[Held, Learned]]:
        if self._disk is not None:
            return shared_renewal(self._plan, self._lessons.learned, self._held, self._disk)
        return renew(self._plan, self._lessons.learned, self._held)

    def _drive(self, steps: Steps[tuple[Held, Learned]]) -> AccessToken:
        try:
            return self._keep(self._exchange.drive(steps, self._sleep))
        except TokenError as error:
            raise self._failed(error) from None

    async def _adrive(self, steps: Steps[tuple[Held, Learned]]) -> AccessToken:
        try:
            return self._keep(await self._exchange.adrive(steps, self._asleep))
        except TokenError as error:
            raise self._failed(error) from None

    def _keep(self, result: tuple[Held, Learned]) -> AccessToken:
        self._held, self._lessons.learned = result
        return self._held.token

    def _failed(self, error: TokenError) -> TokenError:
        if not isinstance(error, TokenRefused):  # the endpoint may have moved: discover it again
            self._lessons.learned = Learned(self._plan.endpoint, self._lessons.learned.clock_offset)
        return error


def _unpacked(outcome: AccessToken | TokenError | None) -> AccessToken | None:
    if isinstance(outcome, TokenError):
        raise outcome.with_traceback(None)
    return outcome
