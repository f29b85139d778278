"""The steps of getting a token, without I/O: a generator that yields requests and is sent the answers.

It yields `Ask` (answer: `Answer`, or `NoAnswer` when the network failed) and `Pause` (answer: None). The synchronous
and the asynchronous caller are two small loops over this one generator.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from watchword.client import wire
from watchword.client.errors import InvalidAnswer, SubjectEnded, TokenError, TokenRefused, TokenUnavailable
from watchword.client.proof import Proof
from watchword.client.token import Held, hold
from watchword.client.wire import Answer, Ask

if TYPE_CHECKING:
    from watchword.client.dpop import DpopKey

_log = logging.getLogger("watchword.client")

BUSY: Final = frozenset({429, 502, 503, 504})
"""Statuses after which the same request may be sent again."""
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
"""Seconds. If the server asks for a longer pause than this, the call fails at once and says how long."""
ASKED_TRIES: Final = 8
"""Sends of one request while each answer has ``Retry-After``: such a server is alive and spreads its clients."""
AFTER_FAILURE: Final = 5.0
"""Seconds for which a failed renewal is not tried again while the old token is still valid."""
TOLERATED_SKEW: Final = 30.0
"""Seconds by which two clocks may differ before a proof is dated by the issuer's clock."""


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The request got no complete answer; ``why`` is a text for people."""

    why: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


Found = TypeVar("Found")
Steps = Generator[Ask | Pause, Answer | NoAnswer | None, Found]


@dataclass(frozen=True, slots=True)
class Learned:
    """Kept from one renewal to the next: the endpoint, and by how many seconds the issuer's clock is ahead."""

    endpoint: str | None = None
    clock_offset: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings that do not change from one renewal to the next."""

    issuer: str
    client_id: str
    proof: Proof
    parameters: tuple[tuple[str, str], ...] = field(repr=False)
    """The form's own; a subject token may be among them."""
    endpoint: str | None
    insecure_http: bool
    default_life: float
    tries: int
    now: Callable[[], float]
    rng: Callable[[], float]
    by_certificate: bool = False
    """Whether the endpoint is the one that asks for a client certificate (RFC 8705 section 5)."""
    dpop: DpopKey | None = None
    """The key that tokens are bound to (RFC 9449), None for bearer tokens."""
    grant_type: str = "client_credentials"
    usable: bool = True
    """Whether what is issued is a token for an API; else its type is ``N_A`` (RFC 8693 section 2.2.1)."""
    until: float = math.inf
    """Unix seconds at which the subject token expires. No token is kept longer, whatever its ``expires_in`` says."""

    @property
    def kind(self) -> str:
        """The ``token_type`` that an answer has to have."""
        if not self.usable:
            return "N_A"
        return "Bearer" if self.dpop is None else "DPoP"


def renew(plan: Plan, learned: Learned, old: Held | None) -> Steps[tuple[Held, Learned]]:
    """A new token; or the old one, if it is still valid and the request fails.

    While the old token is valid the request is sent only once: the caller does not wait for retries. Raises
    `TokenError`.
    """
    valid = old is not None and plan.now() < old.token.expires_at
    try:
        return (yield from fetch_token(plan, learned, 1 if valid else plan.tries))
    except TokenError as error:
        if not valid or old is None or plan.now() >= old.token.expires_at:
            raise
        _log.warning("renewing the access token failed, the old one is still valid: %s", error)
        asked = error.retry_after or 0.0 if isinstance(error, TokenUnavailable) else 0.0
        again_at = plan.now() + max(AFTER_FAILURE, asked)
        # The endpoint may have moved: discover it again.
        kept = learned if isinstance(error, TokenRefused) else Learned(plan.endpoint, learned.clock_offset)
        return Held(old.token, again_at), kept


def fetch_token(plan: Plan, learned: Learned, tries: int) -> Steps[tuple[Held, Learned]]:
    """Discover the endpoint if it is not known, then ask it for a token.

    Each request is sent up to ``tries`` times; up to `ASKED_TRIES` times while the answers have ``Retry-After``,
    unless ``tries`` is 1. A refusal (4xx except 429) is not repeated, with two exceptions, each of which is tried once:
    the issuer wants its nonce in the DPoP proof; a dated proof was refused and the answer's ``Date`` shows that this
    machine's clock is wrong (the second proof is dated by the issuer's clock).

    Raises:
        TokenError: see `watchword.client.errors`.
    """
    if plan.now() >= plan.until:
        raise SubjectEnded("the subject token has expired; the caller has to come with a new one")
    endpoint = learned.endpoint
    if endpoint is None:
        answer, _ = yield from ask(plan, lambda _now: wire.metadata_request(plan.issuer), tries)
        endpoint = wire.read_metadata(answer, plan.issuer, insecure_http=plan.insecure_http, mtls=plan.by_certificate)
    offset = learned.clock_offset
    answer, asked_at = yield from ask(plan, _token_request(plan, endpoint, offset), tries)
    if (
        plan.dpop is not None
        and plan.dpop.note_nonce(endpoint, answer.headers.get("dpop-nonce"))
        and wire.wants_nonce(answer)
    ):
        answer, asked_at = yield from ask(plan, _token_request(plan, endpoint, offset), tries)
    ahead = wire.clock_ahead(answer, plan.now())
    timed = plan.proof.timed or plan.dpop is not None
    if answer.status in (400, 401) and timed and abs(ahead - offset) > TOLERATED_SKEW:
        _log.warning("this machine's clock differs from the issuer's by %.0f s; going by the issuer's", ahead)
        offset = ahead
        answer, asked_at = yield from ask(plan, _token_request(plan, endpoint, offset), tries)
    try:
        token = wire.read_token(answer, asked_at=asked_at, default_life=plan.default_life, kind=plan.kind)
    except TokenRefused as refused:
        if abs(ahead) <= TOLERATED_SKEW:
            raise
        raise TokenRefused(refused.error, refused.description, refused.status, behind=ahead) from None
    token = replace(token, expires_at=min(token.expires_at, plan.until), scope=_granted(plan, token.scope))
    return hold(token, asked_at=asked_at, chance=plan.rng(), until=plan.until), Learned(endpoint, offset)


def _granted(plan: Plan, answered: str | None) -> str | None:
    """The token's scope: as asked, if the answer does not say (RFC 6749 section 5.1).

    Fewer scopes than asked for raise `InvalidAnswer`: the API would reject the calls later, and not say why. More are
    logged: some servers add scopes of their own.
    """
    asked = next((value for name, value in plan.parameters if name == "scope"), None)
    if asked is None or answered is None:
        return answered if answered is not None else asked
    wanted, got = set(asked.split()), set(answered.split())
    if wanted - got:
        raise InvalidAnswer(f"the token lacks scopes that were asked for: {' '.join(sorted(wanted - got))}")
    if got - wanted:
        _log.warning("the token has scopes that were not asked for: %r", " ".join(sorted(got - wanted))[:200])
    return answered


def _token_request(plan: Plan, endpoint: str, offset: float) -> Callable[[float], Ask]:
    """A function that builds a new request for each try: a proof is never sent twice."""

    def build(now: float) -> Ask:
        proven = plan.proof.prove(plan.client_id, plan.issuer, now + offset)
        shown = None if plan.dpop is None else plan.dpop.proof("POST", endpoint, now + offset)
        return wire.token_request(endpoint, proven, (("grant_type", plan.grant_type), *plan.parameters), shown)

    return build


class Paced(Protocol):
    """The clock and the randomness by which requests are repeated."""

    @property
    def now(self) -> Callable[[], float]:
        """Unix seconds."""

    @property
    def rng(self) -> Callable[[], float]:
        """A random number in [0, 1)."""


def ask(plan: Paced, build: Callable[[float], Ask], tries: int) -> Steps[tuple[Answer, float]]:
    """The answer, and the second at which the request that got it was sent. Raises `TokenUnavailable`."""
    for attempt in range(tries if tries == 1 else max(tries, ASKED_TRIES)):
        asked_at = plan.now()
        answer = yield build(asked_at)
        if isinstance(answer, Answer) and answer.status not in BUSY:
            if answer.status >= 500:
                raise TokenUnavailable(f"the issuer answered {answer.status}")
            return answer, asked_at
        asked = wire.retry_after(answer, plan.now()) if isinstance(answer, Answer) else None
        last = tries if asked is None or tries == 1 else max(tries, ASKED_TRIES)
        if attempt + 1 >= last or (asked is not None and asked > LONGEST_PAUSE):
            raise TokenUnavailable(_why(answer), asked)
        yield Pause(_backoff(attempt, plan.rng()) if asked is None else asked + _spread(attempt, plan.rng()))
    raise AssertionError("at least one try")


def _backoff(attempt: int, chance: float) -> float:
    """0.5 s, 1 s, 2 s ... less a random part of up to half."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**attempt) * (1 - chance / 2)


def _spread(attempt: int, chance: float) -> float:
    """A random pause of up to 1 s, 2 s, 4 s ...: many clients got the same ``Retry-After`` (thundering herd)."""
    return chance * min(LONGEST_PAUSE, 2.0**attempt)


def _why(answer: Answer | NoAnswer | None) -> str:
    if isinstance(answer, Answer):
        return f"the issuer answered {answer.status}"
    return answer.why if isinstance(answer, NoAnswer) else "no answer"
