"""The arithmetic of limits."""

import pytest

from watchword.server.protocol.rate import LONGEST_WAIT, merged, retry_after, share_of, source_of, spent, turn, wait
from watchword.server.registry.errors import Invalid
from watchword.server.registry.rate_limit import RateLimit, check_rate_limit

NOW = 1_800_000_000.0


def admitted(limit: RateLimit, times: list[float]) -> int:
    until, count = 0.0, 0
    for now in times:
        if not wait(until, now, limit):
            until, count = spent(until, now, limit), count + 1
    return count


@pytest.mark.parametrize("per_second", [0.001, 0.3, 7, 10, 1_000])
@pytest.mark.parametrize("burst", [1, 10, 50, 3_000])
def test_a_burst_is_admitted_whole_and_no_more(per_second: float, burst: int) -> None:
    """Off by one here refuses a device's first request, or lets everybody have one more than was agreed."""
    assert admitted(RateLimit(per_second=per_second, burst=burst), [NOW] * (burst + 20)) == burst


def test_after_the_burst_the_rate_holds() -> None:
    """Whoever asks ten times as often as he may gets the rate, and not nothing."""
    times = [NOW + step / 100 for step in range(1_000)]
    assert admitted(RateLimit(per_second=10, burst=5), times) == pytest.approx(105, abs=1)


def test_two_nodes_debts_add_up() -> None:
    """What two nodes admitted, charged to one number, is what one node would have charged."""
    limit = RateLimit(per_second=10, burst=10)
    assert spent(spent(0, NOW, limit, 4), NOW, limit, 6) == pytest.approx(spent(0, NOW, limit, 10))


def test_whoever_is_alone_is_judged_as_before() -> None:
    """What comes back from the database would take a part of the rate from a worker that nobody shares it with."""
    limit = RateLimit(per_second=10, burst=10)
    until = spent(spent(0, NOW, limit, 3), NOW + 0.1, limit)
    shared = max(0.0, until - 4 / 10) + 4 / 10
    assert merged(until, 0, shared, limit) == pytest.approx(until)


def test_what_was_spent_meanwhile_comes_on_top() -> None:
    """Tokens that are given out while the database is asked would be in nobody's count."""
    limit = RateLimit(per_second=10, burst=10)
    before = spent(0, NOW, limit, 3)
    since = spent(before, NOW, limit, 2)
    assert merged(since, 2, before + 0.5, limit) == pytest.approx(NOW + 1.0)
    assert merged(since, 2, before, limit) == pytest.approx(since)


@pytest.mark.parametrize(("per_second", "burst", "share"), [(1.0, 1, 1), (0.1, 9, 1), (10, 50, 5), (2_000, 20, 20)])
def test_a_share_is_a_tenth_of_the_burst(per_second: float, burst: int, share: int) -> None:
    """Too great, and workers give out more than the limit; too small at a great rate, and they do nothing but tell."""
    assert share_of(RateLimit(per_second=per_second, burst=burst)) == share


def test_the_wait_is_as_long_as_it_says() -> None:
    """A Retry-After that is too short sends the same caller into the same refusal."""
    limit = RateLimit(per_second=2, burst=1)
    until = spent(0, NOW, limit)
    assert wait(until, NOW + wait(until, NOW, limit), limit) == 0.0 < wait(until, NOW, limit)


def test_those_who_are_refused_are_told_different_times() -> None:
    """All told the same second would come back as the same storm; told too long, our own callers give up."""
    queue, told = 0.0, []
    for _ in range(1_000):
        queue = turn(queue, NOW, 20)
        told.append(queue - NOW)
    assert told[99] == pytest.approx(5.0)
    assert max(told) == LONGEST_WAIT
    assert max(retry_after(LONGEST_WAIT, chance) for chance in (0.0, 0.5, 0.999)) <= 30


def test_retry_after_is_whole_and_never_zero() -> None:
    """RLM-004: 0 or a fraction is read as "at once" or not at all."""
    assert {retry_after(0.01, chance / 10) for chance in range(10)} == {1, 2}


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::2", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("a unix socket", "unknown"),
    ],
)
def test_an_ipv6_network_is_one_source(address: str, source: str) -> None:
    """RLM-007: whoever has a /64 has 2^64 addresses, and would be counted anew with each."""
    assert source_of(address) == source


@pytest.mark.parametrize(("per_second", "burst"), [(0.0, 1), (-1.0, 1), (float("nan"), 1), (1e9, 1), (1.0, 0)])
def test_a_limit_that_is_none_is_refused(per_second: float, burst: int) -> None:
    """A rate of zero or NaN would divide by zero, or admit everybody, at the first request."""
    with pytest.raises(Invalid):
        check_rate_limit(RateLimit(per_second=per_second, burst=burst), "rate_limit")
