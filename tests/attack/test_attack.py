"""What outsiders tried on a running server, each part on its own; `python -m tests.attack` runs the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.attack.memory import left_behind
from tests.attack.proxies import THROUGH, through
from tests.attack.requests import SENT, Sent
from tests.attack.splits import differences
from tests.attack.worst import READERS, STEEPEST, growth, worst
from tests.support.instance import instance
from tests.support.served import serving


@pytest.mark.parametrize("sent", SENT, ids=[sent.name for sent in SENT])
async def test_the_same_bytes_in_other_pieces(sent: Sent) -> None:
    """A stranger's body would run as a request of the next caller's, with that caller's token."""
    assert await differences(sent) == []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A real one, for all the proxies."""
    with serving(tmp_path_factory.mktemp("attacked"), WATCHWORD_WRONG_PROOFS="1000000") as base:
        yield int(base.rpartition(":")[2])


@pytest.mark.parametrize("proxy", THROUGH)
def test_nobody_gets_anothers_answer(proxy: str, server: int, tmp_path: Path) -> None:
    """Callers behind one proxy would get each other's tokens."""
    assert through(proxy, server, tmp_path / proxy) == []


async def test_no_refusal_stays_in_memory(tmp_path: Path) -> None:
    """Anybody could fill a worker's memory with requests that are refused: each would keep its body."""
    async with instance(tmp_path) as ww:
        assert await left_behind(ww) == []


@pytest.mark.parametrize("name", READERS)
def test_the_worst_bytes_are_read_in_linear_time(name: str) -> None:
    """One request of some kilobytes would stop a worker for minutes, before anybody is asked who he is."""
    found = worst(name)
    assert growth(found) <= STEEPEST, found
