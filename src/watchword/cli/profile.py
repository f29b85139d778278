"""Whose credentials a command uses: the environment's, else those of a named profile.

One file, mode 0600. What `init` writes at its top is the profile ``default``; others are tables::

    current = "staging"
    issuer = "http://127.0.0.1:8480/t/default"
    client_id = "..."
    client_secret = "..."

    [profiles.staging]
    issuer = "https://id.example/t/acme"
    client_id = "..."
    client_secret_file = "/run/secrets/nightly"

In place of a secret, `client_key_file` (PEM) signs assertions, `platform` or `platform_token_file` uses the identity
that the platform gives, and `client_certificate_file` (PEM) beside the key proves it by mutual TLS. `dpop_key_file`
(PEM) binds the tokens of administrative verbs.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from watchword.client import DpopKey, Proof, SecretMissing, from_file, surroundings
from watchword.client.sources import SecretSource

from .say import fail, misuse

DEFAULT = "default"
_FIELDS = ("issuer", "client_id", *surroundings.FIELDS, "dpop_key_file")
_MAX_BYTES = 1_048_576


class Profile(Struct, frozen=True):
    """An issuer, one application there, and by what it proves itself (`watchword.client.surroundings`)."""

    issuer: str = ""
    client_id: str = ""
    client_secret: str = ""
    client_secret_file: str = ""
    client_certificate_file: str = ""
    client_key_file: str = ""
    client_key_id: str = ""
    platform: str = ""
    platform_token_file: str = ""
    dpop_key_file: str = ""

    def __repr__(self) -> str:
        return f"Profile({self.issuer!r}, {self.client_id!r}, ...)"

    def proof(self) -> SecretSource | Proof:
        """What `ClientCredentials` takes. Exits with 2 for a platform that is none."""
        try:
            found = surroundings.proof_of(self._given(), self.issuer)
        except ValueError as error:
            misuse(str(error))
        assert found is not None, "load() has looked"
        return found

    def secret(self) -> SecretSource:
        """For what knows no other proof. Exits with 2 when this application has another."""
        found = self.proof()
        if not callable(found):
            misuse("this needs an application with a client secret", "name one: watchword profile set, or --profile")
        return found

    def proves_itself(self) -> bool:
        """Whether anything is there to prove the application with."""
        return any(name != "client_key_id" for name in self._given())

    def shown(self) -> dict[str, str]:
        """The fields of its proof; a secret is only said to be there."""
        return {**self._given(), **({"client_secret": "kept in the profile"} if self.client_secret else {})}

    def _given(self) -> dict[str, str]:
        return {name: value for name in surroundings.FIELDS if (value := getattr(self, name))}

    def dpop(self) -> DpopKey | None:
        """The key that tokens are bound to, where there is one. Exits with 1 when the file holds none."""
        if not self.dpop_key_file:
            return None
        from watchword.jose import JoseError

        try:
            return DpopKey.from_pem(from_file(self.dpop_key_file)().reveal().encode())
        except (SecretMissing, JoseError) as error:
            fail(f"no DPoP key: {error}", "WATCHWORD_DPOP_KEY_FILE names a private key: ES256, EdDSA or PS256, PEM")


class Profiles(Struct, frozen=True):
    """All that the file holds."""

    named: dict[str, Profile]
    current: str = DEFAULT


def path_or_none() -> Path | None:
    """WATCHWORD_PROFILE, else ~/.config/watchword/profile.toml; None for a user without a home directory."""
    given = os.environ.get("WATCHWORD_PROFILE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CONFIG_HOME")
    try:
        return (Path(base) if base else Path.home() / ".config") / "watchword" / "profile.toml"
    except RuntimeError:
        return None


def path() -> Path:
    """The profile file. Exits with 1 when this user has no home directory and no other place is named."""
    found = path_or_none()
    if found is None:
        fail("this user has no home directory for profiles", "set WATCHWORD_PROFILE to a file, or HOME to a folder")
    return found


def read(file: Path | None = None) -> Profiles:
    """Every profile, of this file or of another one. Exits with 1 when it cannot be read, or others may read it."""
    place = file or path_or_none()
    if place is None:
        return Profiles({})
    try:
        with place.open() as opened:
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
            written = tomllib.loads(opened.read(_MAX_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return Profiles({})
    except (OSError, ValueError) as error:
        fail(f"cannot read {place}: {error}")
    if mode & 0o077 and _has_secret(written):
        fail(f"{place} holds a secret and others can read it (mode {mode:04o})", f"run: chmod 600 {place}")
    tables = {str(name): _profile(table) for name, table in dict(written.get("profiles", {})).items()}
    if any(name in written for name in _FIELDS):
        tables[DEFAULT] = _profile(written)
    return Profiles(tables, str(written.get("current", DEFAULT)))


def keep(profiles: Profiles, target: Path | None = None) -> Path:
    """Write the file, or another one of its form, in one step, mode 0600 from its first byte, and on disk."""
    target = target or path()
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        put_in_place(write_beside(target, profiles), target)
    except OSError as error:
        fail(f"cannot write {target}: {error.strerror}", "free space, or set WATCHWORD_PROFILE to another file")
    return target


def write_beside(target: Path, profiles: Profiles) -> Path:
    """The file as it will be, on disk under a temporary name (mode 0600). Raises OSError, and leaves nothing then."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    fresh = Path(name)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(_as_toml(profiles))
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    return fresh


def put_in_place(fresh: Path, target: Path) -> None:
    """Rename, and make the rename durable. Raises OSError."""
    fresh.replace(target)
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def with_new_secret(issuer: str, client_id: str, client_secret: str) -> str | None:
    """Put the new secret into the profile of this application; its name, None when no profile holds its secret."""
    known = read()
    for name, one in known.named.items():
        if (one.issuer, one.client_id) == (issuer, client_id) and one.client_secret:
            changed = replace(one, client_secret=client_secret)
            keep(Profiles({**known.named, name: changed}, known.current))
            return name
    return None


def chosen(name: str | None = None) -> str:
    """The profile that is meant: ``name``, else WATCHWORD_PROFILE_NAME, else the current one."""
    return name or os.environ.get("WATCHWORD_PROFILE_NAME") or read().current


def load(name: str | None = None) -> Profile:
    """The environment first, unless a profile is asked for by name. Exits with 1 and says what to set."""
    known, wanted = read(), chosen(name)
    asked = name is not None or "WATCHWORD_PROFILE_NAME" in os.environ
    if asked and wanted not in known.named:
        misuse(f"there is no profile {wanted}", "`watchword profile list` shows those there are")
    found = known.named.get(wanted, Profile())
    if not asked:
        found = _with_environment(found)
    missing = [f"WATCHWORD_{field.upper()}" for field in _FIELDS[:2] if not getattr(found, field)]
    if not found.proves_itself():
        missing.append("WATCHWORD_CLIENT_SECRET")
    if missing:
        hint = f"set them, or let `watchword init` write {path()}; a proof without a secret: docs/jobs.md"
        fail(f"not set: {', '.join(missing)}", hint)
    if found.client_secret_file:
        try:
            from_file(found.client_secret_file)()
        except SecretMissing as error:
            fail(str(error))
    return found


def complete(incomplete: str) -> list[str]:
    """Names of profiles, for the shell."""
    return [name for name in sorted(read().named) if name.startswith(incomplete)]


def issuer() -> str | None:
    """The issuer alone, for whoever needs no credentials; None when none is set."""
    return _with_environment(read().named.get(chosen(), Profile())).issuer or None


def _with_environment(found: Profile) -> Profile:
    one = replace(
        found,
        issuer=os.environ.get("WATCHWORD_ISSUER") or found.issuer,
        client_id=os.environ.get("WATCHWORD_CLIENT_ID") or found.client_id,
        dpop_key_file=os.environ.get("WATCHWORD_DPOP_KEY_FILE") or found.dpop_key_file,
    )
    given = surroundings.in_environment()
    return replace(one, **{name: given.get(name, "") for name in surroundings.FIELDS}) if given else one


def _has_secret(written: dict[str, Any]) -> bool:
    tables = [written, *dict(written.get("profiles", {})).values()]
    return any(table.get("client_secret") for table in tables)


def _profile(table: dict[str, Any]) -> Profile:
    return Profile(**{name: str(table[name]) for name in _FIELDS if name in table})


def _as_toml(profiles: Profiles) -> str:
    lines = [f"current = {_text(profiles.current)}"] if profiles.current != DEFAULT else []
    lines += _lines(profiles.named.get(DEFAULT, Profile()))
    for name, profile in sorted(profiles.named.items()):
        if name != DEFAULT:
            lines += ["", f"[profiles.{_text(name)}]", *_lines(profile)]
    return "\n".join(lines) + "\n"


def _lines(profile: Profile) -> list[str]:
    return [f"{name} = {_text(getattr(profile, name))}" for name in _FIELDS if getattr(profile, name)]


def _text(value: str) -> str:
    """A TOML basic string; JSON's escapes are a part of TOML's."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
