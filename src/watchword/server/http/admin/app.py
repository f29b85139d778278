"""The admin API's ASGI application: find, call, answer. Protected by Watchword's own tokens."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from ...protocol.errors import OAuthError
from ...registry.errors import RegistryError
from ...service.contention import again
from ...service.ports import StorageUnavailable
from ...service.registry.create_tenant import DEFAULT
from ...service.view import View
from ..administration import Administration, unverified_issuer
from ..wire import NO_STORE, Header, Headers, Receive, Scope, Send, answer, encode_json
from .openapi import document
from .problems import Problem, answer_problem, problem_of
from .repeats import Repeats
from .routes import Reply, Route, Table

OPENAPI = "/api/v1/openapi.json"


class AdminApi:
    """Mounted under /api/v1/."""

    def __init__(
        self, routes: list[Route], administration: Administration, *, repeats: Repeats, view: View,
        issuer_of: Callable[[str], str], base_path: str,
    ) -> None:  # fmt: skip
        self._administration, self._repeats, self._view = administration, repeats, view
        self._issuer_of, self._base = issuer_of, base_path
        self._table = Table(routes)
        self._token_url = issuer_of(DEFAULT) + "/token"

    @cached_property
    def _document(self) -> bytes:
        """Made when somebody first asks for it, and not at each start of a worker: it is much of what a start costs."""
        return encode_json(document(self._table.routes, self._token_url))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Every refusal is a problem document; none says more than its reader may know."""
        request_id = ""
        try:
            headers = Headers(scope["headers"])
            request_id = headers.request_id
            path = scope["raw_path"].decode("latin-1").removeprefix(self._base)
            if path == OPENAPI and scope["method"] in ("GET", "HEAD"):
                return await answer(send, 200, self._document)
            await self._serve(path, scope, headers, receive, send)
        except (Problem, RegistryError, StorageUnavailable, OAuthError) as error:
            problem = problem_of(error)
            slug = self._concerned(scope) if problem.status in (401, 403) else ""
            request_id = self._administration.note(slug, "admin API", problem, scope, request_id)
            await answer_problem(send, problem, request_id)
        return None

    def _concerned(self, scope: Scope) -> str:
        """The tenant whose audit log counts the refusal: the one that the token names, if it is a known one."""
        issuer = unverified_issuer(Headers(scope["headers"]))
        slug = issuer.rpartition("/")[2]
        return slug if self._view.knows(slug) and issuer == self._issuer_of(slug) else DEFAULT

    async def _serve(self, path: str, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        route, parameters = self._table.route(scope["method"], path)
        request = await self._administration.request(route, parameters, scope, headers, receive)
        request = self._repeats.marked(route, path, scope["headers"], request)
        reply = await self._repeats.once(request.caller.mark, lambda: again(lambda: route.handler(request)))
        await _send_reply(send, reply)


async def _send_reply(send: Send, reply: Reply) -> None:
    headers: tuple[Header, ...] = NO_STORE
    if reply.version is not None:
        headers = (*headers, (b"etag", b'"%d"' % reply.version))
    if reply.location is not None:
        headers = (*headers, (b"location", reply.location.encode("ascii", "replace")))
    if reply.status == 204:
        await send({"type": "http.response.start", "status": 204, "headers": [*headers]})
        await send({"type": "http.response.body", "body": b""})
        return
    await answer(send, reply.status, encode_json(reply.body), headers)
