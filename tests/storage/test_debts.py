"""What workers add up of limits, with two nodes on one database."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from tests.support.nodes import Node, at_once

from watchword.server.service.ports import StorageUnavailable
from watchword.server.service.tokens.ports import Spending
from watchword.server.storage import schema

Pair = tuple[Node, Node]


def spending(subject: str, begins: float, cost: float) -> Spending:
    """Of one tenant."""
    return Spending("tenant", subject, begins, cost, 1)


async def test_what_two_nodes_spent_adds_up(pair: Pair) -> None:
    """Each node would know of itself alone, and the limit hold for each of them."""
    a, b = (node.services.storage.debts for node in pair)
    assert await a.add([spending("device", 100.0, 2.0)]) == [102.0]
    assert await b.add([spending("device", 100.0, 3.0)]) == [105.0]
    assert await a.add([spending("device", 200.0, 1.0)]) == [201.0]
    assert await a.add([]) == []


async def test_the_debts_come_back_in_order(pair: Pair) -> None:
    """One application would be held to another's debt."""
    debts = pair[0].services.storage.debts
    given = [spending("c", 30.0, 1.0), spending("a", 10.0, 2.0), spending("b", 20.0, 3.0)]
    assert await debts.add(given) == [31.0, 12.0, 23.0]
    other = Spending("other", "a", 5.0, 1.0, 1)
    assert await debts.add([other]) == [6.0]


async def test_nothing_is_lost_when_all_add_at_once(pair: Pair) -> None:
    """Of two that add at one moment the later would take the place of the earlier; or both wait for each other."""
    subjects = [f"device {n}" for n in range(20)]

    def adding(node: Node, order: list[str]) -> Callable[[], object]:
        return lambda: node.services.storage.debts.add([spending(name, 100.0, 1.0) for name in order])

    works = [adding(pair[n % 2], subjects if n % 4 < 2 else subjects[::-1]) for n in range(12)]
    assert not [each for each in await at_once(*works) if isinstance(each, Exception)]  # type: ignore[arg-type]
    ends = await pair[0].services.storage.debts.add([spending(name, 0.0, 0.0) for name in subjects])
    assert ends == [112.0] * 20


async def test_paid_debts_are_forgotten(pair: Pair) -> None:
    """A row for every device that ever asked would stay for good."""
    node, now = pair[0], pair[0].clock.now
    await node.services.storage.debts.add([spending("paid", now - 100, 1.0), spending("owed", now, 1.0)])
    await node.services.upkeep.housekeeping.purge()
    async with node.engine.connect() as connection:
        assert (await connection.execute(sa.select(schema.debt.c.subject))).scalars().all() == ["owed"]


async def test_a_database_that_fails_is_told_as_such(pair: Pair) -> None:
    """The worker would stop telling for good, or refuse a request for it."""
    node = pair[0]
    async with node.engine.begin() as connection:
        await connection.execute(sa.text("DROP TABLE debt"))
    with pytest.raises(StorageUnavailable):
        await node.services.storage.debts.add([spending("device", 100.0, 1.0)])
