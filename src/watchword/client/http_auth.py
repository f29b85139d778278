"""Sign the requests of httpx, requests, aiohttp, urllib3 and gRPC with the tokens of a `TokenSource`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING, Any

from watchword.client import wire
from watchword.client.adapters.httpx import class_shown, repeatable
from watchword.client.source import TokenSource
from watchword.client.token import AccessToken

if TYPE_CHECKING:
    import grpc
    import httpx
    import urllib3

    from watchword.client.adapters.aiohttp import AiohttpMiddleware
    from watchword.client.adapters.requests import RequestsAuth
    from watchword.client.adapters.urllib3 import AuthorizedPool

    _Auth = httpx.Auth
else:
    _Auth = object


class HttpAuth(TokenSource, _Auth):
    """A `TokenSource` that signs the requests of every HTTP library: ``httpx.Client(auth=...)`` and the others."""

    __slots__ = ()

    @property  # type: ignore[misc]
    def __class__(self) -> type[Any]:
        """Makes ``isinstance(self, httpx.Auth)`` true: see `watchword.client.adapters.httpx`."""
        return class_shown(type(self))

    # -- httpx, httpx2 --------------------------------------------------------------------------

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Sign ``request``; after a 401 once more with a new token, or nonce. The second 401 is the caller's."""
        self._check_target(request)
        token = self.token()
        response = yield self._sign(request, token)
        if self.note_answer(token, str(request.url), response.status_code, response.headers) and repeatable(request):
            response.read()
            token = self.token()
            response = yield self._sign(request, token)
            self.note_answer(token, str(request.url), response.status_code, response.headers)

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """`sync_auth_flow`, for an event loop."""
        self._check_target(request)
        token = await self.atoken()
        response = yield self._sign(request, token)
        if self.note_answer(token, str(request.url), response.status_code, response.headers) and repeatable(request):
            await response.aread()
            token = await self.atoken()
            response = yield self._sign(request, token)
            self.note_answer(token, str(request.url), response.status_code, response.headers)

    # -- other libraries, each imported when asked for --------------------------------------------

    def for_requests(self) -> RequestsAuth:
        """For ``requests.get(url, auth=...)``; needs requests."""
        from watchword.client.adapters.requests import RequestsAuth

        return RequestsAuth(self)

    def for_aiohttp(self, *apis: str) -> AiohttpMiddleware:
        """For ``aiohttp.ClientSession(middlewares=[...])``; ``apis``: the URLs to whose origins tokens may go.

        Needs aiohttp 3.12. Raises ValueError without a URL.
        """
        from watchword.client.adapters.aiohttp import AiohttpMiddleware

        return AiohttpMiddleware(self, apis)

    def for_urllib3(self, pool: urllib3.PoolManager | None = None) -> AuthorizedPool:
        """A pool manager that signs what it sends; needs urllib3."""
        from watchword.client.adapters.urllib3 import AuthorizedPool

        return AuthorizedPool(self, pool)

    def for_grpc(self) -> grpc.CallCredentials:
        """Call credentials for ``grpc.composite_channel_credentials``; needs grpcio.

        With a DPoP key each call is signed. An API that demands nonces cannot be called: gRPC hides its answers here.
        """
        from watchword.client.adapters.grpc import call_credentials

        return call_credentials(self)

    def check_target(self, url: str) -> None:
        """Raise ValueError for a URL to which no token may be sent (RFC 6750 section 5.3)."""
        wire.checked_url(url.split("#")[0], "the API's URL", insecure_http=self._plan.insecure_http)

    def _sign(self, request: httpx.Request, token: AccessToken) -> httpx.Request:
        request.headers.update(self.signed(token, request.method, str(request.url)))
        return request

    def _check_target(self, request: httpx.Request) -> None:
        self.check_target(f"{request.url.scheme}://{request.url.netloc.decode('ascii')}/")
