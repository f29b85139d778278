"""How much is let in at once."""

from __future__ import annotations

import pytest

from watchword.server.protocol.admission import A_QUEUE, FIRST, FLOOR, Admission

WITHIN = 0.5


def fill(share: Admission, group: str, count: int) -> int:
    """How many of these got in."""
    entered = 0
    for _ in range(count):
        if not share.full(group):
            share.enter(group)
            entered += 1
    return entered


def test_no_more_than_the_limit() -> None:
    """Whoever is let in beyond it waits until he gives up, and asks again."""
    share = Admission(WITHIN)
    assert (fill(share, "a", FIRST + 100), share.in_flight) == (FIRST, FIRST)
    share.leave("a")
    assert not share.full("a")


@pytest.mark.parametrize(("answered", "limit"), [(1_000, 1_000), (200, 200), (10, FLOOR)])
def test_the_limit_is_what_can_be_answered_in_time(answered: int, limit: int) -> None:
    """A slower database would make every answer late instead of some callers wait; a faster one would stand idle."""
    share = Admission(WITHIN)
    share.measure(100.0)
    for _ in range(answered):
        share.enter("a")
        share.leave("a")
    share.measure(100.5)
    assert share.limit == limit


def test_leisure_does_not_count() -> None:
    """After a quiet night the first second of the storm would be let in by the floor."""
    share = Admission(WITHIN)
    share.measure(100.0)
    share.enter("a")
    share.leave("a")
    share.measure(40_000.0)
    assert share.limit == FIRST


def test_one_group_does_not_keep_out_another() -> None:
    """One tenant's broken fleet would be every tenant's outage."""
    share = Admission(WITHIN, first=90)
    assert fill(share, "noisy", 1_000) == 90
    assert fill(share, "quiet", 40) == 40
    assert share.full("noisy")
    assert fill(share, "late", 40) == 30
    assert share.in_flight == 160


def test_whoever_has_left_is_no_group() -> None:
    """A tenant that asked once would take its part of the limit for ever."""
    share = Admission(WITHIN, first=10)
    fill(share, "noisy", 10)
    share.enter("quiet")
    share.leave("quiet")
    share.leave("noisy")
    assert fill(share, "noisy", 5) == 1


def test_half_requests_take_nobodys_place() -> None:
    """An outsider would close the door with as many bodies that never end as are let in."""
    waiting = 0
    share = Admission(WITHIN, first=10, idle=lambda: waiting)
    fill(share, "a", 10)
    assert share.full("a")
    waiting = 10
    assert fill(share, "a", 20) == 10


def test_those_who_are_refused_come_one_after_another() -> None:
    """All of them at the same second would be the same storm again."""
    share = Admission(WITHIN, first=100)
    turns = [share.refuse(50.0) for _ in range(400)]
    assert turns == sorted(turns)
    assert turns[-1] == pytest.approx(2.0)
    assert share.refused == 400


def test_a_queue_before_the_door_is_refused_and_a_hiccup_is_not() -> None:
    """What waits in the kernel is in no count: without this, all would be let in, and all be late."""
    share = Admission(WITHIN)
    assert [share.late(0.6, False) for _ in range(A_QUEUE)] == [False] * A_QUEUE
    assert [share.late(0.6, False) for _ in range(3 * A_QUEUE)].count(True) == 3 * A_QUEUE // 2
    assert not any(share.late(0.1, False) for _ in range(2 * A_QUEUE))
    assert not share.late(5.0, False)


def test_of_two_that_are_late_one_is_served() -> None:
    """While more come than can even be refused, a hundred thousand devices were refused for minutes and few served."""
    share = Admission(WITHIN)
    refused = [share.late(9.0, False) for _ in range(10 * A_QUEUE)][A_QUEUE:]
    assert refused[::2] != refused[1::2]
    assert refused.count(True) == len(refused) // 2


def test_what_is_spent_on_refusals_does_not_lower_the_limit() -> None:
    """A second of nothing but refusals would leave the door closed after the queue has gone."""
    share = Admission(WITHIN)
    share.measure(100.0, full=False)
    share.measure(100.5, full=False)
    assert (share.limit, share.rate) == (FIRST, FIRST / WITHIN / 2)


def test_whoever_is_gone_is_not_served() -> None:
    """In the longest queue every fifth token was made for a device that had given up."""
    share = Admission(WITHIN)
    assert share.late(0.6, True)
    assert not share.late(0.4, True)
    assert [share.late(0.6, False) for _ in range(A_QUEUE)] == [False] * A_QUEUE
