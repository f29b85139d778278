"""What one core can sign and nothing else: `python -m bench.signing ALGORITHM SECONDS` prints signatures a second."""

from __future__ import annotations

import sys
import time

from watchword.jose import Algorithm, PrivateKey


def main() -> None:
    """A hundred at a time, until the time is over."""
    sign, count = PrivateKey.generate(Algorithm(sys.argv[1])).sign, 0
    message = b"x" * 400
    began = time.perf_counter()
    ends = began + float(sys.argv[2])
    while time.perf_counter() < ends:
        for _ in range(100):
            sign(message)
        count += 100
    sys.stdout.write(f"{count / (time.perf_counter() - began)}\n")


if __name__ == "__main__":
    main()
