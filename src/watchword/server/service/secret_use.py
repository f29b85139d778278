"""When each secret was last used: gathered in memory, written now and then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from .ports import StorageUnavailable

Save = Callable[[Mapping[tuple[str, str], int]], Awaitable[None]]


class SecretUse:
    """A lost minute of it harms nobody, so it is not part of any promise."""

    def __init__(self, save: Save) -> None:
        self._save = save
        self._unsaved: dict[tuple[str, str], int] = {}

    def note(self, tenant_id: str, secret_id: str, now: float) -> None:
        """The secret proved somebody just now."""
        self._unsaved[tenant_id, secret_id] = int(now)

    async def flush(self) -> None:
        """Write what is new."""
        if self._unsaved:
            unsaved, self._unsaved = self._unsaved, {}
            try:
                await self._save(unsaved)
            except StorageUnavailable:
                self._unsaved = {**unsaved, **self._unsaved}
                raise
