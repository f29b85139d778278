"""Asking again while nobody answers: for long work whose every request may be repeated."""

from __future__ import annotations

import random
import threading
import time
from typing import Annotated, Any, Final

import typer

from .. import say
from ..api_client import AdminClient, Refused

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 10.0
Seconds = Annotated[float, typer.Option("--patience", help="Seconds to go on asking a server that does not answer")]


class Patience:
    """Shared by all requests that are on their way: an outage is told once, and not by each of them."""

    def __init__(self, client: AdminClient, seconds: float) -> None:
        self._client, self._seconds = client, seconds
        self._telling = threading.Lock()
        self._told = False
        self._over = threading.Event()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON. Raises `Refused`: at once for what another try would not change."""
        began, pause = time.monotonic(), FIRST_PAUSE
        while True:
            try:
                answer = self._client.ask(method, path, body)
            except Refused as refused:
                if not refused.again or time.monotonic() - began + pause > self._seconds or self._over.is_set():
                    raise
                self._tell(refused)
            else:
                self._told = False
                return answer
            self._over.wait(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, LONGEST_PAUSE)

    def end(self) -> None:
        """Whoever waits for another try has waited long enough."""
        self._over.set()

    def _tell(self, refused: Refused) -> None:
        with self._telling:
            if not self._told:
                say.warn(f"{refused.text}: asking again for up to {self._seconds:.0f} s")
                self._told = True
