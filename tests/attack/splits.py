"""Every request of `requests.py` at one connection of ours, cut at every byte: it is answered as it is when whole."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.attack.requests import SENT, Sent
from tests.support.wire import Caller, Message, Send

TURNS = 18
"""Of the event loop: three for a request, for the most that is sent ahead."""


async def echo(scope: Message, receive: Any, send: Send) -> None:
    """Tells what reached it; nothing to callers that did not finish."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message["more_body"]
    headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
    told = json.dumps([scope["method"], scope["path"], headers, body.decode("latin-1")]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": told})


async def answered(*pieces: bytes) -> bytes:
    """All that is written to a caller that sends these, each after the one before was dealt with."""
    caller = Caller(echo)
    for piece in pieces:
        if not caller.wire.closed:
            caller.connection.data_received(piece)
            await settled()
    caller.connection.eof_received()
    await settled()
    caller.connection.connection_lost(None)
    await caller.send()
    return b"".join(one for one in caller.wire.writes if not one.startswith(b"HTTP/1.1 100 "))


async def settled() -> None:
    """Until whatever can go on without more bytes has gone on."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


def statuses(written: bytes) -> tuple[int, ...]:
    """Of the answers."""
    return tuple(int(part[:3]) for part in written.split(b"HTTP/1.1 ")[1:] if part[:3].isdigit())


async def differences(sent: Sent) -> list[str]:
    """What is wrong with how it is answered; empty: nothing."""
    whole = await answered(sent.data)
    found = [] if statuses(whole) == sent.statuses else [f"{sent.name}: whole: {statuses(whole)}"]
    if b'["GET", "/smuggled"' in whole or b"stolen" in whole.replace(b"Bearer stolen\\r\\n", b""):
        found.append(f"{sent.name}: a body was read as a request, or a trailer as a header")
    for cut in range(1, len(sent.data)):
        if await answered(sent.data[:cut], sent.data[cut:]) != whole:
            found.append(f"{sent.name}: cut at {cut}")
    if await answered(*(sent.data[n : n + 1] for n in range(len(sent.data)))) != whole:
        found.append(f"{sent.name}: byte by byte")
    return found


def main() -> list[str]:
    """All differences."""

    async def all_of_them() -> list[str]:
        return [line for sent in SENT for line in await differences(sent)]

    return asyncio.run(all_of_them())
