"""`/management/v4/{tenant}/...`: the administrative calls of App ID, for its clients and scripts as they are."""

from __future__ import annotations

from ...protocol.errors import OAuthError
from ...registry.errors import RegistryError
from ...service.contention import again
from ...service.ports import StorageUnavailable
from ...service.view import View
from ..admin.problems import Problem, problem_of
from ..admin.routes import Reply, Table
from ..administration import Administration
from ..wire import NO_STORE, Headers, Receive, Scope, Send, answer, encode_json
from .handlers import AppIdHandlers

PREFIX = "/management/v4/"
_ERRORS = {
    400: "invalid_request", 401: "invalid_token", 403: "insufficient_scope", 404: "not_found",
    405: "method_not_allowed", 408: "invalid_request", 409: "conflict", 412: "conflict", 413: "invalid_request",
    415: "unsupported_media_type", 503: "temporarily_unavailable",
}  # fmt: skip


class AppIdManagement:
    """Mounted under /management/v4/; protected by tokens for Watchword's own API, of the tenant in the path."""

    def __init__(self, handlers: AppIdHandlers, administration: Administration, view: View, base_path: str) -> None:
        self._administration, self._view, self._base = administration, view, base_path
        self._table = Table(handlers.routes())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Every refusal is JSON with a reason, in the members that IBM's clients look for."""
        request_id = ""
        try:
            headers = Headers(scope["headers"])
            request_id = headers.request_id
            await self._serve(scope, headers, receive, send)
        except (Problem, RegistryError, StorageUnavailable, OAuthError) as error:
            problem = problem_of(error)
            request_id = self._administration.note(self._slug(scope), "App ID management", problem, scope, request_id)
            await _refuse(send, problem, request_id)

    def _slug(self, scope: Scope) -> str:
        return self._path(scope).removeprefix(PREFIX).partition("/")[0]

    def _path(self, scope: Scope) -> str:
        path: str = scope["raw_path"].decode("latin-1")
        return path.removeprefix(self._base)

    async def _serve(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        path = self._path(scope)
        tenant = await self._view.tenant(self._slug(scope))
        if tenant is None:
            raise Problem(404, "not found", "there is no such tenant")
        route, parameters = self._table.route(scope["method"], path.removesuffix("/"))
        request = await self._administration.request(route, parameters, scope, headers, receive, tenant)
        await _send_reply(send, await again(lambda: route.handler(request)))


async def _refuse(send: Send, problem: Problem, request_id: str) -> None:
    """IBM's core library shows `error` or `message`; the SDK reads `error_description`."""
    reason = f"{problem.field}: {problem.detail}" if problem.field else problem.detail
    body = {"error": _ERRORS.get(problem.status, "error"), "error_description": reason, "message": reason}
    if request_id:
        body["request_id"] = request_id
    await answer(send, problem.status, encode_json(body), (*NO_STORE, *problem.headers))


async def _send_reply(send: Send, reply: Reply) -> None:
    if reply.body is not None:
        return await answer(send, reply.status, encode_json(reply.body))
    length = () if reply.status == 204 else ((b"content-length", b"0"),)
    await send({"type": "http.response.start", "status": reply.status, "headers": [*NO_STORE, *length]})
    await send({"type": "http.response.body", "body": b""})
