"""`Idempotency-Key`: a repeated request that creates something gets the first answer again.

Source: draft-ietf-httpapi-idempotency-key-header-07. The mark of a request is in the transaction of its effect; the
encrypted answer is stored after that (decision 0090).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import msgspec
import structlog
from msgspec.structs import replace

from ....jose.sealing import MasterKey, SealBroken
from ...service.ports import Answers, CarriedOut, KeptAnswer, RequestMark, StorageUnavailable
from ..wire import Header, encode_json
from .problems import Problem
from .routes import KEY_PATTERN, Reply, Request, Route

_PURPOSE: Final = b"watchword idempotency fingerprints v1"
_STILL_AT_WORK: Final = 10
"""Seconds for which a mark without an answer means that the request is being carried out: none takes that long."""
_KEY: Final = re.compile(KEY_PATTERN.encode())
_log = structlog.get_logger("watchword.admin")


class _Answer(msgspec.Struct, frozen=True):
    status: int
    version: int | None
    location: str | None
    body: msgspec.Raw


class Repeats:
    """One object per worker. `clock` is seconds since the epoch."""

    def __init__(self, answers: Answers, master: MasterKey, clock: Callable[[], float]) -> None:
        self._answers, self._master, self._clock = answers, master, clock
        self._fingerprints = master.derive(_PURPOSE)

    def marked(self, route: Route, path: str, headers: list[Header], request: Request) -> Request:
        """The request with its mark, if it creates something and has the header. Raises `Problem` 400."""
        key = _key(headers) if route.creates else None
        if key is None:
            return request
        said = b"\n".join((route.method.encode(), path.encode(), encode_json(request.query), request.digest))
        print_ = hmac.digest(self._fingerprints, said, "sha256")
        mark = RequestMark(request.caller.tenant_id, request.caller.actor, key, print_)
        return replace(request, caller=replace(request.caller, mark=mark))

    async def once(self, mark: RequestMark | None, work: Callable[[], Awaitable[Reply]]) -> Reply:
        """The reply of `work`, or that of the same request before. Raises `Problem` 409 and 422.

        A rejected request has changed nothing, so it leaves no mark and can be repeated with the same key.
        """
        if mark is None:
            return await work()
        kept = await self._answers.find(mark)
        if kept is None:
            try:
                reply = await work()
            except CarriedOut:
                kept = await self._answers.find(mark)
            else:
                await self._keep(mark, reply)
                return reply
        return self._first_reply(mark, kept)

    async def _keep(self, mark: RequestMark, reply: Reply) -> None:
        """The effect is committed: a failure here loses the answer for repeats only."""
        answer = _Answer(reply.status, reply.version, reply.location, msgspec.Raw(encode_json(reply.body)))
        try:
            if not await self._answers.keep(mark, self._master.seal(encode_json(answer), _place(mark))):
                _log.error("an operation wrote no mark for its Idempotency-Key")
        except StorageUnavailable as error:
            _log.warning("the answer for an Idempotency-Key is not stored", why=str(error))

    def _first_reply(self, mark: RequestMark, kept: KeptAnswer | None) -> Reply:
        if kept is None:
            raise _at_work()
        if not hmac.compare_digest(kept.fingerprint, mark.fingerprint):
            raise Problem(
                422, "Idempotency-Key is used already",
                "another request with this Idempotency-Key was carried out: send a new key with a new request",
            )  # fmt: skip
        if kept.sealed is None and self._clock() < kept.at + _STILL_AT_WORK:
            raise _at_work()
        try:
            if kept.sealed is not None:
                plain = self._master.unseal(kept.sealed, _place(mark))
                answer = msgspec.json.decode(plain, type=_Answer)
                return Reply(answer.body, answer.status, answer.version, answer.location)
        except SealBroken:
            pass
        raise _lost(kept.at)


def _key(headers: list[Header]) -> str | None:
    """The key without its quotes: a String of RFC 9651 section 3.3.3, and the same characters unquoted."""
    found = [value.strip() for name, value in headers if name == b"idempotency-key"]
    if not found:
        return None
    if len(found) > 1 or not _KEY.fullmatch(found[0]):
        raise Problem(
            400, "the request breaks a rule",
            'Idempotency-Key: send it once, with 1 to 128 letters, digits or ._~:/+=- in double quotes, such as "UUID"',
        )  # fmt: skip
    return found[0].strip(b'"').decode("ascii")


def _place(mark: RequestMark) -> str:
    """What the encrypted answer is bound to. Imported client ids may contain `/`, so the actor is hashed."""
    return f"idempotency_key/{mark.tenant_id}/{hashlib.sha256(mark.actor.encode()).hexdigest()}/{mark.key}"


def _at_work() -> Problem:
    return Problem(
        409, "the request is being carried out",
        "the first request with this Idempotency-Key has not ended: repeat it with the same key in a second",
        headers=((b"retry-after", b"1"),),
    )  # fmt: skip


def _lost(at: int) -> Problem:
    when = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Problem(
        409, "the request was carried out, and its answer is lost",
        f"the first request with this Idempotency-Key was carried out at {when}; the server ended before it stored the "
        "answer. List what exists before you repeat it with a new key. A secret that the answer contained cannot be "
        "shown again: rotate it (watchword app rotate ID), or delete what was created and create it again",
    )  # fmt: skip
