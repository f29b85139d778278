"""The two nkeys of a NATS auth callout: the account's that signs answers, and our own user's that logs in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import nkeys

ACCOUNT, RESPONDER = "account.nk", "responder.nk"


class KeysMissing(Exception):
    """A file is missing or holds no such key; the message names it."""


@dataclass(frozen=True)
class CalloutKeys:
    """``responder`` is a seed: nats-py wants its text."""

    account: nkeys.KeyPair
    responder: str

    def __repr__(self) -> str:
        return "CalloutKeys(...)"

    @property
    def issuer(self) -> str:
        """The account's public key: `issuer` in the server's configuration."""
        return bytes(self.account.public_key).decode()

    @property
    def user(self) -> str:
        """Our user's public key: among its `users` and `auth_users`."""
        return bytes(nkeys.from_seed(bytearray(self.responder.encode())).public_key).decode()


def read_keys(folder: Path) -> CalloutKeys:
    """Raises `KeysMissing`."""
    account = _read(folder / ACCOUNT, nkeys.PREFIX_BYTE_ACCOUNT)
    responder = _read(folder / RESPONDER, nkeys.PREFIX_BYTE_USER)
    return CalloutKeys(nkeys.from_seed(bytearray(account.encode())), responder)


def make_keys(folder: Path) -> CalloutKeys:
    """Those that are missing, mode 0600 from their first byte; those that are there stay. Raises `KeysMissing`."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, kind in ((ACCOUNT, nkeys.PREFIX_BYTE_ACCOUNT), (RESPONDER, nkeys.PREFIX_BYTE_USER)):
        try:
            handle = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        with os.fdopen(handle, "wb") as file:
            file.write(nkeys.encode_seed(os.urandom(32), kind) + b"\n")
    return read_keys(folder)


def _read(file: Path, kind: int) -> str:
    try:
        seed = file.read_text().strip()
        found, _ = nkeys.decode_seed(seed.encode())
    except (OSError, UnicodeDecodeError, nkeys.ErrInvalidSeed, nkeys.ErrInvalidPrefixByte) as error:
        raise KeysMissing(f"{file} holds no key: {error}") from None
    if found != kind:
        raise KeysMissing(f"{file} holds a key of another kind")
    return seed
