"""What single adapters have beside the contract, each over its framework's own client."""

import asyncio
import json
import subprocess
import sys
from importlib import import_module
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Security
from fastapi.testclient import TestClient as FastApiClient
from flask import Flask, g
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket, WebSocketDisconnect
from tests.adapters import pages
from tests.adapters.contract import AUDIENCE, CLIENT, SCOPE, Issuer, header

from watchword.resource import Claims, Verifier
from watchword.resource.asgi import RequireToken
from watchword.resource.fastapi import RequireToken as FastApiToken
from watchword.resource.flask import RequireToken as FlaskToken
from watchword.resource.grpc import AsyncRequireToken as AsyncGrpcToken
from watchword.resource.grpc import RequireToken as GrpcToken

FRAMEWORKS = ("aiohttp", "django", "fastapi", "flask", "grpc", "litestar", "rest_framework", "starlette")


def test_the_core_imports_no_framework() -> None:
    """`pip install watchword` is the light part: nobody installs Django to verify a token in a script."""
    code = f"""
import sys, watchword.resource
print([m for m in {FRAMEWORKS!r} if m in sys.modules], [m for m in sys.modules if m.startswith("watchword.resource.")])
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith("[] ")
    assert not [page for page in pages.names() if f"watchword.resource.{page}'" in said]


@pytest.mark.parametrize("name", ["aiohttp", "django", "flask", "litestar", "starlette"])
def test_a_slip_of_the_decorator_is_told_at_once(name: str, verifier: Verifier) -> None:
    """`@require` without parentheses, or a scope that an empty setting gave, would leave the view open to any token."""
    require = import_module(f"watchword.resource.{name}").RequireToken(verifier)
    with pytest.raises(TypeError, match="@require"):
        require(lambda request: None)
    for empty in ("", " "):
        with pytest.raises(ValueError, match="empty"):
            require(empty)


@pytest.mark.parametrize("make", [lambda *a: RequireToken(None, *a), GrpcToken, AsyncGrpcToken])
def test_an_empty_scope_is_told_at_once(make: Any, verifier: Verifier) -> None:
    """The same slip, where the scope is the whole application's."""
    with pytest.raises(ValueError, match="empty"):
        make(verifier, "")


# -- ASGI: WebSocket and lifespan ------------------------------------------------------------------


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(socket.scope["watchword"].client_id)
    await socket.close()


def with_sockets(verifier: Verifier) -> Starlette:
    guard = Middleware(RequireToken, verifier=verifier, scope=SCOPE)
    return Starlette(routes=[WebSocketRoute("/feed", echo)], middleware=[guard])


def test_websocket_with_a_token(issuer: Issuer, verifier: Verifier) -> None:
    """A socket's handler must know its caller like any other."""
    client = TestClient(with_sockets(verifier))
    with client.websocket_connect("/feed", headers=header(issuer)) as socket:
        assert socket.receive_text() == CLIENT


@pytest.mark.parametrize(("changes", "status"), [(None, 401), ({"exp": 1}, 401), ({"scope": "a"}, 403)])
def test_websocket_refused(changes: dict[str, Any] | None, status: int, issuer: Issuer, verifier: Verifier) -> None:
    """An accepted socket is a door that stays open; and where the server can, the caller learns why."""
    headers = {} if changes is None else header(issuer, **changes)
    client = TestClient(with_sockets(verifier))
    with pytest.raises(WebSocketDenialResponse) as caught, client.websocket_connect("/feed", headers=headers):
        pass
    assert caught.value.status_code == status
    assert caught.value.headers["www-authenticate"].startswith("Bearer")


async def test_websocket_refused_by_an_older_server(verifier: Verifier) -> None:
    """Without the denial extension a socket is closed before it is accepted, with 1008."""
    sent: list[dict[str, Any]] = []

    async def app(*_: Any) -> None:
        raise AssertionError("the application was entered")

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/feed", "headers": [], "query_string": b""}
    await RequireToken(app, verifier)(scope, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_websocket_token_in_the_query(issuer: Issuer, verifier: Verifier) -> None:
    """JWT-042: browsers' sockets tempt to it, and every proxy logs the address."""
    client = TestClient(with_sockets(verifier))
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(f"/feed?access_token={issuer.token()}"):
        pass


def test_lifespan_passes(verifier: Verifier) -> None:
    """The application behind the door would never open its database."""
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])
        for word in ("startup", "shutdown"):
            seen.append((await receive())["type"])
            await send({"type": f"lifespan.{word}.complete"})

    with TestClient(RequireToken(app, verifier, scope=SCOPE)):
        assert seen == ["lifespan", "lifespan.startup"]
    assert seen == ["lifespan", "lifespan.startup", "lifespan.shutdown"]


# -- FastAPI ---------------------------------------------------------------------------------------


def payments(verifier: Verifier) -> FastAPI:
    app = FastAPI()
    token = FastApiToken(verifier, scopes={SCOPE: "Charge a card", "a:read": "Read"})

    @app.get("/charges")
    async def charges(claims: Annotated[Claims, Security(token, scopes=[SCOPE, "a:read"])]) -> str:
        return claims.client_id

    @app.get("/who")
    async def who(claims: Annotated[Claims, Depends(token)]) -> str:
        return claims.client_id

    @app.get("/forgotten")
    async def forgotten(claims: Annotated[Claims, Security(token, scopes=["unnamed"])]) -> str:
        return claims.client_id

    return app


def test_openapi_shows_the_scheme(issuer: Issuer, verifier: Verifier) -> None:
    """Generated clients would not know that a token is needed, nor where to get it."""
    document = payments(verifier).openapi()
    flow = {"tokenUrl": f"{issuer.url}/token", "scopes": {SCOPE: "Charge a card", "a:read": "Read"}}
    scheme = document["components"]["securitySchemes"]["watchword"]
    assert scheme["type"] == "oauth2"
    assert {name: scheme["flows"]["clientCredentials"][name] for name in flow} == flow
    assert document["paths"]["/charges"]["get"]["security"] == [{"watchword": [SCOPE, "a:read"]}]
    assert document["paths"]["/who"]["get"]["security"] == [{"watchword": []}]


def test_fastapi_needs_all_scopes(issuer: Issuer, verifier: Verifier) -> None:
    """Of two scopes that a path needs, one would do; or a path that asks for none would ask for some."""
    client = FastApiClient(payments(verifier), raise_server_exceptions=False)
    assert client.get("/charges", headers=header(issuer)).status_code == 403
    assert client.get("/charges", headers=header(issuer, scope=f"a:read {SCOPE}")).status_code == 200
    assert client.get("/who", headers=header(issuer, scope="")).json() == CLIENT
    assert client.get("/forgotten", headers=header(issuer, scope="unnamed")).status_code == 500


# -- Flask -----------------------------------------------------------------------------------------


def test_flask_async_view(issuer: Issuer, verifier: Verifier) -> None:
    """A decorator that forgets `ensure_sync` answers an async view's caller with a coroutine: a 500."""
    app, require = Flask("payments"), FlaskToken(verifier)

    @app.get("/charges/<number>")
    @require(SCOPE)
    async def charge(number: str) -> dict[str, str]:
        await asyncio.sleep(0)
        return {"client_id": g.watchword.client_id, "number": number}

    client = app.test_client()
    assert client.get("/charges/7", headers=header(issuer)).json == {"client_id": CLIENT, "number": "7"}
    assert client.get("/charges/7").status_code == 401


# -- Django ----------------------------------------------------------------------------------------

DJANGO = """
import asyncio, json, sys
from django.conf import settings
settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="x" * 50, ROOT_URLCONF=__name__, INSTALLED_APPS=["rest_framework"],
    MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"], REST_FRAMEWORK={"UNAUTHENTICATED_USER": None})
import django
django.setup()
from django.http import JsonResponse
from django.test import AsyncClient, Client
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import generic
from rest_framework.authentication import BaseAuthentication
from rest_framework.response import Response
from rest_framework.views import APIView
from watchword.resource import Verifier
from watchword.resource.django import RequireToken
from watchword.resource.drf import HasScope, TokenAuthentication

issuer, audience, scope, token, short = sys.argv[1:]
require = RequireToken(Verifier(issuer, audience=audience))


@require(scope)
async def acharges(request):
    return JsonResponse({"client_id": request.watchword.client_id})


@require(scope)
def charges(request):
    return JsonResponse({"client_id": request.watchword.client_id})


class Other(BaseAuthentication):
    def authenticate(self, request):
        return (object(), "somebody") if "HTTP_X_OTHER" in request.META else None


class Token(TokenAuthentication):
    resource = require


class View(APIView):
    authentication_classes = [Token, Other]
    permission_classes = [HasScope.of(scope)]

    def get(self, request):
        return Response({"user": request.user.client_id})


@method_decorator(require(scope), name="dispatch")
class ClassBased(generic.View):
    def post(self, request):
        return JsonResponse({"client_id": request.watchword.client_id})


urlpatterns = [path("a", acharges), path("s", charges), path("c", ClassBased.as_view()), path("drf", View.as_view())]
good = {"authorization": f"Bearer {token}"}


async def asynchronous():
    client = AsyncClient()
    return [(await client.get("/a")).status_code, (await client.get("/a", headers=good)).json(),
            (await client.get("/a", headers={"authorization": f"Bearer {short}"})).status_code]


client = Client(enforce_csrf_checks=True)
print(json.dumps({
    "async": asyncio.run(asynchronous()),
    "post without csrf": client.post("/s", headers=good).status_code,
    "class": [client.post("/c").status_code, client.post("/c", headers=good).status_code],
    "another login": client.get("/drf", headers={"x-other": "1"}).status_code,
    "user": client.get("/drf", headers=good).json(),
}))
"""


def test_django(issuer: Issuer) -> None:
    """Async views, POST under the CSRF middleware, and a REST framework login of another kind: each a way
    round the token, or a wall before it. One process of its own, for Django's settings are global."""
    arguments = [sys.executable, "-W", "ignore", "-c", DJANGO, issuer.url, AUDIENCE, SCOPE]
    arguments += [issuer.token(), issuer.token(scope="a:read")]
    ran = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {
        "async": [401, {"client_id": CLIENT}, 403],
        "post without csrf": 200,
        "class": [401, 200],
        "another login": 403,
        "user": {"user": CLIENT},
    }
