"""POST {issuer}/introspect (RFC 7662, 9701), {issuer}/revoke (RFC 7009) and {issuer}/revocations (decision 0017)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from ...protocol.errors import InvalidRequest, OAuthError, TooLarge, without_frames
from ...protocol.form import parse_form
from ...protocol.request import Form, text
from ...service.deadline import Deadline
from ...service.tokens.follow_revocations import FollowRevocations
from ...service.tokens.introspect_token import IntrospectToken
from ...service.tokens.refusals import Refusals
from ...service.tokens.revoke_token import RevokeToken
from ...service.tokens.sign_introspection import SignIntrospection, must_be_signed
from ...service.view import TenantView, View
from ..client_certificate import certificate_of
from ..wire import (
    JSON,
    MAX_BODY,
    NO_STORE,
    Header,
    Headers,
    Receive,
    Scope,
    Send,
    answer,
    answer_error,
    encode_json,
    read_body,
    source_in,
)
from .asking import SIGNED, Asked, Callers

MAX_TOKEN = 16_384
MAX_DRAINED = 4 << 20
_SIGNED_CONTENT: Header = (b"content-type", SIGNED)


class Reply(Struct, frozen=True):
    """A 200 answer."""

    body: bytes
    content: Header = JSON


Work = Callable[[TenantView, Asked], Awaitable[Reply]]


class TokenQuestions:
    """What introspection, revocation and the feed of revocations share: read, authenticate, answer."""

    def __init__(
        self,
        *,
        view: View,
        callers: Callers,
        introspect: IntrospectToken,
        sign: SignIntrospection,
        revoke: RevokeToken,
        follow: FollowRevocations,
        refusals: Refusals,
        body_timeout: float,
        deadline: Deadline,
    ) -> None:
        self._view, self._callers, self._refusals, self._timeout = view, callers, refusals, body_timeout
        self._deadline = deadline
        self._introspect, self._sign, self._revoke, self._follow = introspect, sign, revoke, follow

    async def introspect(self, slug: str, scope: Scope, receive: Receive, send: Send) -> None:
        """RFC 7662 section 2."""
        await self._serve(slug, scope, receive, send, self._answer_introspection)

    async def revoke(self, slug: str, scope: Scope, receive: Receive, send: Send) -> None:
        """RFC 7009 section 2."""
        await self._serve(slug, scope, receive, send, self._answer_revocation)

    async def revocations(self, slug: str, scope: Scope, receive: Receive, send: Send) -> None:
        """What was revoked since a cursor; held open until there is something to report (decision 0017)."""

        async def work(tenant: TenantView, asked: Asked) -> Reply:
            caller, form = await self._callers.client_id(tenant, asked), asked.form
            page = await self._follow(slug, caller, text(form, "audience"), text(form, "cursor"), wait_of(form))
            return Reply(encode_json(page))

        await self._serve(slug, scope, receive, send, work)

    async def _answer_introspection(self, tenant: TenantView, asked: Asked) -> Reply:
        with self._deadline:
            caller = await self._callers.client_id(tenant, asked)
            answered: dict[str, Any] = await self._introspect(tenant, caller, token_of(asked.form))
        if asked.wants_signed() or must_be_signed(tenant, caller):
            return Reply(await self._sign(tenant, caller, answered), _SIGNED_CONTENT)
        return Reply(encode_json(answered))

    async def _answer_revocation(self, tenant: TenantView, asked: Asked) -> Reply:
        with self._deadline:
            caller = await self._callers.application(tenant, asked)
            await self._revoke(tenant, caller.client_id, token_of(asked.form), asked.headers.request_id)
        return Reply(b"{}")

    async def _serve(self, slug: str, scope: Scope, receive: Receive, send: Send, work: Work) -> None:
        authorization, request_id = None, ""
        try:
            headers = Headers(scope["headers"])
            authorization, request_id = headers.authorization, headers.request_id
            body = await read_body(receive, headers.content_length, MAX_DRAINED, self._timeout, MAX_BODY)
            if len(body) > MAX_BODY:
                raise InvalidRequest(f"a token has at most {MAX_TOKEN} characters")
            headers.only_form()
            tenant = await self._view.tenant(slug)
            if tenant is None:
                raise InvalidRequest("the tenant was deleted meanwhile")
            self._callers.check_proof(tenant, headers, scope)
            asked = Asked(headers, parse_form(body), certificate_of(scope), scope["headers"], source_in(scope))
            reply = await work(tenant, asked)
        except OAuthError as error:
            mended = InvalidRequest(error.public) if isinstance(error, TooLarge) else without_frames(error)
            told, request_id = self._refusals.note(slug, mended, scope.get("client"), "", request_id)
            await answer_error(
                send,
                told,
                used_authorization=authorization is not None,
                request_id=request_id,
            )
            return
        joined: tuple[Header, ...] = ((b"x-request-id", request_id.encode()),) if request_id else ()
        await answer(send, 200, reply.body, (*NO_STORE, *joined), reply.content)


def wait_of(form: Form) -> float:
    """Seconds; the service has a longest wait of its own."""
    unverified_wait = text(form, "wait") or "0"
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", unverified_wait, re.ASCII):
        raise InvalidRequest("wait is a number of seconds, such as 5 or 0.5")
    return float(unverified_wait)


def token_of(form: Form) -> str:
    """The one required parameter."""
    unverified_token = text(form, "token")
    if not unverified_token:
        raise InvalidRequest("token is missing")
    if len(unverified_token) > MAX_TOKEN:
        raise InvalidRequest(f"a token has at most {MAX_TOKEN} characters")
    return unverified_token
