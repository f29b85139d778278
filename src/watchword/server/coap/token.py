"""POST coap://host/t/{slug}/token: application/ace+cbor -> `TokenRequest` -> one verb -> application/ace+cbor."""

from __future__ import annotations

from time import monotonic
from urllib.parse import urlsplit

import structlog
from aiocoap import (
    BAD_REQUEST,
    CREATED,
    INTERNAL_SERVER_ERROR,
    METHOD_NOT_ALLOWED,
    NOT_ACCEPTABLE,
    NOT_FOUND,
    POST,
    REQUEST_ENTITY_TOO_LARGE,
    SERVICE_UNAVAILABLE,
    TOO_MANY_REQUESTS,
    UNAUTHORIZED,
    UNSUPPORTED_CONTENT_FORMAT,
    Message,
)
from aiocoap.numbers.codes import Code
from aiocoap.resource import Resource

from ...jose.cose_signing import encode_cbor
from ...jose.cwt import cwt_bytes, looks_like_cwt
from ..protocol.ace import CONTENT_FORMAT, MAX_REQUEST, answer_members, error_members, read_ace
from ..protocol.errors import InvalidClient, InvalidRequest, OAuthError, SlowDown, TooLarge, Unavailable
from ..protocol.request import TokenRequest
from ..protocol.token_form import token_request
from ..service.deadline import Deadline
from ..service.ports import StorageUnavailable
from ..service.tokens.issue_token import IssueToken
from ..service.tokens.refusals import Refusals
from ..service.tokens.surface import Surface
from ..service.view import View
from .kept import Blocks

MAX_AT_ONCE = 64
"""Requests of one worker that wait for the database; who comes on top of them is told to come again."""
_log = structlog.get_logger("watchword.coap")


class TokenResource(Resource):  # type: ignore[misc]
    """Every path of the listener. Without `protected`, the channel is one that others can read: no secret passes."""

    def __init__(
        self,
        view: View,
        issue: IssueToken,
        surface: Surface,
        refusals: Refusals,
        deadline: Deadline,
        *,
        protected: bool,
    ) -> None:
        super().__init__()
        self._deadline = deadline
        self._block1._assemblies = Blocks(monotonic)
        self._block2._completes = Blocks(monotonic)
        self._view, self._issue, self._surface, self._refusals = view, issue, surface, refusals
        self._protected, self._at_once = protected, 0

    async def needs_blockwise_assembly(self, request: Message) -> bool:
        """Blocks are put together as far as a request may be long (RFC 7959)."""
        return not _beyond(request)

    async def render(self, request: Message) -> Message:
        """One request, one answer, whatever happens."""
        try:
            return await self._routed(request)
        except Exception:
            _log.exception("a request failed in a way nobody foresaw")
            return Message(code=INTERNAL_SERVER_ERROR)

    async def _routed(self, request: Message) -> Message:
        path: tuple[str, ...] = request.opt.uri_path
        if len(path) != 3 or path[0] != "t" or path[2] != "token":
            return Message(code=NOT_FOUND)
        if request.code != POST:
            return Message(code=METHOD_NOT_ALLOWED)
        if request.opt.content_format != CONTENT_FORMAT:
            return Message(code=UNSUPPORTED_CONTENT_FORMAT)
        if request.opt.accept not in (None, CONTENT_FORMAT):
            return Message(code=NOT_ACCEPTABLE)
        if self._at_once >= MAX_AT_ONCE:
            return Message(code=SERVICE_UNAVAILABLE, max_age=1)
        self._at_once += 1
        try:
            return await self._token(path[1], request)
        finally:
            self._at_once -= 1

    async def _token(self, slug: str, request: Message) -> Message:
        client_id = ""
        try:
            if await self._view.tenant(slug) is None:
                return Message(code=NOT_FOUND)
            if _beyond(request) or len(request.payload) > MAX_REQUEST:
                raise TooLarge(f"the request is longer than {MAX_REQUEST} bytes")
            asked = self._read(request.payload, _peer(request))
            client_id = asked.unverified_credentials.unverified_client_id
            with self._deadline:
                issued = await self._issue(slug, asked, self._surface)
        except StorageUnavailable as error:
            return self._refused(slug, request, Unavailable("the database is away", detail=str(error)), client_id)
        except OAuthError as error:
            return self._refused(slug, request, error, client_id)
        token = issued.access_token
        raw = cwt_bytes(token) if looks_like_cwt(token) else token.encode("ascii")
        members = answer_members(raw, issued.expires_in, issued.scope, asked=asked.scope)
        return Message(code=CREATED, content_format=CONTENT_FORMAT, payload=encode_cbor(members))

    def _read(self, unverified_payload: bytes, peer: tuple[str, int] | None) -> TokenRequest:
        form = read_ace(unverified_payload)
        if "client_secret" in form and not self._protected:
            raise InvalidRequest(
                "this channel is not encrypted: use client_secret_jwt or private_key_jwt, and rotate this secret",
                rule="secret_in_the_clear",
            )
        return token_request(form, None, peer[0] if peer else "unknown", grants=self._surface.grants)

    def _refused(self, slug: str, request: Message, error: OAuthError, client_id: str) -> Message:
        told, _ = self._refusals.note(slug, error, _peer(request), client_id, "")
        answer = Message(code=_code(told), content_format=CONTENT_FORMAT, payload=encode_cbor(error_members(told)))
        if told.retry_after is not None:
            answer.opt.max_age = told.retry_after
        return answer


def _code(error: OAuthError) -> Code:
    """RFC 9200 section 5.8.3: 4.00, and 4.01 for a client that is not known; RFC 8516 for one that asks too often."""
    if isinstance(error, InvalidClient):
        return UNAUTHORIZED
    if isinstance(error, TooLarge):
        return REQUEST_ENTITY_TOO_LARGE
    if isinstance(error, SlowDown):
        return TOO_MANY_REQUESTS
    return SERVICE_UNAVAILABLE if isinstance(error, Unavailable) else BAD_REQUEST


def _beyond(request: Message) -> bool:
    block = request.opt.block1
    return block is not None and (block.block_number + 1) * block.size > MAX_REQUEST + block.size


def _peer(request: Message) -> tuple[str, int] | None:
    parts = urlsplit(f"//{request.remote.hostinfo}")
    return (parts.hostname, parts.port or 0) if parts.hostname else None
