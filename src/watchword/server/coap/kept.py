"""What the listener keeps of its senders, within bounds: answers for repeated messages, and requests in blocks.

aiocoap bounds both by time only, so a stranger who reaches the port could fill the memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiocoap import CON, Message

from ..protocol.rate import source_of
from ..service.kept import Kept

MOST_ANSWERS = 10_000
"""Of one worker. A device repeats its message after 2 to 45 seconds: enough for 200 requests a second."""
MOST_BLOCKS = 128
"""Requests whose blocks are not all there, of 4 KiB at most; as many answers that are fetched in blocks."""
EXCHANGE_LIFETIME, MAX_TRANSMIT_WAIT = 247.0, 93.0
"""Seconds (RFC 7252 section 4.8.2)."""


class Blocks(Kept[Message]):
    """Requests and answers in blocks. What is used stays longer: a slow device sends block after block."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(MOST_BLOCKS, MAX_TRANSMIT_WAIT, clock, sender_of)

    def __getitem__(self, key: Any) -> Message:
        message = super().__getitem__(key)
        self[key] = message
        return message


def sender_of(key: Any) -> str:
    """The address that counts as one sender, of an endpoint of aiocoap or of its key for blocks."""
    sender = key[0]
    sockaddr = getattr(sender, "sockaddr", None) or sender[0]
    return source_of(str(sockaddr[0]))


class Repeats:
    """Recognises messages that came before (RFC 7252 section 4.5), in place of what aiocoap's message manager does."""

    def __init__(self, manager: Any, clock: Callable[[], float]) -> None:
        self._manager = manager
        self.answers: Kept[Message | None] = Kept(MOST_ANSWERS, EXCHANGE_LIFETIME, clock, sender_of)
        manager._deduplicate_message, manager._store_response_for_duplicates = self.known, self.keep

    def known(self, message: Message) -> bool:
        """True for a repeat; one that waits for an acknowledgement gets the same answer, if there is one yet."""
        key = message.remote, message.mid
        if key not in self.answers:
            self.answers[key] = None
            return False
        answer = self.answers[key]
        if answer is not None and message.mtype is CON:
            self._manager._send_initially(answer)
        return True

    def keep(self, answer: Message) -> None:
        """Without the request, which may have 4 KiB."""
        key = answer.remote, answer.mid
        if key in self.answers:
            answer.request = None
            self.answers[key] = answer
