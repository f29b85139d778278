"""The sums of rejected requests: bounded on disk and in memory, and nothing is lost."""

from __future__ import annotations

from collections import Counter

import msgspec
from tests.support.instance import Clock

from watchword.server.protocol.errors import InvalidRequest
from watchword.server.service.clients.guesses import Guesses
from watchword.server.service.tokens.refusals import MOST_ROWS, MOST_SUMS, OTHERS, Refusals


def refusals(clock: Clock) -> Refusals:
    return Refusals(clock, lambda: "id", Guesses(b"salt", 10))


def refuse(these: Refusals, address: str, slug: str = "default") -> None:
    these.note(slug, InvalidRequest("no"), (address, 1), "", "")


def test_one_network_is_one_sum() -> None:
    """One stranger with a /64 would have as many sums as he likes."""
    these = refusals(Clock())
    for number in range(200):
        refuse(these, f"2001:db8:1:2::{number:x}")
        refuse(these, f"203.0.113.{number}")
    assert {(key[2], found.count) for key, found in these.take()} == {
        ("2001:db8:1:2::/64", 200), ("203.0.113.0/24", 200),
    }  # fmt: skip


def test_a_flood_is_bounded_and_counted() -> None:
    """Strangers with a /32 would write 163 KB every ten seconds, or fill the memory, or make the count wrong."""
    clock = Clock()
    these = refusals(clock)
    refuse(these, "198.51.100.1", "acme")
    for number in range(20_000):
        clock.now += 0.001
        refuse(these, f"2001:db8:{number // 65_536:x}:{number % 65_536:x}::1")
        if number % 10 == 0:
            refuse(these, "203.0.113.9")
    written = Counter[str]()
    first = these.take(MOST_ROWS)
    assert len(first) == MOST_ROWS
    assert len(msgspec.json.encode([these.event(*each) for each in first])) < 12_000
    loud = next(found for key, found in first if key[2] == "203.0.113.0/24")
    assert loud.count == 2_000
    others = next(found for key, found in first if key[:1] + key[2:] == ("default", OTHERS))
    assert others.sources == others.count > 18_000
    assert ("acme", OTHERS) in [(key[0], key[2]) for key, _ in first], "one tenant's strangers hid another's"
    rounds = [first]
    while taken := these.take(MOST_ROWS):
        rounds.append(taken)
    for key, found in (each for taken in rounds for each in taken):
        written[key[0]] += found.count
    assert written == {"default": 22_000, "acme": 1}
    assert len(rounds) <= (MOST_SUMS + 2) // MOST_ROWS + 1


def test_a_failure_to_write_loses_no_count() -> None:
    """While the database is away, what strangers try would be forgotten."""
    these = refusals(Clock())
    refuse(these, "203.0.113.1")
    taken = these.take(MOST_ROWS)
    refuse(these, "203.0.113.2")
    these.put_back(taken)
    assert [found.count for _, found in these.take()] == [2]
