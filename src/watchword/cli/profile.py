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


def path() -> Path:
    """WATCHWORD_PROFILE, else ~/.config/watchword/profile.toml."""
    base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Path(os.environ.get("WATCHWORD_PROFILE") or base / "watchword" / "profile.toml")


def read(file: Path | None = None) -> Profiles:
    """Every profile, of this file or of another one. Exits with 1 when it is not ours to read, or not TOML."""
    place = file or path()
    try:
        written = tomllib.loads(place.read_text())
    except FileNotFoundError:
        return Profiles({})
    except (OSError, ValueError) as error:
        fail(f"{place} cannot be read: {error}")
    tables = {str(name): _profile(table) for name, table in dict(written.get("profiles", {})).items()}
    if any(name in written for name in _FIELDS):
        tables[DEFAULT] = _profile(written)
    return Profiles(tables, str(written.get("current", DEFAULT)))


def keep(profiles: Profiles, target: Path | None = None) -> Path:
    """Write the file, or another one of its form, in one step, mode 0600 from its first byte, and on disk."""
    target = target or path()
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(_as_toml(profiles))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(target)
    return target


def write(profile: Profile) -> Path:
    """Make ``profile`` the default one; the others stay."""
    known = read()
    return keep(Profiles({**known.named, DEFAULT: profile}, known.current))


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
