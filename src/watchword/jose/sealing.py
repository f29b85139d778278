"""The master key: encrypts private keys for the database, and derives a key for each other purpose.

It is a file of mode 0600 and never in the database. HKDF-SHA-256 (RFC 5869) derives one key per purpose. AES-256-GCM
encrypts (seals) private keys, with the row they belong to as associated data: a sealed key cannot be moved to another
row.
"""

from __future__ import annotations

import hmac
import os
import stat
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE = 12


class SealBroken(Exception):
    """Decryption failed: another master key sealed this, or the sealed bytes were changed."""


class MasterKey:
    """32 random bytes that never leave this object."""

    def __init__(self, raw: bytes) -> None:
        if len(raw) != 32:
            raise ValueError("a master key has 32 bytes")
        self._raw = raw
        self._sealing = AESGCM(self.derive(b"watchword seal v1"))

    def __repr__(self) -> str:
        return "MasterKey(...)"

    def derive(self, purpose: bytes) -> bytes:
        """The 32-byte key for one purpose."""
        return HKDF(hashes.SHA256(), 32, salt=None, info=purpose).derive(self._raw)

    def seal(self, plain: bytes, place: str) -> bytes:
        """Encrypt, bound to one place, such as a row of the database."""
        nonce = os.urandom(_NONCE)
        return nonce + self._sealing.encrypt(nonce, plain, place.encode())

    def unseal(self, sealed: bytes, place: str) -> bytes:
        """Decrypt. Raises `SealBroken`."""
        try:
            return self._sealing.decrypt(sealed[:_NONCE], sealed[_NONCE:], place.encode())
        except (InvalidTag, ValueError):  # ValueError: shorter than a nonce
            raise SealBroken(f"cannot open what was sealed for {place.split('/')[0]}") from None

    def mac(self, purpose: bytes, message: bytes) -> bytes:
        """A MAC under the key of a purpose, for cursors and checks."""
        return hmac.digest(self.derive(purpose), message, "sha256")


def load_master_key(path: Path) -> MasterKey:
    """Read the key file. Raises FileNotFoundError, PermissionError (others may read it), ValueError."""
    mode = path.stat().st_mode
    if stat.S_IMODE(mode) & 0o077:
        raise PermissionError(f"{path} can be read by others (mode {stat.S_IMODE(mode):04o}): chmod 600 {path}")
    return MasterKey(bytes.fromhex(path.read_text().strip()))


def create_master_key(path: Path) -> MasterKey:
    """Write a new key file with mode 0600, durably; an existing one is never replaced (FileExistsError).

    The file is written atomically: a process that starts at the same moment never reads half a key.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = os.urandom(32)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(raw.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(unfinished, path)
    finally:
        unfinished.unlink()
    return MasterKey(raw)
