"""The front door: one exact path, one handler. No router, no alias, no trailing slash, no path parameter.

The protocol endpoints are looked up here, before any framework; what is not theirs goes to the
admin application.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from ..protocol.errors import OAuthError, Unavailable
from ..protocol.status_list import PATH as STATUS_LISTS
from ..service.ports import StorageUnavailable
from ..service.view import TenantView, View
from .oauth.enrol import EnrolmentEndpoint
from .oauth.forward_auth import ForwardAuthEndpoint
from .oauth.introspect import TokenQuestions
from .oauth.metadata import PublicDocuments
from .oauth.register import RegistrationEndpoint
from .oauth.status_list import StatusListEndpoint
from .oauth.token import TokenEndpoint
from .wire import Receive, Scope, Send, answer_error, method_not_allowed, not_found

Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]
Post = Callable[[str, Scope, Receive, Send], Awaitable[None]]
Get = Callable[[TenantView, Scope, Send], Awaitable[None]]
_OAUTH_METADATA = "/.well-known/oauth-authorization-server"
_REGISTRATION = "register/"
_OIDC_METADATA = "/.well-known/openid-configuration"


class Front:
    """The ASGI application that uvicorn serves."""

    def __init__(
        self,
        view: View,
        base_path: str,
        issuer_of: Callable[[str], str],
        token: TokenEndpoint,
        questions: TokenQuestions,
        documents: PublicDocuments,
        forward_auth: ForwardAuthEndpoint,
        registration: RegistrationEndpoint,
        enrolment: EnrolmentEndpoint,
        status_list: StatusListEndpoint,
        mounted: Mapping[str, Asgi],
        lifespan: Callable[[Receive, Send], Awaitable[None]],
    ) -> None:
        self._view, self._base, self._lifespan = view, base_path, lifespan
        self._prefix = f"{base_path}/t/"
        self._posts: dict[str, Post] = {
            "token": token, "introspect": questions.introspect, "revoke": questions.revoke,
            "revocations": questions.revocations, "register": registration.register,
            "enrol": enrolment, "enrol/renew": enrolment.renew,
        }  # fmt: skip

        async def metadata(tenant: TenantView, scope: Scope, send: Send) -> None:
            await documents.metadata(tenant, issuer_of(tenant.tenant.slug), scope, send)

        self._gets: dict[str, Get] = {
            "jwks": documents.jwks, "cose-keys": documents.cose_keys, "device-ca": documents.device_ca,
            "forward-auth": forward_auth,
            _OAUTH_METADATA[1:]: metadata, _OIDC_METADATA[1:]: metadata,
        }  # fmt: skip
        self._metadata, self._registration, self._status_list = metadata, registration, status_list
        self._mounted = mounted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One complete answer without internals in it; what nobody foresaw the listener answers with a 500."""
        if scope["type"] == "lifespan":
            return await self._lifespan(receive, send)
        if scope["type"] != "http":
            return None
        try:
            await self._route(scope, receive, send)
        except OAuthError as error:
            await answer_error(send, error, used_authorization=False)
        except StorageUnavailable as error:
            await answer_error(
                send,
                Unavailable("the database is away; try again", detail=str(error)),
                used_authorization=False,
            )
        return None

    def _route(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        path: str = scope["raw_path"].decode("latin-1")
        if path.startswith(self._prefix):
            slug, _, endpoint = path[len(self._prefix) :].partition("/")
            post = self._posts.get(endpoint)
            if post is not None:
                return self._post(post, slug, scope, receive, send)
            get = self._gets.get(endpoint)
            if get is not None:
                return self._get(get, slug, scope, send)
            if endpoint.startswith(_REGISTRATION):
                return self._manage(slug, endpoint[len(_REGISTRATION) :], scope, receive, send)
            if endpoint.startswith(STATUS_LISTS):
                return self._get(self._status_list, slug, scope, send)
            return not_found(send)
        if path.startswith(f"{_OAUTH_METADATA}{self._prefix}"):
            return self._get(
                self._metadata,
                path[len(_OAUTH_METADATA) + len(self._prefix) :],
                scope,
                send,
            )
        for prefix, application in self._mounted.items():
            if path.startswith(self._base + prefix):
                return application(scope, receive, send)
        return not_found(send)

    async def _manage(self, slug: str, client_id: str, scope: Scope, receive: Receive, send: Send) -> None:
        if await self._view.tenant(slug) is None:
            return await not_found(send)
        await self._registration.manage(slug, client_id, scope, receive, send)

    async def _post(self, post: Post, slug: str, scope: Scope, receive: Receive, send: Send) -> None:
        tenant = await self._view.tenant(slug)
        if tenant is None:
            return await not_found(send)
        if scope["method"] != "POST":
            return await method_not_allowed(send, b"POST")
        await post(slug, scope, receive, send)

    async def _get(self, get: Get, slug: str, scope: Scope, send: Send) -> None:
        tenant = await self._view.tenant(slug)
        if tenant is None:
            return await not_found(send)
        if scope["method"] not in ("GET", "HEAD"):
            return await method_not_allowed(send, b"GET, HEAD")
        await get(tenant, scope, send)
