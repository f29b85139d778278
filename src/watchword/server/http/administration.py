"""What the administrative surfaces share: who may call an operation, and a parsed request for it.

The admin API and the App ID management API are tables of routes; both are protected by tokens for
Watchword's own API, of the tenant that issued them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from ...jose import JoseError, decode_unverified
from ...jose.encoding import json_object
from ..protocol.binding import check_possession
from ..protocol.errors import OAuthError
from ..registry.model import ADMIN_API
from ..service.create_tenant import DEFAULT
from ..service.desk import Caller
from ..service.read_token import TokenReader
from ..service.view import TenantView, View, storable
from .admin.problems import Problem, unauthorized
from .admin.routes import Request, Route
from .client_certificate import certificate_of
from .wire import Header, Headers, Receive, Scope, read_body


class Administration:
    """Raises `Problem` and, for a body that does not arrive, an `OAuthError`."""

    def __init__(
        self, view: View, tokens: TokenReader, clock: Callable[[], float],
        issuer_of: Callable[[str], str], body_timeout: float,
    ) -> None:  # fmt: skip
        self._view, self._tokens, self._clock = view, tokens, clock
        self._issuer_of, self._timeout = issuer_of, body_timeout

    async def request(
        self, route: Route, parameters: dict[str, str], scope: Scope, headers: Headers, receive: Receive,
        named: TenantView | None = None,
    ) -> Request:  # fmt: skip
        """Authorised first, then parsed: a stranger's body is not looked at.

        `named` is the tenant in the path, where the surface has one: the token must be of that tenant.
        """
        caller = await self._authorise(headers, route, scope)
        if named is not None and caller.tenant_id != named.tenant.tenant_id:
            raise unauthorized("insufficient_scope", "this token administers another tenant", status=403)
        return Request(
            caller,
            {name: _path_value(value) for name, value in parameters.items()},
            _query(scope["query_string"], route),
            await self._body(headers, receive, route),
            _expected(scope["headers"]),
        )

    async def _authorise(self, headers: Headers, route: Route, scope: Scope) -> Caller:
        """A token for the admin API, of the tenant that issued it, with the route's scope."""
        scheme, _, raw = (headers.authorization or b"").partition(b" ")
        unverified_token = raw.strip().decode("ascii", "replace")
        if headers.authorizations != 1 or scheme.lower() != b"bearer" or not unverified_token:
            raise unauthorized(
                "invalid_token",
                "send one Authorization: Bearer header with a token for the admin API",
            )
        tenant = await self._tenant_of(unverified_token)
        await self._view.must_be_fresh()
        claims = await self._tokens.claims(tenant, unverified_token, self._clock()) if tenant is not None else None
        if tenant is None or claims is None or ADMIN_API not in _texts(claims["aud"]):
            raise unauthorized("invalid_token", "the token is not an active one for the admin API")
        if "cnf" in claims:
            _check_possession(claims, scope)
        if route.scope not in claims["scope"].split(" "):
            raise unauthorized(
                "insufficient_scope",
                f"this needs the scope {route.scope}",
                scope=route.scope,
                status=403,
            )
        if route.default_tenant_only and tenant.tenant.slug != DEFAULT:
            raise unauthorized(
                "insufficient_scope",
                "only the default tenant administers tenants",
                scope=route.scope,
                status=403,
            )
        return Caller(tenant.tenant.tenant_id, str(claims["sub"]), headers.request_id)

    async def _tenant_of(self, unverified_token: str) -> TenantView | None:
        """Which tenant to ask; the claim is unverified and decides nothing else."""
        try:
            unverified_claims = json_object(decode_unverified(unverified_token).unverified_payload)
        except JoseError:
            return None
        unverified_issuer = unverified_claims.get("iss")
        slug = unverified_issuer.rpartition("/")[2] if isinstance(unverified_issuer, str) else ""
        if not storable(slug) or unverified_issuer != self._issuer_of(slug):
            return None
        return await self._view.tenant(slug)

    async def _body(self, headers: Headers, receive: Receive, route: Route) -> object:
        raw = await read_body(receive, headers.content_length, route.max_body, self._timeout)
        if route.body is None:
            return None
        media = (headers.content_type or b"").partition(b";")[0].strip().lower()
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


def _check_possession(claims: dict[str, Any], scope: Scope) -> None:
    try:
        check_possession(claims, certificate_of(scope))
    except OAuthError as error:
        raise unauthorized("invalid_token", error.public) from None


def _texts(audience: str | list[str]) -> list[str]:
    return [audience] if isinstance(audience, str) else audience


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
    if not text.isdigit():
        raise Problem(
            412,
            "changed meanwhile",
            "If-Match is not an ETag of ours; read the resource again",
        )
    return int(text[:9])
