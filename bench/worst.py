"""What the worst bytes cost the event loop, reader by reader, before anybody is authenticated."""

from __future__ import annotations

import gc

from tests.attack.worst import LIMIT, READERS, growth, worst

from .table import Row, heading, show

BAR = 5.0
"""Milliseconds of the processor at most."""


def main(arguments: list[str]) -> int:
    """0 when every reader is within the bar; `arguments`: the readers to measure, by default all."""
    heading(f"worst bytes, {LIMIT} of them: milliseconds of the event loop")
    late = 0
    for name in arguments or READERS:
        gc.collect()
        found = worst(name)
        late += found.seconds * 1_000 > BAR
        times = growth(found)
        made = f"{found.prefix!r}, then {found.unit!r}; 4 times as many: {times:.1f} times the work"
        show(Row(f"{name}: {made}", [found.seconds * 1_000], " ms", BAR, most=True))
    return 1 if late else 0
