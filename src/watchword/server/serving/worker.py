"""What each worker process loads; settings come from the process that started it."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from typing import Any

import msgspec
import structlog

from ..app import Application
from ..config import INHERITED, Settings
from .no_core_dumps import no_core_dumps


class LossyWriter:
    """Log lines to stderr; a full disk or closed pipe loses lines, counts them, and never stops a token."""

    def __init__(self, target: Any = None) -> None:
        self._target = target if target is not None else sys.stderr
        self.lost = 0

    def write(self, text: str) -> None:
        """One line."""
        try:
            self._target.write(text)
        except OSError:
            self.lost += 1

    def flush(self) -> None:
        """As far as it goes."""
        try:
            self._target.flush()
        except OSError:
            self.lost += 1


def application() -> Application:
    """The ASGI application."""
    no_core_dumps()
    settings = msgspec.json.decode(os.environ[INHERITED], type=Settings)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO if settings.debug else logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(LossyWriter()),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )
    _collect_rarely()
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the process that started this worker replaces it
    return Application(settings)


def _collect_rarely() -> None:
    """What is imported by now stays: no collection looks at it again.

    A request leaves few cycles behind, so it is enough to look for them once in some hundred requests; at Python's
    own threshold it costs 5 % of the tokens (bench/README.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
