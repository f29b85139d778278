"""Authenticate requests of aiohttp's client, as a middleware. Imported only when it is used."""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

from watchword.client.adapters.port import SignsRequests


class AiohttpMiddleware:
    """``aiohttp.ClientSession(middlewares=[auth.for_aiohttp(API)])``; a 401 is retried once with a new token,
    or nonce.

    aiohttp calls a middleware for every hop of a redirect, so the token goes to the named origins only.
    """

    def __init__(self, credentials: SignsRequests, apis: tuple[str, ...]) -> None:
        if not apis:
            raise ValueError("name the URL of at least one API: for_aiohttp('https://payments.example')")
        for url in apis:
            credentials.check_target(url)
        self._credentials = credentials
        self._origins = frozenset(_origin(url) for url in apis)

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Sign the request if it goes to an API that was named."""
        if _origin(str(request.url)) not in self._origins:
            return await handler(request)
        token = await self._credentials.atoken()
        url = str(request.url)
        request.headers.update(self._credentials.signed(token, request.method, url))
        response = await handler(request)
        if not self._credentials.note_answer(token, url, response.status, response.headers) or not _repeatable(request):
            return response
        response.release()
        token = await self._credentials.atoken()
        request.headers.update(self._credentials.signed(token, request.method, url))
        response = await handler(request)
        self._credentials.note_answer(token, url, response.status, response.headers)
        return response


def _repeatable(request: ClientRequest) -> bool:
    """Whether the body can be sent twice: bytes and text can, a file or generator cannot."""
    from aiohttp.payload import BytesPayload

    body = request.body
    return isinstance(body, bytes | BytesPayload)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)
