"""The admin API as a table: the routing, the permission, the schema and the documentation are one row."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

from msgspec import Struct

from ...service.desk import Caller
from ..wire import MAX_BODY
from .problems import Problem

KEY_PATTERN: Final = r'^("[A-Za-z0-9._~:/+=-]{1,128}"|[A-Za-z0-9._~:/+=-]{1,128})$'
"""Of the header `Idempotency-Key`."""


class Request(Struct, frozen=True):
    """What a handler sees: parsed, judged, authorised."""

    caller: Caller
    path: dict[str, str]
    query: dict[str, str]
    body: Any
    expected: int | None
    digest: bytes = b""
    """SHA-256 of the body of a request that creates something."""


class Reply(Struct, frozen=True):
    """What a handler answers; `version` becomes the ETag."""

    body: Any = None
    status: int = 200
    version: int | None = None
    location: str | None = None


Handler = Callable[[Request], Awaitable[Reply]]


class Route(Struct, frozen=True, kw_only=True):
    """One operation. `scope` is the permission that it needs."""

    method: str
    path: str
    scope: str
    summary: str
    handler: Handler
    body: Any = None
    reply: Any = None
    status: int = 200
    query: tuple[str, ...] = ()
    about: dict[str, str] = {}
    """What the parameters of the query mean, for the OpenAPI document."""
    default_tenant_only: bool = False
    max_body: int = MAX_BODY

    @property
    def creates(self) -> bool:
        """Whether it takes an `Idempotency-Key`; its verb then opens its transaction with `Desk.transaction`."""
        return self.method == "POST" and self.status == 201


class Table:
    """Finds the route of a path; a path that exists with another method is 405, not 404."""

    def __init__(self, routes: list[Route]) -> None:
        self.routes = routes
        self._patterns = [(re.compile(_pattern(route.path)), route) for route in routes]

    def route(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route and its path parameters. Raises `Problem` 404 and 405."""
        found, parameters, allowed = self.find(method, path)
        if found is None and not allowed:
            raise Problem(404, "not found", "there is nothing at this path")
        if found is None:
            listed = ", ".join(allowed)
            raise Problem(405, "method not allowed", f"use {listed}", headers=((b"allow", listed.encode()),))
        return found, parameters

    def find(self, method: str, path: str) -> tuple[Route | None, dict[str, str], list[str]]:
        """The route, its path parameters, and the methods that the path has."""
        allowed: list[str] = []
        for pattern, route in self._patterns:
            match = pattern.fullmatch(path)
            if match:
                allowed.append(route.method)
                if route.method == method:
                    return route, match.groupdict(), allowed
        return None, {}, allowed


def _pattern(path: str) -> str:
    return re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path))
