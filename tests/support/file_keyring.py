"""A backend for the keyring package: a JSON file, named by the environment. For tests of what we do with a keyring."""

from __future__ import annotations

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.errors import PasswordDeleteError


class FileKeyring(KeyringBackend):
    """Keeps passwords where ``TEST_KEYRING`` says."""

    priority = 1  # type: ignore[assignment]

    def get_password(self, service: str, username: str) -> str | None:
        return self._read().get(f"{service}/{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        Path(os.environ["TEST_KEYRING"]).write_text(json.dumps({**self._read(), f"{service}/{username}": password}))

    def delete_password(self, service: str, username: str) -> None:
        raise PasswordDeleteError("these tests delete none; the class that this derives from wants the method")

    def _read(self) -> dict[str, str]:
        place = Path(os.environ["TEST_KEYRING"])
        return dict(json.loads(place.read_text())) if place.exists() else {}
