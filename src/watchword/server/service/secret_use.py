"""When each secret was last used: gathered in memory, written now and then; but for first uses that end something."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping

from .ports import StorageUnavailable

PIECE = 200
"""Secrets of one transaction: tokens wait for it, and after a storm there are a hundred thousand to write."""
REMEMBERED = 10_000
"""First uses; one that was forgotten is written again."""
Save = Callable[[Mapping[tuple[str, str], int]], Awaitable[None]]


class SecretUse:
    """A lost minute of it harms nobody, so it is not part of any promise."""

    def __init__(self, save: Save) -> None:
        self._save = save
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

    async def flush(self) -> None:
        """Write what is new, piece by piece."""
        unsaved, self._unsaved = list(self._unsaved.items()), {}
        for start in range(0, len(unsaved), PIECE):
            try:
                await self._save(dict(unsaved[start : start + PIECE]))
            except StorageUnavailable:
                self._unsaved = {**dict(unsaved[start:]), **self._unsaved}
                raise
