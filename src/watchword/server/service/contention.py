"""Retry an action when its database transaction lost a race and was rolled back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from .ports import Contention

R = TypeVar("R")
_ATTEMPTS = 3
_PAUSE = 0.02


async def again(work: Callable[[], Awaitable[R]]) -> R:
    """At most three attempts, with a random pause between them so that two retries do not collide.

    Safe for any action: `Contention` means that its transaction was rolled back. Raises the last one.
    """
    for attempt in range(1, _ATTEMPTS):
        try:
            return await work()
        except Contention:
            await asyncio.sleep(random.uniform(0, _PAUSE * attempt))
    return await work()
