"""Where the administrative verbs get their credentials: environment, else the profile that `init` wrote."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from msgspec import Struct

from .say import fail


class Profile(Struct, frozen=True):
    """An issuer and the credentials of one application there."""

    issuer: str
    client_id: str
    client_secret: str

    def __repr__(self) -> str:
        return f"Profile({self.issuer!r}, {self.client_id!r}, ...)"


def path() -> Path:
    """WATCHWORD_PROFILE, else ~/.config/watchword/profile.toml."""
    base = Path(os.environ.get("XDG_CONFIG_HOME", str(Path.home() / ".config")))
    return Path(os.environ.get("WATCHWORD_PROFILE", str(base / "watchword" / "profile.toml")))


def write(profile: Profile) -> Path:
    """Mode 0600 from its first byte."""
    target = path()
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = target.with_suffix(f".{os.getpid()}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        for name in profile.__struct_fields__:
            file.write(f'{name} = "{getattr(profile, name)}"\n')
    fresh.replace(target)
    return target


def issuer() -> str | None:
    """The issuer alone, for whoever needs no credentials; None when none is set."""
    return os.environ.get("WATCHWORD_ISSUER") or _written().get("issuer")


def _written() -> dict[str, str]:
    return tomllib.loads(path().read_text()) if path().exists() else {}


def load() -> Profile:
    """Environment first. Exits with 1 and says what to set."""
    found = _written()
    for name in Profile.__struct_fields__:
        found[name] = os.environ.get(f"WATCHWORD_{name.upper()}", found.get(name, ""))
    secret_file = os.environ.get("WATCHWORD_CLIENT_SECRET_FILE")
    if secret_file:
        found["client_secret"] = Path(secret_file).read_text().strip()
    missing = [f"WATCHWORD_{name.upper()}" for name in Profile.__struct_fields__ if not found.get(name)]
    if missing:
        fail(f"not set: {', '.join(missing)}", f"set them, or let `watchword init` write {path()}")
    return Profile(found["issuer"], found["client_id"], found["client_secret"])
