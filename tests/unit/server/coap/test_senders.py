"""The memory of the CoAP listener has bounds, and a sender who fills it loses his own first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from aiocoap import ACK, CON, NON, POST, Message

from watchword.server.coap.kept import EXCHANGE_LIFETIME, MOST_ANSWERS, Blocks, Repeats, sender_of
from watchword.server.service.kept import Kept


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Endpoint:
    """A sender, as aiocoap has it."""

    def __init__(self, address: str, port: int = 4_711) -> None:
        self.sockaddr = address, port, 0, 0


class Manager:
    """What is left of aiocoap's message manager: it sends."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def _send_initially(self, message: Any) -> None:
        self.sent.append(message)


def message(sender: Endpoint, mid: int, kind: Any = CON, **more: Any) -> Any:
    return SimpleNamespace(remote=sender, mid=mid, mtype=kind, **more)


def test_a_repeat_gets_the_same_answer_and_no_second_token() -> None:
    """A datagram that came twice would issue two tokens (RFC 7252 section 4.5)."""
    manager, clock, one = Manager(), Clock(), Endpoint("2001:db8::1")
    repeats = Repeats(manager, clock)
    assert not repeats.known(message(one, 1))
    assert repeats.known(message(one, 1))
    assert manager.sent == []
    answer = message(one, 1, ACK, request=Message(code=POST, payload=b"x" * 4_096))
    repeats.keep(answer)
    assert answer.request is None, "the request is not kept with its answer"
    assert repeats.known(message(one, 1))
    assert repeats.known(message(one, 1, NON))
    assert manager.sent == [answer]
    assert not repeats.known(message(one, 2))
    assert not repeats.known(message(Endpoint("2001:db8::2"), 1))
    repeats.keep(message(one, 99, ACK, request=None))
    assert not repeats.known(message(one, 99)), "what was sent without being asked answers nothing"
    clock.now += EXCHANGE_LIFETIME
    assert not repeats.known(message(one, 1))
    assert len(repeats.answers) == 1


def test_strangers_cannot_fill_the_memory() -> None:
    """4 KB a sender for 247 s: a stranger who makes up senders would take all memory."""
    repeats = Repeats(Manager(), Clock())
    for n in range(2 * MOST_ANSWERS):
        repeats.known(message(Endpoint(f"2001:db8:{n >> 8:x}:{n & 255:x}::1"), 1))
    assert len(repeats.answers) == MOST_ANSWERS


def test_a_greedy_sender_loses_its_own() -> None:
    """One device in a loop would make the listener forget what the others sent."""
    kept: Kept[int] = Kept(10, 60.0, Clock(), sender_of)
    quiet = [(Endpoint(f"198.51.100.{n}"), n) for n in range(4)]
    for key in quiet:
        kept[key] = 0
    greedy = [(Endpoint("::ffff:192.0.2.1", port), port) for port in range(100)]
    for key in greedy:
        kept[key] = 1
    assert len(kept) == 10
    assert all(key in kept for key in quiet)
    assert [key in kept for key in greedy] == [False] * 94 + [True] * 6


def test_what_is_used_stays_longer() -> None:
    """A request that comes in blocks, slowly, would be forgotten between two of them."""
    clock = Clock()
    kept = Blocks(clock)
    first, second = ((("192.0.2.1", 1), None), POST, b""), ((("192.0.2.2", 1), None), POST, b"")
    kept[first], kept[second] = "a", "b"
    clock.now += 60
    assert kept[first] == "a"
    clock.now += 60
    assert (first in kept, second in kept, len(kept)) == (True, False, 1)
