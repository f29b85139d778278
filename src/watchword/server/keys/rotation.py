"""Decide which rotation steps are due, as a pure function of keys, time and policy.

A key is published as `next` before it signs, for at least as long as verifiers may cache the JWK
set; it stays published as `retiring` until the last token that it can have signed has expired. A
There is always a `next` key, so that an emergency rotation never waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

from .model import SigningAlgorithm, SigningKey


class Policy(Struct, frozen=True, kw_only=True):
    """Seconds. `publish_ahead` is also the bound on how long a JWK set may be cached."""

    period: int = 30 * 86_400
    publish_ahead: int = 3_600
    keep_retired: int = 86_400 + 600

    @property
    def look_again(self) -> float:
        """Seconds within which no key becomes due, whatever is done to the keys now."""
        return float(min(self.period, self.keep_retired))


class Step(Struct, frozen=True):
    """`kid` is empty for `publish` and `found`, which make a new key."""

    what: Literal["found", "publish", "activate", "retire", "withdraw"]
    algorithm: SigningAlgorithm
    kid: str = ""


def _of(keys: Sequence[SigningKey], algorithm: str, state: str) -> SigningKey | None:
    return next((key for key in keys if key.algorithm == algorithm and key.state == state), None)


def _turn(active: SigningKey, following: SigningKey) -> list[Step]:
    return [
        Step("retire", active.algorithm, active.kid),
        Step("activate", following.algorithm, following.kid),
        Step("publish", active.algorithm),
    ]


def plan(
    keys: Sequence[SigningKey],
    algorithms: Iterable[SigningAlgorithm],
    now: float,
    policy: Policy,
) -> list[Step]:
    """The steps that are due at `now`. A second run after the steps were done plans nothing."""
    steps: list[Step] = []
    for algorithm in algorithms:
        active, following = _of(keys, algorithm, "active"), _of(keys, algorithm, "next")
        if active is None:
            steps.append(Step("activate", algorithm, following.kid) if following else Step("found", algorithm))
            steps.append(Step("publish", algorithm))
        elif following is None:
            steps.append(Step("publish", algorithm))
        elif now >= (active.activated_at or 0) + policy.period and ready(following, now, policy):
            steps.extend(_turn(active, following))
    steps.extend(
        Step("withdraw", key.algorithm, key.kid)
        for key in keys
        if key.state == "retiring" and key.gone_at is not None and now >= key.gone_at
    )
    return steps


def due(keys: Sequence[SigningKey], algorithms: Iterable[SigningAlgorithm], policy: Policy) -> float:
    """When `plan` has steps next, unless these keys are changed before."""
    times = [float(key.gone_at) for key in keys if key.state == "retiring" and key.gone_at is not None]
    for algorithm in algorithms:
        active, following = _of(keys, algorithm, "active"), _of(keys, algorithm, "next")
        if active is None or following is None:
            return float("-inf")
        turn_at = (active.activated_at or 0) + policy.period
        times.append(float(max(turn_at, following.published_at + policy.publish_ahead)))
    return min(times)


def ready(following: SigningKey, now: float, policy: Policy) -> bool:
    """Whether every verifier that honours our Cache-Control has fetched the key by now."""
    return now >= following.published_at + policy.publish_ahead


def turn(keys: Sequence[SigningKey], algorithm: SigningAlgorithm) -> list[Step]:
    """The steps of a manual rotation; empty when there is no next key."""
    active, following = _of(keys, algorithm, "active"), _of(keys, algorithm, "next")
    return _turn(active, following) if active and following else []


def emergency(keys: Sequence[SigningKey], kid: str) -> list[Step]:
    """The steps that withdraw a compromised key: a new key signs before the old key is removed."""
    lost = next((key for key in keys if key.kid == kid and key.state != "gone"), None)
    if lost is None:
        return []
    steps: list[Step] = []
    if lost.state == "active":
        following = _of(keys, lost.algorithm, "next")
        steps = [Step("withdraw", lost.algorithm, kid)]
        steps.append(Step("activate", lost.algorithm, following.kid) if following else Step("found", lost.algorithm))
        steps.append(Step("publish", lost.algorithm))
    elif lost.state == "next":
        steps = [Step("withdraw", lost.algorithm, kid), Step("publish", lost.algorithm)]
    else:
        steps = [Step("withdraw", lost.algorithm, kid)]
    return steps
