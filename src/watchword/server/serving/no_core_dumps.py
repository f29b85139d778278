"""No memory of this process on disk after a crash: it holds signing keys, secrets and tokens.

A core limit of 0 is not enough where the kernel pipes cores into a program (core(5)), so the process also says that it
must not be dumped (prctl(2), PR_SET_DUMPABLE). Root can still profile it.
"""

from __future__ import annotations

import ctypes
import resource
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def no_core_dumps() -> None:
    """For this process. Call it in each worker again: exec() makes a process dumpable, only the limit is inherited."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
