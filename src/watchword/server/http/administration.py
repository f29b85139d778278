"""What the administrative surfaces share: who may call an operation, and a parsed request for it.

The admin API and the App ID management API are tables of routes; both are protected by tokens for
Watchword's own API, of the tenant that issued them.
"""

from __future__ import annotations

from hashlib import sha256
from urllib.parse import parse_qsl, unquote

import msgspec

from ...jose import JoseError, decode_unverified
from ...jose.encoding import json_object
from ..service.tokens.refusals import Refusals
from ..service.view import TenantView, storable
from .admin.problems import Problem, unauthorized
from .admin.routes import Request, Route
from .administrator import Administrators
from .wire import Header, Headers, Receive, Scope, read_body

_DIGITS = 18
"""Of a version: what is longer is no version of ours."""


class Administration:
    """Raises `Problem` and, for a body that does not arrive, an `OAuthError`."""

    def __init__(self, administrators: Administrators, body_timeout: float, refusals: Refusals) -> None:
        self._administrators, self._timeout, self._refusals = administrators, body_timeout, refusals

    def note(self, slug: str, surface: str, problem: Problem, scope: Scope, request_id: str) -> str:
        """Count and log a request that was not authorised; other refusals are their caller's business alone.

        Returns the id that joins the log line with the answer.
        """
        if problem.status not in (401, 403):
            return request_id
        why = (problem.title, problem.detail)
        return self._refusals.note_administration(slug, surface, problem.status, why, scope.get("client"), request_id)

    async def request(
        self, route: Route, parameters: dict[str, str], scope: Scope, headers: Headers, receive: Receive,
        named: TenantView | None = None,
    ) -> Request:  # fmt: skip
        """Authorised first, then parsed: a stranger's body is not looked at.

        `named` is the tenant in the path, where the surface has one: the token must be of that tenant.
        """
        caller = await self._administrators.caller(headers, route, scope)
        if named is not None and caller.tenant_id != named.tenant.tenant_id:
            raise unauthorized("insufficient_scope", "this token administers another tenant", status=403)
        raw = await read_body(receive, headers.content_length, route.max_body, self._timeout)
        return Request(
            caller,
            {name: _path_value(value) for name, value in parameters.items()},
            _query(scope["query_string"], route),
            self._body(raw, headers, route),
            _expected(scope["headers"]),
            sha256(raw).digest() if route.creates else b"",
        )

    @staticmethod
    def _body(raw: bytes, headers: Headers, route: Route) -> object:
        if route.body is None:
            return None
        media = headers.media()
        if media != b"application/json":
            raise Problem(415, "unsupported media type", "send Content-Type: application/json")
        try:
            json_object(raw)  # duplicate members, NaN and deep nesting are refused before the shape is looked at
            return msgspec.json.decode(raw, type=route.body)
        except JoseError as error:
            raise Problem(400, "the body is not JSON as we read it", str(error)) from None
        except msgspec.ValidationError as error:
            raise Problem(400, "the request breaks a rule", str(error)) from None
        except (msgspec.DecodeError, RecursionError):
            raise Problem(400, "the body is not JSON as we read it", "not well-formed") from None


def _path_value(raw: str) -> str:
    value = unquote(raw, errors="replace")
    if not storable(value):
        raise Problem(404, "not found", "there is no such thing in this tenant")
    return value


def _query(raw: bytes, route: Route) -> dict[str, str]:
    """Known names only, each once: a sort key or filter that does not exist is refused, not ignored."""
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=20,
        )
    except ValueError:
        raise Problem(400, "the request breaks a rule", "the query is not well-formed") from None
    query = dict(pairs)
    foreign = query.keys() - set(route.query)
    if foreign or len(query) != len(pairs):
        raise Problem(
            400,
            "the request breaks a rule",
            f"this list knows {', '.join(route.query) or 'no parameters'}, each once",
        )
    for name, value in query.items():
        if name != "cursor" and (value and not storable(value)):
            raise Problem(
                400,
                "the request breaks a rule",
                f"{name}: at most 255 printable characters",
                field=name,
            )
    return query


def _expected(headers: list[Header]) -> int | None:
    """If-Match as we write ETags: a version in quotes, or `*`."""
    raw = next((value for name, value in headers if name == b"if-match"), None)
    if raw is None or raw.strip() == b"*":
        return None
    text = raw.strip().strip(b'"')
    if not text.isdigit() or len(text) > _DIGITS:
        raise Problem(
            412,
            "changed meanwhile",
            "If-Match is not an ETag of ours; read the resource again",
        )
    return int(text)


def unverified_issuer(headers: Headers) -> str:
    """The issuer that the caller's token names, unverified; empty if there is none."""
    unverified_token = (headers.authorization or b"").partition(b" ")[2].strip().decode("ascii", "replace")
    try:
        unverified = json_object(decode_unverified(unverified_token).unverified_payload).get("iss")
    except JoseError:
        return ""
    return unverified if isinstance(unverified, str) else ""
