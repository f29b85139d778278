"""How a token is got, without I/O: a generator that yields what it needs and is sent what came back.

It yields `Ask` (answer: `Answer`, or `NoAnswer` when the network failed) and `Pause` (answer: None).
The synchronous and the asynchronous caller are two small loops over this one piece of logic.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Final

from watchword.client import wire
from watchword.client.errors import TokenUnavailable
from watchword.client.secret import Secret
from watchword.client.token import AccessToken
from watchword.client.wire import Answer, Ask

BUSY: Final = frozenset({429, 502, 503, 504})
"""Statuses after which the same request may be sent again."""
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
"""Seconds; a server that asks for more patience than this gets none: the caller is told instead."""


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The request got no complete answer; ``why`` is for people."""

    why: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


Step = Generator[Ask | Pause, Answer | NoAnswer | None, "Result"]


@dataclass(frozen=True, slots=True)
class Result:
    """A fresh token, when it was asked for (Unix seconds) and the endpoint that gave it."""

    token: AccessToken
    asked_at: float
    endpoint: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What does not change from one renewal to the next."""

    issuer: str
    client_id: str
    secret: Secret
    method: str
    parameters: tuple[tuple[str, str], ...]
    insecure_http: bool
    default_life: float
    now: Callable[[], float]
    rng: Callable[[], float]


def fetch_token(plan: Plan, endpoint: str | None, tries: int) -> Step:
    """Discover the endpoint if it is not known, then ask it for a token.

    ``tries`` is how often each request may be sent. A refusal (4xx save 429) is never repeated.

    Raises:
        TokenError: see `watchword.client.errors`.
    """
    if endpoint is None:
        answer, _ = yield from _ask(plan, wire.metadata_request(plan.issuer), tries)
        endpoint = wire.read_metadata(answer, plan.issuer, insecure_http=plan.insecure_http)
    request = wire.token_request(endpoint, plan.client_id, plan.secret, method=plan.method, parameters=plan.parameters)
    answer, asked_at = yield from _ask(plan, request, tries)
    token = wire.read_token(answer, asked_at=asked_at, default_life=plan.default_life)
    return Result(token, asked_at, endpoint)


def _ask(
    plan: Plan, request: Ask, tries: int
) -> Generator[Ask | Pause, Answer | NoAnswer | None, tuple[Answer, float]]:
    """The answer, and the second at which the request that got it was sent."""
    for attempt in range(tries):
        asked_at = plan.now()
        answer = yield request
        if isinstance(answer, Answer) and answer.status not in BUSY:
            if answer.status >= 500:
                raise TokenUnavailable(f"the issuer answered {answer.status}")
            return answer, asked_at
        asked = wire.retry_after(answer, plan.now()) if isinstance(answer, Answer) else None
        if attempt + 1 == tries or (asked is not None and asked > LONGEST_PAUSE):
            raise TokenUnavailable(_why(answer), asked)
        yield Pause(max(asked or 0.0, _backoff(attempt, plan.rng())))
    raise AssertionError("at least one try")


def _backoff(attempt: int, chance: float) -> float:
    """0.5 s, 1 s, 2 s ... less up to half of it by chance."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**attempt) * (1 - chance / 2)


def _why(answer: Answer | NoAnswer | None) -> str:
    if isinstance(answer, Answer):
        return f"the issuer answered {answer.status}"
    return answer.why if isinstance(answer, NoAnswer) else "no answer"
