"""Rows of a long list with which something was not done, and why: all to a file, or the first ones to the person."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from .. import say

SHOWN: Final = 10
Tell = Callable[[str, Sequence[str]], None]
"""A sentence for the person, and the cells for the file."""


@contextmanager
def told_to(
    report: Path | None, header: Sequence[str], more: str = "say --report FILE for all of them"
) -> Iterator[Tell]:
    """Exits with 1 when the file cannot be written."""
    if report is None:
        told = 0

        def show(sentence: str, _cells: Sequence[str]) -> None:
            nonlocal told
            told += 1
            if told <= SHOWN:
                say.warn(sentence)
            if told == SHOWN:
                say.warn(f"and maybe more: {more}")

        yield show
        return
    try:
        file = report.open("w", newline="", encoding="utf-8")
    except OSError as error:
        say.fail(f"cannot write {report}: {error.strerror}", "name a file that you may write to")
    with file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        yield lambda _sentence, cells: writer.writerow(cells)
