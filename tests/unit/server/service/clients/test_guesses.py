"""Failures to prove oneself, counted in a fixed memory."""

from __future__ import annotations

import sys

from watchword.server.service.clients.guesses import FREE, OF_ANY, REMEMBERED, Guesses

NOW = 1_800_000_000.0


def test_rlm_007_a_million_addresses() -> None:
    """RLM-007: each new address would take memory for ever; each client id could be a megabyte of it."""
    guesses = Guesses(b"salt")
    for n in range(REMEMBERED + 5_000):
        guesses.failed("x" * 200, f"2001:db8:{n >> 16:x}:{n & 0xFFFF:x}::1", NOW)
    assert len(guesses) == REMEMBERED
    assert sys.getsizeof(next(iter(guesses._until))) < 64


def test_rlm_007_a_network_is_one_source() -> None:
    """RLM-007: whoever has a /64 would begin anew with each of its 2^64 addresses."""
    guesses = Guesses(b"salt")
    told = [guesses.failed("a", f"2001:db8:1:2:{n:x}::1", NOW) for n in range(FREE + 1)]
    assert told[:-1] == [0] * FREE
    assert told[-1] == 5
    assert guesses.failed("a", "2001:db8:1:3::1", NOW) == 0


def test_many_client_ids_from_one_source() -> None:
    """Trying one secret at every application in turn would never be told to slow down."""
    guesses = Guesses(b"salt")
    told = [guesses.failed(f"client {n}", "192.0.2.1", NOW) for n in range(OF_ANY * FREE + 1)]
    assert told == [0] * (OF_ANY * FREE) + [1]


def test_failures_are_forgotten() -> None:
    """A device that was repaired would be told to slow down by the mistakes of last week."""
    guesses = Guesses(b"salt")
    for _ in range(1_000):
        guesses.failed("a", "192.0.2.1", NOW)
    later = NOW + OF_ANY * FREE / 5 + FREE / 0.2 + 10
    assert guesses.failed("a", "192.0.2.1", later) == 0
