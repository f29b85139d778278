"""Secrets of many devices on disk, for one reader: a folder of age files (age-encryption.org/v1), one a batch.

A file appears whole and stays. While the work (an import, a rotation) is not complete, the key that its secrets are
made of stands beside them, so that the same command goes on where it was stopped; it goes when the last answer is on
disk.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from .. import say
from .cells import harmless

UNFINISHED: Final = "import.json"
HEADER: Final = ("serial", "client_id", "client_secret")


class Bundle:
    """A folder of mode 0700 and what is written to it."""

    def __init__(self, folder: Path, recipients: list[Any], key: str) -> None:
        self.folder, self._recipients, self.key = folder, recipients, key

    def __repr__(self) -> str:
        return f"Bundle({self.folder})"

    def write(self, number: int, rows: Iterable[tuple[str, str, str]]) -> None:
        """The rows of one batch, durable before this returns; nothing when there are none."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerows([harmless(cell) for cell in row] for row in rows)
        if text.tell():
            plain = text.getvalue().encode()
            _put(self.folder / f"{number:06}.csv.age", _age().encrypt(plain, self._recipients), replacing=True)

    def next_number(self) -> int:
        """Behind the files that are there: what an interrupted run has told is not written over."""
        return 1 + max((int(found.name[:6]) for found in self.folder.glob("*.csv.age")), default=0)

    def finish(self) -> None:
        """All answers are on disk: nobody needs the key any more."""
        (self.folder / UNFINISHED).unlink(missing_ok=True)
        _sync(self.folder)


def begin(folder: Path, recipients: list[str], source: str) -> Bundle:
    """A new bundle, or the unfinished one of the same work (`source`: its digest). Exits with 1 or 2."""
    if not recipients:
        say.misuse("nobody could open this bundle", "name who may with --recipient age1...")
    readers = [_recipient(text) for text in recipients]
    _private(folder)
    place = folder / UNFINISHED
    if not place.exists():
        if any(found.suffix == ".age" for found in folder.iterdir()):
            say.fail(f"{folder} holds a bundle that is complete", "name a new folder")
        key = base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
        begun = {"bundle_key": key, "source": source, "recipients": sorted(recipients)}
        with suppress(FileExistsError):  # the same work began at the same moment: it is the same one
            _put(place, json.dumps(begun).encode(), replacing=False)
    said = _unfinished(place)
    if said["source"] != source or said["recipients"] != sorted(recipients):
        say.fail(
            f"{folder} belongs to other work or other recipients, and it is not complete",
            "run that command again, or name a new folder",
        )
    return Bundle(folder, readers, said["bundle_key"])


def opened(folder: Path, identity: Path) -> Iterator[str]:
    """The lines of all its files, decrypted. Exits with 1 when that cannot be."""
    age = _age()
    try:
        texts = [line.strip() for line in identity.read_text().splitlines()]
        keys = [age.x25519.Identity.from_str(text) for text in texts if text.startswith("AGE-SECRET-KEY-")]
        files = sorted(folder.glob("*.csv.age"))
    except (OSError, ValueError, age.IdentityError):
        say.fail(f"cannot read {identity}", "name a file as age-keygen writes it")
    if not keys:
        say.fail(f"{identity} holds no AGE-SECRET-KEY", "name a file as age-keygen writes it")
    if not files:
        say.fail(f"{folder} holds no bundle", "name the folder that --bundle named")
    for file in files:
        try:
            yield from age.decrypt(file.read_bytes(), keys).decode().splitlines()
        except (OSError, age.DecryptError) as error:
            say.fail(f"cannot open {file}: {error}", "was the bundle made for this identity?")


def incomplete(folder: Path) -> bool:
    """Whether the import into it still has to be run again."""
    return (folder / UNFINISHED).exists()


def _age() -> Any:
    try:
        import pyrage
    except ImportError:
        say.fail("bundles need the library pyrage", "pip install 'watchword[bundle]'")
    return pyrage


def _recipient(text: str) -> Any:
    age = _age()
    try:
        return age.x25519.Recipient.from_str(text)
    except age.RecipientError:
        say.misuse(f"{text!r} is no recipient", "a recipient begins with age1: `age-keygen` prints it")


def _private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = folder.stat().st_mode
    except OSError as error:
        say.fail(f"cannot make {folder}: {error.strerror}", "name a folder that you may write to")
    if stat.S_IMODE(mode) & 0o077:
        say.fail(f"others can look into {folder}", f"chmod 700 {folder}")


def _unfinished(place: Path) -> dict[str, Any]:
    try:
        found = json.loads(place.read_text())
        return {"bundle_key": found["bundle_key"], "source": found["source"], "recipients": found["recipients"]}
    except (OSError, ValueError, KeyError, TypeError):
        say.fail(f"cannot read {place}", "name a new folder: `watchword device rotate` writes new secrets into it")


def _put(place: Path, content: bytes, *, replacing: bool) -> None:
    """Whole or not at all, and on disk. Raises `FileExistsError` when it is there and is not to be replaced."""
    fresh = place.with_name(f".{place.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        fresh.unlink()
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if replacing:
        fresh.replace(place)
    else:
        try:
            os.link(fresh, place)
        finally:
            fresh.unlink()
    _sync(place.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def secrets_of(rows: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """Serial number, client id and secret of the devices of an answer that were given one."""
    for row in rows:
        if row.get("client_secret"):
            yield row["serial"], row["client_id"], row["client_secret"]
