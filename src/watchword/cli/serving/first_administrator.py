"""Keep the credentials of a new administrator: the place is proven to be writable before the administrator exists.

In this order: nothing to keep, when the operator gives a public key (`WATCHWORD_ADMIN_KEY_FILE`); a new file
(`WATCHWORD_ADMIN_SECRET_FILE`); a profile of this user, never one that exists; a profile file beside the master key,
for users without a home directory. The secret is on disk before the database commits, and it is printed to a
terminal or as requested JSON only: standard output of a service ends in a log.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final, Protocol

from filelock import FileLock, Timeout
from msgspec import Struct

from .. import profile, say

LOCK_TIMEOUT: Final = 10
"""Seconds to wait for another process that writes the profile file."""


class CannotKeep(Exception):
    """A place that cannot hold the secret; the text says why."""


class Keeper(Protocol):
    """A place for the credentials of one administrator."""

    def hold(self, client_id: str, client_secret: str) -> None:
        """Write them, durably, under a temporary name. Raises `CannotKeep`; then nothing is left behind."""

    def settle(self) -> str:
        """The administrator exists: give the file its name. Returns a sentence for the operator."""

    def drop(self) -> None:
        """The administrator does not exist: remove what `hold` wrote."""


class KeyOnly(Struct, frozen=True):
    """The administrator authenticates with a key of the operator's: there is no secret."""

    file: str

    def hold(self, client_id: str, client_secret: str) -> None:
        """Nothing to write."""

    def settle(self) -> str:
        """Whose key it is."""
        return f"The administrator authenticates with the private key that belongs to {self.file}."

    def drop(self) -> None:
        """Nothing to remove."""


class SecretFile:
    """A new file that holds the secret and nothing else, mode 0600."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def hold(self, client_id: str, client_secret: str) -> None:
        """The file must not exist, not even as a link."""
        try:
            _write_new(self._path, client_secret + "\n")
        except FileExistsError:
            raise CannotKeep(f"{self._path} exists already: remove it or name a new file") from None
        except OSError as error:
            raise CannotKeep(f"cannot write {self._path}: {error.strerror}") from None

    def settle(self) -> str:
        """Where it is."""
        return f"The secret is in {self._path} (mode 0600)."

    def drop(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)


class ProfileFile:
    """A new profile in a profile file. Existing profiles, and which one is current, stay as they are."""

    def __init__(self, target: Path, issuer: str) -> None:
        self._target, self._issuer = target, issuer
        self._fresh: Path | None = None
        self._lock: FileLock | None = None
        self.name = self._current = profile.DEFAULT

    def hold(self, client_id: str, client_secret: str) -> None:
        """The whole file under a temporary name, while no other process may change it."""
        try:
            if self._target.exists() and not self._target.is_file():
                raise CannotKeep(f"{self._target} is not a regular file")
            self._target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = FileLock(self._target.with_name(f".{self._target.name}.lock"), timeout=LOCK_TIMEOUT)
            self._lock.acquire()
            known = profile.read(self._target)
            self.name = unused_name(known.named)
            self._current = known.current if known.current in known.named else self.name
            made = profile.Profile(self._issuer, client_id, client_secret)
            named = {**known.named, self.name: made}
            self._fresh = profile.write_beside(self._target, profile.Profiles(named, self._current))
        except (OSError, Timeout) as error:
            self.drop()
            raise CannotKeep(f"cannot write {self._target}: {getattr(error, 'strerror', None) or error}") from None

    def settle(self) -> str:
        """Which profile it is, and how to use it when another one is current."""
        assert self._fresh is not None
        try:
            profile.put_in_place(self._fresh, self._target)
        except OSError as error:
            return f"The credentials are in {self._fresh}: {self._target} cannot be replaced ({error.strerror})."
        finally:
            self._release()
        kept = f"The id and the secret are profile {self.name} in {self._target} (mode 0600)."
        if self._current != self.name:
            kept += f" Commands still use profile {self._current}. Change that: watchword profile use {self.name}"
        if self._target != profile.path_or_none():
            kept += f" Use it with WATCHWORD_PROFILE={self._target}"
        return kept

    def drop(self) -> None:
        """Remove the temporary file."""
        if self._fresh is not None:
            self._fresh.unlink(missing_ok=True)
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()


class ShownOnly(Struct, frozen=True):
    """No file can be written, and somebody sees the output."""

    def hold(self, client_id: str, client_secret: str) -> None:
        """Nothing to write."""

    def settle(self) -> str:
        """What to do now."""
        return "No file could be written for the secret: keep it now, it is shown this once."

    def drop(self) -> None:
        """Nothing to remove."""


class FirstOf:
    """The first place of several that can be written."""

    def __init__(self, places: list[Keeper]) -> None:
        self._places = places
        self._kept: Keeper | None = None

    def hold(self, client_id: str, client_secret: str) -> None:
        """Tries each in turn. Raises `CannotKeep` with the reasons of all."""
        reasons = []
        for place in self._places:
            try:
                place.hold(client_id, client_secret)
            except CannotKeep as error:
                reasons.append(str(error))
                continue
            self._kept = place
            return
        raise CannotKeep("; ".join(reasons))

    def settle(self) -> str:
        """Of the place that was taken."""
        assert self._kept is not None
        return self._kept.settle()

    def drop(self) -> None:
        """Of the place that was taken."""
        if self._kept is not None:
            self._kept.drop()


def unused_name(named: dict[str, profile.Profile]) -> str:
    """`default`, else `default-2`, `default-3`: a profile is never replaced."""
    name, number = profile.DEFAULT, 1
    while name in named:
        number += 1
        name = f"{profile.DEFAULT}-{number}"
    return name


def keeper(settings: Any, issuer: str, seen: bool) -> Keeper:
    """Where a new administrator's credentials go. `seen`: a person or a script reads our output."""
    if settings.admin_key_file:
        return KeyOnly(settings.admin_key_file)
    if settings.admin_secret_file:
        return SecretFile(Path(settings.admin_secret_file))
    places: list[Keeper] = []
    home = profile.path_or_none()
    if home is not None:
        places.append(ProfileFile(home, issuer))
    beside = Path(settings.master_key_file).absolute().parent / "watchword-administrator.toml"
    places.append(ProfileFile(beside, issuer))
    if seen:
        places.append(ShownOnly())
    return FirstOf(places)


def read_public_key(file: str) -> dict[str, Any]:
    """A JWK set from a file with a public key: PEM, a JWK or a JWK set. Exits with 2 when it holds none."""
    from watchword.jose import JoseError, PublicKey

    try:
        text = Path(file).read_text()[:65_536]
    except (OSError, UnicodeDecodeError) as error:
        say.misuse(f"cannot read {file}: {getattr(error, 'strerror', None) or 'not text'}")
    try:
        if text.lstrip().startswith("-----"):
            found: Any = PublicKey.from_pem(text.encode()).to_jwk()
        else:
            found = json.loads(text)
    except (ValueError, JoseError) as error:
        say.misuse(f"{file} holds no public key: {error}", "use a public key as PEM, a JWK or a JWK set")
    return found if isinstance(found, dict) and "keys" in found else {"keys": [found]}


def _write_new(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise
