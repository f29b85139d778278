"""Read a client secret from the environment, a file, systemd, Kubernetes or a keyring.

A source is called for each token request: after a rotation the next request uses the new secret, without a restart.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from watchword.client.errors import SecretMissing
from watchword.client.secret import Secret

SecretSource = Callable[[], Secret]

SYSTEMD_NAME = "watchword-client-secret"
"""The name of the systemd credential, a file in ``$CREDENTIALS_DIRECTORY``."""
BIGGEST_SECRET = 8192
"""Bytes. A larger file is a mistake, such as a log file."""


def from_environment(name: str = "WATCHWORD_CLIENT_SECRET") -> SecretSource:
    """The environment variable ``name``."""

    def read() -> Secret:
        if not (text := os.environ.get(name)):
            raise SecretMissing(f"the environment has no {name}")
        return Secret(text)

    return read


def from_file(path: str | os.PathLike[str]) -> SecretSource:
    """A file; white space at its ends is not part of the secret.

    A mounted Kubernetes secret is such a file: the kubelet swaps the link behind it in one step.
    """
    place = Path(path)

    def read() -> Secret:
        try:
            with place.open("rb") as file:
                text = file.read(BIGGEST_SECRET + 1).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SecretMissing(f"no secret can be read from {place} ({type(error).__name__})") from None
        if not text or len(text) > BIGGEST_SECRET:
            raise SecretMissing(f"{place} is empty or too large to be a secret")
        return Secret(text)

    return read


def from_systemd(name: str = SYSTEMD_NAME) -> SecretSource:
    """``LoadCredential=name:...`` of the unit (systemd.exec(5)): a file in ``$CREDENTIALS_DIRECTORY``."""

    def read() -> Secret:
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise SecretMissing("no $CREDENTIALS_DIRECTORY: give the unit a LoadCredential= line")
        return from_file(Path(folder, name))()

    return read


def from_keyring(service: str, user: str) -> SecretSource:
    """The keyring of the operating system; needs the keyring package (``pip install watchword[keyring]``)."""

    def read() -> Secret:
        try:
            import keyring
        except ImportError:
            raise SecretMissing("the keyring package is not installed: pip install 'watchword[keyring]'") from None
        try:
            text = keyring.get_password(service, user)
        except Exception as error:  # each backend has errors of its own
            raise SecretMissing(f"the keyring does not answer ({type(error).__name__})") from None
        if not text:
            raise SecretMissing(f"the keyring has nothing for {user} at {service}")
        return Secret(text)

    return read
