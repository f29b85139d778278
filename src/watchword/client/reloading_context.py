"""A TLS context that loads its client certificate again when the files have changed. Imported only when used."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

from watchword.client.errors import SecretMissing


class ReloadingContext(ssl.SSLContext):
    """Checks its files before each connection: httpx, urllib3 and requests wrap sockets, asyncio and aiohttp bios."""

    _files: tuple[Path, Path]
    _seen: object = None

    def follow(self, certificate: Path, key: Path) -> None:
        """Load them now, and again whenever they have changed."""
        self._files = certificate, key
        self._refresh()

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        """See `ssl.SSLContext`."""
        self._refresh()
        return super().wrap_socket(*args, **options)

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """See `ssl.SSLContext`."""
        self._refresh()
        return super().wrap_bio(*args, **options)

    def _refresh(self) -> None:
        try:
            now = [(found.st_mtime_ns, found.st_size, found.st_ino) for found in map(os.stat, self._files)]
            if now == self._seen:
                return
            # In the middle of a renewal the two files do not match: the context then keeps the last pair that did.
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(*self._files, password=_no_passphrase)
            self.load_cert_chain(*self._files, password=_no_passphrase)
            self._seen = now
        except (OSError, ValueError) as error:
            if self._seen is None:
                listed = " and ".join(str(file) for file in self._files)
                raise SecretMissing(f"{listed} are no certificate with its key ({type(error).__name__})") from None


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")
