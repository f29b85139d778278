"""What each framework's adapter adds to a request, with a token that was seen before: guarded less bare, in one process.

Each is called the way its framework calls it, without the framework around it: what that costs is not ours.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from .verification import Tokens

REQUESTS = 20_000
Call = Callable[[], Awaitable[object]]


async def _each(call: Call) -> float:
    began = time.process_time()
    for _ in range(REQUESTS):
        await call()
    return (time.process_time() - began) / REQUESTS * 1e6


def _asgi_scope(token: str) -> dict[str, Any]:
    headers = [(b"host", b"payments.example"), (b"authorization", f"Bearer {token}".encode())]
    return {
        "type": "http", "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"", "headers": headers,
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "scheme": "https", "http_version": "1.1",
    }  # fmt: skip


def asgi(tokens: Tokens) -> tuple[Call, Call]:
    """Bare, guarded."""
    from watchword.resource.asgi import RequireToken

    async def app(scope: Any, receive: Any, send: Any) -> None:
        return None

    guarded, scope = RequireToken(app, tokens.verifier()), _asgi_scope(tokens.all[0])
    return lambda: app(scope, None, None), lambda: guarded(scope, None, None)  # type: ignore[arg-type]


def starlette(tokens: Tokens) -> tuple[Call, Call]:
    """Bare, guarded."""
    from starlette.requests import Request

    from watchword.resource.starlette import RequireToken

    async def endpoint(request: Any) -> Any:
        return None

    guarded, scope = RequireToken(tokens.verifier())()(endpoint), _asgi_scope(tokens.all[0])
    return lambda: endpoint(Request(scope)), lambda: guarded(Request(scope))


def fastapi(tokens: Tokens) -> tuple[Call, Call]:
    """Bare, guarded."""
    from fastapi import Request
    from fastapi.security import SecurityScopes

    from watchword.resource.fastapi import RequireToken

    async def nothing(request: Any) -> None:
        return None

    guarded, scope, needed = RequireToken(tokens.verifier(), scopes={}), _asgi_scope(tokens.all[0]), SecurityScopes()
    return lambda: nothing(Request(scope)), lambda: guarded(Request(scope), needed)


def litestar(tokens: Tokens) -> tuple[Call, Call]:
    """Bare, guarded."""
    from litestar.connection import ASGIConnection

    from watchword.resource.litestar import RequireToken

    async def nothing(connection: Any, handler: Any) -> None:
        return None

    guarded, scope = RequireToken(tokens.verifier())(), _asgi_scope(tokens.all[0])
    return lambda: nothing(ASGIConnection(scope), None), lambda: guarded(ASGIConnection(scope), None)  # type: ignore


def flask(tokens: Tokens) -> tuple[Call, Call]:
    """Bare, guarded."""
    from flask import Flask

    from watchword.resource.flask import RequireToken

    app = Flask("bench")
    app.test_request_context(headers={"Authorization": f"Bearer {tokens.all[0]}"}).push()

    def view() -> str:
        return ""

    return _sync(view), _sync(RequireToken(tokens.verifier())()(view))


def django(tokens: Tokens) -> tuple[Call, Call]:
    """Bare, guarded."""
    from django.conf import settings
    from django.test import RequestFactory

    settings.configure(ALLOWED_HOSTS=["*"], DEFAULT_CHARSET="utf-8")
    from watchword.resource.django import RequireToken

    request = RequestFactory().get("/", HTTP_AUTHORIZATION=f"Bearer {tokens.all[0]}")

    def view(request: Any) -> str:
        return ""

    guarded = RequireToken(tokens.verifier())()(view)
    return _sync(lambda: view(request)), _sync(lambda: guarded(request))


def drf(tokens: Tokens) -> tuple[Call, Call]:
    """Bare, guarded; after `django`, which makes the settings."""
    from django.test import RequestFactory
    from rest_framework.request import Request

    from watchword.resource.drf import TokenAuthentication
    from watchword.resource.protected_resource import ProtectedResource

    class Authentication(TokenAuthentication):  # type: ignore[misc]
        resource = ProtectedResource(tokens.verifier())

    request = Request(RequestFactory().get("/", HTTP_AUTHORIZATION=f"Bearer {tokens.all[0]}"))
    authentication = Authentication()
    return _sync(lambda: None), _sync(lambda: authentication.authenticate(request))


def aiohttp(tokens: Tokens) -> tuple[Call, Call]:
    """Bare, guarded."""
    from aiohttp.test_utils import make_mocked_request

    from watchword.resource.aiohttp import RequireToken

    async def handler(request: Any) -> Any:
        return None

    class Wire:
        def get_extra_info(self, name: str, default: Any = None) -> Any:
            return default

    headers = {"Authorization": f"Bearer {tokens.all[0]}"}
    request = make_mocked_request("GET", "/", headers=headers, transport=Wire())
    guarded = RequireToken(tokens.verifier())()(handler)
    return lambda: handler(request), lambda: guarded(request)


def grpc(tokens: Tokens) -> tuple[Call, Call]:
    """Bare, guarded."""
    import grpc as real

    from watchword.resource.grpc import AsyncRequireToken

    async def behavior(request: Any, context: Any) -> bytes:
        return b""

    class Details:
        method = "/p.P/m"
        invocation_metadata = (("authorization", f"Bearer {tokens.all[0]}"),)

    handler = real.unary_unary_rpc_method_handler(behavior)

    async def found(details: Any) -> Any:
        return handler

    guard = AsyncRequireToken(tokens.verifier())
    return lambda: found(Details), lambda: guard.intercept_service(found, Details)  # type: ignore[arg-type]


def _sync(call: Callable[[], object]) -> Call:
    async def once() -> object:
        return call()

    return once


ADAPTERS = (asgi, starlette, fastapi, litestar, flask, django, drf, aiohttp, grpc)


async def measured(rounds: int) -> dict[str, list[float]]:
    """Microseconds by name, one figure a round."""
    tokens = Tokens(1)
    pairs = {adapter.__name__: adapter(tokens) for adapter in ADAPTERS}
    found: dict[str, list[float]] = {name: [] for name in pairs}
    for _ in range(rounds):
        for name, (bare, guarded) in pairs.items():
            found[name].append(await _each(guarded) - await _each(bare))
    return found
