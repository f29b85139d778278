"""`python -m tests.fuzz PARSER SECONDS`: look for new ways through a parser, and keep an input for each.

By hand, at low priority (`nice -n 19`). What is kept is replayed by `tests/fuzz/test_corpus.py` for ever after.
"""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from tests.fuzz.inputs import inputs
from tests.fuzz.parsers import PARSERS, kind_of

CORPUS = Path(__file__).parent / "corpus"
MAX_KEPT = 4_096


def main(name: str, seconds: float) -> None:
    """Raises what a parser raised, with the input that made it do so in Hypothesis' words."""
    parse, folder = PARSERS[name], CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    shortest = {kind_of(parse(data)): data for data in (path.read_bytes() for path in sorted(folder.iterdir()))}
    tried, ends = 0, time.monotonic() + seconds
    while time.monotonic() < ends:

        @seed(int(time.time() * 1000))
        @settings(
            max_examples=5_000, deadline=None, database=None, phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(inputs(name))
        def round_of(data: bytes) -> None:
            nonlocal tried
            tried += 1
            kind = kind_of(parse(data))
            if len(data) <= MAX_KEPT and (kind not in shortest or len(data) < len(shortest[kind])):
                shortest[kind] = data

        round_of()
    for old in folder.iterdir():
        old.unlink()
    for kind, data in shortest.items():
        (folder / hashlib.sha256(kind.encode()).hexdigest()[:12]).write_bytes(data)
    sys.stdout.write(f"{name}: {tried} inputs, {len(shortest)} ways through\n" + "\n".join(sorted(shortest)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
