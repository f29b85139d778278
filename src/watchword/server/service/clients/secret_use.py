"""Record when each secret was last used: collected in memory and written every minute, except for some first uses."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping

from ..ports import StorageUnavailable

EVERY = 60.0
"""Seconds between writes: many rows written together, in order of their key, touch fewer pages."""
MOST = 20_000
"""Uses that wait in memory; with more than that they are written at once."""
PIECE = 50
"""Secrets in one transaction: a group commit waits for one transaction at most, and each secret is another page."""
REMEMBERED = 10_000
"""First uses that are remembered; a forgotten one is written again."""
Save = Callable[[Mapping[tuple[str, str], int]], Awaitable[None]]


class SecretUse:
    """Not durable: a crash may lose the last minute."""

    def __init__(self, save: Save) -> None:
        self._save = save
        self._saved_at = 0.0
        self._unsaved: dict[tuple[str, str], int] = {}
        self._first: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def first(self, tenant_id: str, secret_id: str, now: float) -> None:
        """Store a first use; on disk when this returns. Raises `StorageUnavailable`."""
        key = tenant_id, secret_id
        if key in self._first:
            return
        await self._save({key: int(now)})
        self._first[key] = None
        if len(self._first) > REMEMBERED:
            self._first.popitem(last=False)

    def note(self, tenant_id: str, secret_id: str, now: float) -> None:
        """Note that the secret was used just now."""
        self._unsaved[tenant_id, secret_id] = int(now)

    async def flush_when_due(self, now: float) -> None:
        """`flush`, once in `EVERY` seconds or when many uses wait."""
        if now - self._saved_at >= EVERY or len(self._unsaved) >= MOST:
            self._saved_at = now
            await self.flush()

    async def flush(self) -> None:
        """Write the collected uses, `PIECE` secrets a transaction."""
        unsaved, self._unsaved = sorted(self._unsaved.items()), {}
        for start in range(0, len(unsaved), PIECE):
            try:
                await self._save(dict(unsaved[start : start + PIECE]))
            except StorageUnavailable:
                self._unsaved = {**dict(unsaved[start:]), **self._unsaved}
                raise
