"""Check the tolerance for clocks that an API is configured with."""

from __future__ import annotations

import math
import warnings
from typing import Final

LONGEST: Final = 60.0


def checked_leeway(seconds: float) -> float:
    """The tolerance itself. Raises ValueError unless it is a finite number of seconds, 0 or more; warns above 60 s.

    With infinity or NaN a token would never expire.
    """
    if isinstance(seconds, bool) or not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"leeway is {seconds!r}: use a number of seconds, 0 or more")
    if seconds > LONGEST:
        warnings.warn(
            f"leeway is {seconds:.0f} s: expired tokens are accepted for that long; set the clocks right instead",
            stacklevel=3,
        )
    return seconds
