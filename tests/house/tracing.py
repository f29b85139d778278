"""Which files of the server a piece of work enters, in order."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from tests.house.test_rules import ROOT

SOURCE = f"{ROOT / 'src' / 'watchword'}/"


@contextmanager
def entered_files() -> Iterator[list[str]]:
    """The files below `src/watchword` that this thread enters, each time that it comes from another one.

    Resumed coroutines count as entered.
    """
    seen: list[str] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(SOURCE):
            short = name.removeprefix(SOURCE)
            if not seen or seen[-1] != short:
                seen.append(short)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield seen
    finally:
        sys.setprofile(before)
