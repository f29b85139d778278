"""When secrets were last used, written now and then."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from watchword.server.service.clients.secret_use import EVERY, MOST, PIECE, SecretUse
from watchword.server.service.ports import StorageUnavailable


async def test_a_storm_is_written_in_pieces() -> None:
    """One transaction of a hundred thousand rows kept every token waiting for seconds, each ten seconds."""
    pieces: list[int] = []

    async def save(used: Mapping[tuple[str, str], int]) -> None:
        pieces.append(len(used))

    uses = SecretUse(save)
    for n in range(2 * PIECE + 1):
        uses.note("t", f"s{n}", 1.5)
    await uses.flush()
    await uses.flush()
    assert pieces == [PIECE, PIECE, 1]


async def test_what_was_not_written_is_kept() -> None:
    """The rest would be lost when the database goes away between two pieces, or written over what is newer."""
    saved: dict[tuple[str, str], int] = {}
    away = True

    async def save(used: Mapping[tuple[str, str], int]) -> None:
        if away and saved:
            raise StorageUnavailable("away")
        saved.update(used)

    uses = SecretUse(save)
    for n in range(2 * PIECE):
        uses.note("t", f"s{n}", 1)
    with pytest.raises(StorageUnavailable):
        await uses.flush()
    uses.note("t", f"s{2 * PIECE - 1}", 2)
    away = False
    await uses.flush()
    assert len(saved) == 2 * PIECE
    assert saved["t", f"s{2 * PIECE - 1}"] == 2


async def test_few_uses_wait_for_their_minute_and_many_do_not() -> None:
    """A busy fleet's times would be written page by page every ten seconds, or fill the memory for a minute."""
    pieces: list[list[tuple[str, str]]] = []

    async def save(used: Mapping[tuple[str, str], int]) -> None:
        pieces.append(list(used))

    uses = SecretUse(save)
    uses.note("t", "b", 1_000)
    await uses.flush_when_due(1_000.0)
    uses.note("t", "b", 1_001)
    uses.note("t", "a", 1_002)
    await uses.flush_when_due(1_000 + EVERY - 1)
    assert pieces == [[("t", "b")]]
    await uses.flush_when_due(1_000 + EVERY)
    assert pieces[1:] == [[("t", "a"), ("t", "b")]], "in order of their key they share pages"
    for n in range(MOST):
        uses.note("t", f"s{n}", 1_100)
    await uses.flush_when_due(1_001 + EVERY)
    assert sum(map(len, pieces[2:])) == MOST
