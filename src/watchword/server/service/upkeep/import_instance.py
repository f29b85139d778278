"""Import an exported instance into an empty one, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol

import msgspec

from ....jose.sealing import MasterKey
from ...audit.events import Event, InstanceImported
from .export_file import DamagedExport, read_export
from .export_instance import Heading, Piece


class Target(Protocol):
    """An empty database."""

    schema: str

    async def load(self, pieces: Iterator[Piece], event: Event) -> int:
        """In one transaction, which records `event` in every tenant. Raises `Conflict` when it is not empty.

        An exception of `pieces` rolls the transaction back.
        """


class ImportInstance:
    """Needs the master key of the exported instance; see `export_file`."""

    def __init__(self, target: Target, master: MasterKey, clock: Callable[[], float]) -> None:
        self._target, self._master, self._clock = target, master, clock

    async def __call__(self, file: BinaryIO, progress: Callable[[int], None] = lambda records: None) -> int:
        """Returns the number of records. Raises `DamagedExport`, `Conflict`; then nothing was changed."""
        event = InstanceImported(at=self._clock())
        return await self._target.load(pieces_of(file, self._master, self._target.schema, progress), event)


def pieces_of(
    file: BinaryIO, master: MasterKey, schema: str, progress: Callable[[int], None] = lambda records: None
) -> Iterator[Piece]:
    """The pieces after the heading. Raises `DamagedExport`."""
    raw = read_export(file, master)
    try:
        heading = msgspec.json.decode(next(raw), type=Heading)
        if heading.schema != schema:
            raise DamagedExport(
                f"the file has schema {heading.schema}, this version of Watchword has {schema}: "
                "import it with the version that made it, then upgrade that instance"
            )
        for each in raw:
            piece = msgspec.json.decode(each, type=Piece)
            yield piece
            progress(len(piece.records))
    except StopIteration:
        raise DamagedExport("the file is empty: export again") from None
    except msgspec.MsgspecError as error:
        raise DamagedExport(f"the file holds something that is not a record: {error}") from None
