"""POST /introspect and /revoke of the App ID surface."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ...protocol.errors import OAuthError
from ...protocol.request import Form
from ...registry.model import Application
from ...service.clients.authenticate_client import AuthenticateClient
from ...service.deadline import Deadline
from ...service.tokens.check_token import CheckToken
from ...service.tokens.refusals import Refusals
from ...service.tokens.revoke_token import RevokeToken
from ...service.view import TenantView
from ..oauth.introspect import token_of
from ..wire import MAX_BODY, Headers, Receive, Scope, Send, answer, answer_error, encode_json, read_body, source_in
from .bodies import read_credentials, read_fields

Work = Callable[[TenantView, Application, Form, str], Awaitable[bytes]]


class AppIdQuestions:
    """An application asks about a token. The answer is no more than App ID's own."""

    def __init__(
        self, who: AuthenticateClient, check: CheckToken, revoke: RevokeToken, refusals: Refusals, body_timeout: float,
        deadline: Deadline,
    ) -> None:  # fmt: skip
        self._who, self._check, self._revoke = who, check, revoke
        self._refusals, self._timeout, self._deadline = refusals, body_timeout, deadline

    async def introspect(self, tenant: TenantView, scope: Scope, receive: Receive, send: Send) -> None:
        """`{"active": true}` or `{"active": false}`."""

        async def work(tenant: TenantView, caller: Application, form: Form, request_id: str) -> bytes:
            return encode_json({"active": await self._check(tenant, token_of(form))})

        await self._serve(tenant, scope, receive, send, work)

    async def revoke(self, tenant: TenantView, scope: Scope, receive: Receive, send: Send) -> None:
        """RFC 7009: access tokens, too, which App ID cannot revoke."""

        async def work(tenant: TenantView, caller: Application, form: Form, request_id: str) -> bytes:
            await self._revoke(tenant, caller.client_id, token_of(form), request_id)
            return b""

        await self._serve(tenant, scope, receive, send, work)

    async def _serve(self, tenant: TenantView, scope: Scope, receive: Receive, send: Send, work: Work) -> None:
        authorization, request_id = None, ""
        try:
            headers = Headers(scope["headers"])
            authorization, request_id = headers.authorization, headers.request_id
            form = read_fields(headers, await read_body(receive, headers.content_length, MAX_BODY, self._timeout))
            with self._deadline:
                caller = await self._who(tenant, read_credentials(headers, form), source_in(scope))
                payload = await work(tenant, caller, form, request_id)
        except OAuthError as error:
            told, _ = self._refusals.note(tenant.tenant.slug, error, scope.get("client"), "", request_id)
            used = authorization is not None
            await answer_error(send, told, used_authorization=used, request_id=request_id)
            return
        await answer(send, 200, payload)
