"""Write and read export files: encrypted pieces that can only be read as a whole.

Every piece is encrypted under the master key for its own place (this export, its number, last or
not), so that an altered, missing, moved or truncated piece is detected. The file is bound to the
master key because its content is: secrets are HMACs under a key that derives from it, and signing
keys are encrypted with it. The file has neither that key nor any secret's text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from ....jose.sealing import MasterKey, SealBroken

_MAGIC = b"watchword export v1\n"
_ID, _SIZE = 16, 4
_LARGEST = 64 * 1024 * 1024


class DamagedExport(Exception):
    """The file is no export, incomplete, or made with another master key; the text says what to do."""


def _place(export_id: bytes, number: int, last: bool) -> str:
    return f"export/{export_id.hex()}/{number}/{'last' if last else 'more'}"


class ExportWriter:
    """`close` writes the last piece; without it the file is damaged."""

    def __init__(self, file: BinaryIO, master: MasterKey, export_id: bytes) -> None:
        self._file, self._master, self._id, self._number = file, master, export_id, 0
        file.write(_MAGIC + export_id)

    def write(self, piece: bytes, *, last: bool = False) -> None:
        """Encrypt and append."""
        sealed = self._master.seal(piece, _place(self._id, self._number, last))
        self._file.write((b"\1" if last else b"\0") + len(sealed).to_bytes(_SIZE, "big") + sealed)
        self._number += 1

    def close(self) -> None:
        """Write the last piece, by which readers know that nothing is missing."""
        self.write(b"", last=True)


def read_export(file: BinaryIO, master: MasterKey) -> Iterator[bytes]:
    """The pieces. Raises `DamagedExport`, possibly after some of them: use none before the end was read."""
    if file.read(len(_MAGIC)) != _MAGIC:
        raise DamagedExport("this is not a file that `watchword export` wrote")
    export_id = file.read(_ID)
    number, last = 0, False
    while not last:
        head = file.read(1 + _SIZE)
        size = int.from_bytes(head[1:], "big")
        sealed = file.read(size) if len(head) == 1 + _SIZE and size <= _LARGEST else b""
        if not sealed or len(sealed) != size:
            raise DamagedExport("the file is cut off: copy it again, or export again")
        last = head[:1] == b"\1"
        try:
            piece = master.unseal(sealed, _place(export_id, number, last))
        except SealBroken:
            raise DamagedExport(
                "the file was changed, or was made under another master key: "
                "name that instance's key file with WATCHWORD_MASTER_KEY_FILE"
            ) from None
        number += 1
        if not last:
            yield piece
    if file.read(1):
        raise DamagedExport("something stands behind the file's end: copy it again, or export again")
