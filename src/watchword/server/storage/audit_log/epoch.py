"""The epoch: number and hash of the newest checkpoint, in a file beside the master key.

An attacker who has only the database cannot change the file, so a database that lost its newest checkpoints, or an old
copy of it, shows. Where the folder cannot be written (a key mounted read-only), the epoch lives as long as the process.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from ...audit.checkpoints import place_of, text_of
from ...audit.verification import Place


class EpochUnreadable(Exception):
    """The file exists and cannot be read; the text says what to do."""


class Epoch:
    """One file. `why_not` says why it could not be written, and is empty if it was."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.why_not = ""

    def read(self) -> Place | None:
        """None: there is no file. Raises `EpochUnreadable`."""
        try:
            return place_of(self.path.read_text("ascii"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise EpochUnreadable(
                f"cannot read the audit epoch {self.path}: {error}. Restore the file from your backup; if you delete "
                "it, compare the log with an outside witness first (watchword audit verify --expect)"
            ) from None

    def advance(self, place: Place) -> None:
        """Write atomically, mode 0600. Never to a lower number."""
        try:
            with _locked(self.path):
                known = self.read()
                if known is None or known[0] < place[0]:
                    _replace(self.path, text_of(place))
            self.why_not = ""
        except OSError as error:
            self.why_not = f"{error.strerror or error}"

    def unwritable(self) -> str:
        """Why the file cannot be written; empty if it can."""
        folder = self.path.absolute().parent
        written = [folder, self.path] if self.path.exists() else [folder]
        return next((f"{place} cannot be written" for place in written if not os.access(place, os.W_OK)), "")


class _locked:
    """Processes of one host take turns, by a lock on the folder."""

    def __init__(self, path: Path) -> None:
        self._folder = path.absolute().parent

    def __enter__(self) -> None:
        self._handle = os.open(self._folder, os.O_RDONLY)
        fcntl.flock(self._handle, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)


def _replace(path: Path, text: str) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
