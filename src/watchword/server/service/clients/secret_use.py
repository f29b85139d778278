"""When each secret was last used: gathered in memory, written now and then; but for first uses that end something."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping

from ..ports import StorageUnavailable

EVERY = 60.0
"""Seconds: what is written together and in order of its key is written to fewer pages than a piece each ten seconds."""
MOST = 20_000
"""That wait to be written; then they are not waited for."""
PIECE = 50
"""Secrets of one transaction: a commit of tokens waits for one of them at most, and each secret is another page."""
REMEMBERED = 10_000
"""First uses; one that was forgotten is written again."""
Save = Callable[[Mapping[tuple[str, str], int]], Awaitable[None]]


class SecretUse:
    """A lost minute of it harms nobody, so it is not part of any promise."""

    def __init__(self, save: Save) -> None:
        self._save = save
        self._saved_at = 0.0
        self._unsaved: dict[tuple[str, str], int] = {}
        self._first: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def first(self, tenant_id: str, secret_id: str, now: float) -> None:
        """On disk when this returns: from then on the secret is not given again. Raises `StorageUnavailable`."""
        key = tenant_id, secret_id
        if key in self._first:
            return
        await self._save({key: int(now)})
        self._first[key] = None
        if len(self._first) > REMEMBERED:
            self._first.popitem(last=False)

    def note(self, tenant_id: str, secret_id: str, now: float) -> None:
        """The secret proved somebody just now."""
        self._unsaved[tenant_id, secret_id] = int(now)

    async def flush_when_due(self, now: float) -> None:
        """`flush`, once in `EVERY` seconds or when there are many."""
        if now - self._saved_at >= EVERY or len(self._unsaved) >= MOST:
            self._saved_at = now
            await self.flush()

    async def flush(self) -> None:
        """Write what is new, piece by piece."""
        unsaved, self._unsaved = sorted(self._unsaved.items()), {}
        for start in range(0, len(unsaved), PIECE):
            try:
                await self._save(dict(unsaved[start : start + PIECE]))
            except StorageUnavailable:
                self._unsaved = {**dict(unsaved[start:]), **self._unsaved}
                raise
