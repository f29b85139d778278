"""Who keeps a connection when there are more callers than places."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from tests.support.wire import Member

from watchword.server.serving.crowd import Crowd

ROOM = 6
SOURCES = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "10.0.0.1"]


class Leaving(Member):
    """Leaves when it is closed, as a connection does."""

    def __init__(self, crowd: Crowd, idle: bool = False) -> None:
        self.crowd, self.idle = crowd, idle

    def close(self) -> None:
        """Its place is taken."""
        self.closed = True
        self.crowd.leave(self)


def entered(crowd: Crowd, address: str, count: int) -> list[Leaving]:
    """Connections of one address, one after another."""
    found = [Leaving(crowd) for _ in range(count)]
    for one in found:
        crowd.enter(one, address)
    return found


def test_one_source_cannot_hold_all_places() -> None:
    """A single machine that opens connections and says nothing would keep everybody out, our health check too."""
    crowd = Crowd(ROOM)
    greedy = entered(crowd, "192.0.2.1", ROOM)
    greedy[3].idle = True
    assert not crowd.enter(Leaving(crowd), "192.0.2.2"), "there is a place"
    assert [one.closed for one in greedy] == [n == 3 for n in range(ROOM)], "the idle one's"
    assert crowd.enter(Leaving(crowd), "192.0.2.1"), "and none for who holds the most"


def test_addresses_of_one_network_are_one_source() -> None:
    """Whoever has a /64 has 2^64 addresses: each would be another caller."""
    crowd = Crowd(ROOM)
    for n in range(ROOM):
        entered(crowd, f"2001:db8::{n:x}", 1)
    assert crowd.enter(Leaving(crowd), "2001:db8::ffff")
    assert not crowd.enter(Leaving(crowd), "2001:db8:0:1::1")


def test_a_proxy_is_many_callers() -> None:
    """The callers behind the balancer would be cut off for one stranger beside it."""
    crowd = Crowd(ROOM, {"10.0.0.1"})
    proxied = entered(crowd, "10.0.0.1", ROOM)
    assert crowd.enter(Leaving(crowd), "192.0.2.1")
    assert not any(one.closed for one in proxied)


def test_a_handshake_keeps_its_place() -> None:
    """Each connection would count twice, or none would count before it has spoken."""
    crowd = Crowd(1)
    shaking, connection = Leaving(crowd), Leaving(crowd)
    assert not crowd.enter(shaking, "192.0.2.1")
    assert not crowd.enter(connection, "192.0.2.1", shaking)
    crowd.leave(shaking)
    assert len(crowd) == 1
    crowd.leave(connection)
    assert len(crowd) == 0


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(SOURCES), st.integers(0, 40)), max_size=60))
def test_the_count_is_right(steps: Sequence[tuple[bool, str, int]]) -> None:
    """A place that is lost with each caller would close the listener for good."""
    crowd, members = Crowd(ROOM, {"10.0.0.1"}), list[Leaving]()
    for enters, source, which in steps:
        if enters or not members:
            members += entered(crowd, source, 1)
        else:
            crowd.leave(members.pop(which % len(members)))
        members = [one for one in members if not one.closed]
        assert len(crowd) == len(members)
    for one in members:
        crowd.leave(one)
    assert (len(crowd), crowd._most, crowd._held, crowd._by_size) == (0, 0, {}, {})
