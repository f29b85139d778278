"""Route each request by its exact path to one endpoint: no aliases, no trailing slashes, no path parameters.

The protocol endpoints are looked up first, in dictionaries; other paths go to the mounted applications by prefix.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from msgspec import Struct

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


class Endpoints(Struct, frozen=True, kw_only=True):
    """The endpoints that every tenant has below its issuer."""

    token: TokenEndpoint
    questions: TokenQuestions
    documents: PublicDocuments
    forward_auth: ForwardAuthEndpoint
    registration: RegistrationEndpoint
    enrolment: EnrolmentEndpoint
    status_list: StatusListEndpoint


class Front:
    """The ASGI application behind admission control. `mounted`: other applications, by the prefix of their paths."""

    def __init__(
        self,
        *,
        view: View,
        base_path: str,
        issuer_of: Callable[[str], str],
        endpoints: Endpoints,
        mounted: Mapping[str, Asgi],
        lifespan: Callable[[Receive, Send], Awaitable[None]],
    ) -> None:
        self._view, self._base, self._lifespan, self._mounted = view, base_path, lifespan, mounted
        self._prefix = f"{base_path}/t/"
        documents = endpoints.documents

        async def metadata(tenant: TenantView, scope: Scope, send: Send) -> None:
            await documents.metadata(tenant, issuer_of(tenant.tenant.slug), scope, send)

        self._posts, self._gets = _posts(endpoints), _gets(endpoints, metadata)
        self._metadata, self._registration = metadata, endpoints.registration
        self._status_list = endpoints.status_list

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer once and completely, without internals. The listener answers unexpected errors with a 500."""
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


def _posts(endpoints: Endpoints) -> dict[str, Post]:
    questions, enrolment = endpoints.questions, endpoints.enrolment
    return {
        "token": endpoints.token, "introspect": questions.introspect, "revoke": questions.revoke,
        "revocations": questions.revocations, "register": endpoints.registration.register,
        "enrol": enrolment, "enrol/renew": enrolment.renew,
    }  # fmt: skip


def _gets(endpoints: Endpoints, metadata: Get) -> dict[str, Get]:
    documents = endpoints.documents
    return {
        "jwks": documents.jwks, "cose-keys": documents.cose_keys, "device-ca": documents.device_ca,
        "forward-auth": endpoints.forward_auth,
        _OAUTH_METADATA[1:]: metadata, _OIDC_METADATA[1:]: metadata,
    }  # fmt: skip
