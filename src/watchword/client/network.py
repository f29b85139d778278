"""How requests to the issuer are sent: `Network` has timeouts, retries and the transport; `Clock` time and waiting."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watchword.client.exchange import Transport


async def pause(seconds: float) -> None:
    """asyncio's sleep. Imports asyncio only when it is called: that import takes half as long as all of the client."""
    import asyncio

    await asyncio.sleep(seconds)


def chance() -> float:
    """A random number in [0, 1). The system's source has no state: a forked child does not repeat its parent's."""
    return random.SystemRandom().random()


@dataclass(frozen=True, slots=True)
class Clock:
    """The time, the waiting between two tries, and the random spread of it. Tests replace them.

    Args:
        now: Unix seconds.
        sleep: waits so many seconds in a thread. ``asleep``: the same in an event loop.
        rng: random numbers in [0, 1).
    """

    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    asleep: Callable[[float], Awaitable[None]] = pause
    rng: Callable[[], float] = chance


@dataclass(frozen=True, slots=True)
class Network:
    """How requests to the issuer are sent: ``ClientCredentials(..., network=Network(timeout=2.0, tries=1))``.

    Args:
        endpoint: the URL of the token endpoint (for `enrol`: of the enrolment endpoint); None discovers it from the
            issuer's metadata (RFC 8414).
        timeout: seconds for connecting, and for the answer; None means 5 for tokens and metadata, 10 for enrolment.
        tries: how often a request may be sent; None means 3 for tokens, 5 for enrolment. While the issuer says when
            to come again (``Retry-After``), up to eight times, unless ``tries`` is 1.
        default_life: seconds for which a token without ``expires_in`` is kept.
        insecure_http: allows plain http to other machines, where everybody can read the secret; never in production.
        transport: an httpx transport in place of the network; it stays the caller's and is not closed.
        clock: time and waiting.

    Raises:
        ValueError: ``tries`` below 1.
    """

    endpoint: str | None = None
    timeout: float | None = None
    tries: int | None = None
    default_life: float = 60.0
    insecure_http: bool = False
    transport: Transport | None = None
    clock: Clock = Clock()

    def __post_init__(self) -> None:
        if self.tries is not None and self.tries < 1:
            raise ValueError("tries is at least 1")

    def timeout_or(self, usual: float) -> float:
        """``timeout``, or what is usual for this kind of request."""
        return usual if self.timeout is None else self.timeout

    def tries_or(self, usual: int) -> int:
        """``tries``, or what is usual for this kind of request."""
        return usual if self.tries is None else self.tries


DIRECT = Network()
"""The network with nothing changed."""
