"""`/oauth/v4/{tenant}/...`: what an application that was written for IBM Cloud App ID asks."""

from __future__ import annotations

from ...protocol.errors import InsufficientScope, InvalidRequest
from ...service.view import View
from ..oauth.token import TokenEndpoint
from ..wire import Receive, Scope, Send, answer_error, method_not_allowed, not_found
from .documents import AppIdDocuments
from .questions import AppIdQuestions

PREFIX = "/oauth/v4/"
_NO_USERS = {
    "authorization": InvalidRequest("nobody logs in here; applications ask /token with client_credentials"),
    "userinfo": InsufficientScope("a token of an application is not about a user"),
}


class AppIdRuntime:
    """Mounted under /oauth/v4/: one exact path, one handler, as at the native issuer."""

    def __init__(
        self, view: View, base_path: str, token: TokenEndpoint, questions: AppIdQuestions, documents: AppIdDocuments
    ) -> None:
        self._view, self._prefix, self._token = view, base_path + PREFIX, token
        self._posts = {"introspect": questions.introspect, "revoke": questions.revoke}
        self._gets = {
            "publickeys": documents.public_keys, ".well-known/openid-configuration": documents.discovery,
        }  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """404 for tenants and paths that do not exist."""
        path: str = scope["raw_path"].decode("latin-1")
        slug, _, endpoint = path[len(self._prefix) :].partition("/")
        tenant = await self._view.tenant(slug)
        if tenant is None:
            return await not_found(send)
        if endpoint == "token":
            if scope["method"] != "POST":
                return await method_not_allowed(send, b"POST")
            return await self._token(slug, scope, receive, send)
        if endpoint in self._posts:
            if scope["method"] != "POST":
                return await method_not_allowed(send, b"POST")
            return await self._posts[endpoint](tenant, scope, receive, send)
        if endpoint in self._gets:
            if scope["method"] not in ("GET", "HEAD"):
                return await method_not_allowed(send, b"GET, HEAD")
            return await self._gets[endpoint](tenant, scope, send)
        if endpoint in _NO_USERS:
            return await answer_error(send, _NO_USERS[endpoint], used_authorization=False)
        return await not_found(send)
