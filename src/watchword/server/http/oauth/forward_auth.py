"""GET {issuer}/forward-auth?audience=...&scope=...: for nginx, Traefik and Caddy to ask before they let a request in.

Two things of the request count: its own query, which the gateway's configuration wrote, and the one
Authorization header, which is the caller's. `X-Forwarded-*`, `X-Original-*` and the like are not read:
whoever sends them cannot change what is asked (decision 0010).
"""

from __future__ import annotations

import re
from urllib.parse import quote

from msgspec import Struct

from ...protocol.errors import InsufficientScope, InvalidRequest, InvalidToken, OAuthError
from ...protocol.form import parse_form
from ...protocol.request import text
from ...service.tokens.forward_auth import ForwardAuth
from ...service.tokens.refusals import Refusals
from ...service.view import TenantView
from ..wire import NO_STORE, Header, Headers, Scope, Send, answer, encode_json, public_text
from .introspect import MAX_TOKEN

_KNOWN = frozenset({"audience", "scope"})
_SCOPES = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+(?: [\x21\x23-\x5B\x5D-\x7E]+)*")
"""RFC 6749 section 3.3; it is repeated in a header, where anything else could begin another one."""
_VISIBLE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")


class TokenMissing(InvalidToken):
    """No token at all: the challenge has no error word (RFC 6750 section 3.1)."""


class Wanted(Struct, frozen=True):
    """What the gateway's configuration asks for."""

    audience: str
    scope: str


class ForwardAuthEndpoint:
    """Whatever concerns the caller is 401 or 403, the only refusals that nginx passes on; 400 is for the operator."""

    def __init__(self, admit: ForwardAuth, refusals: Refusals) -> None:
        self._admit, self._refusals = admit, refusals

    async def __call__(self, tenant: TenantView, scope: Scope, send: Send) -> None:
        """200 with `X-Watchword-Client` and `X-Watchword-Scope`, or the challenge."""
        wanted = read_query(scope["query_string"])
        headers = Headers(scope["headers"])
        try:
            token = bearer_token(headers)
            admitted = await self._admit(tenant, token, wanted.audience, frozenset(wanted.scope.split()))
        except (InvalidToken, InsufficientScope) as error:
            request_id = headers.request_id
            if not isinstance(error, TokenMissing):
                _, request_id = self._refusals.note(tenant.tenant.slug, error, scope.get("client"), "", request_id)
            await _refuse(send, error, wanted, request_id)
            return
        fields: tuple[Header, ...] = (
            *NO_STORE,
            (b"x-watchword-client", quote(admitted.client_id, safe=_VISIBLE).encode()),
            (b"x-watchword-scope", admitted.scope.encode()),
        )
        await answer(send, 200, b"{}", fields)


def read_query(unverified_query: bytes) -> Wanted:
    """Raises `InvalidRequest`: also for an unknown parameter, for a misspelt `scope` would open the API."""
    if any(pair and not pair.partition(b"=")[2] for pair in unverified_query.split(b"&")):
        # `parse_form` takes such a parameter for absent, and a request without `scope` is open to every token.
        raise InvalidRequest("a parameter has no value: the gateway's configuration left a variable empty")
    form = parse_form(unverified_query, frozenset())
    if unknown := form.keys() - _KNOWN:
        raise InvalidRequest(f"unknown parameter: {min(unknown)[:40]}; the gateway says audience and scope")
    audience, scope = text(form, "audience"), text(form, "scope")
    if not audience:
        raise InvalidRequest("audience is missing: the gateway's configuration names the API")
    if "scope" in form and not _SCOPES.fullmatch(scope):
        raise InvalidRequest("scope is not a list of scope-tokens with single spaces; leave it out for any token")
    return Wanted(audience, scope)


def bearer_token(headers: Headers) -> str:
    """The token of the one Authorization header. Raises `TokenMissing`, `InvalidToken`."""
    if headers.authorizations > 1:
        raise InvalidToken("more than one Authorization header")
    scheme, _, rest = (headers.authorization or b"").partition(b" ")
    if scheme.lower() != b"bearer":
        raise TokenMissing("a bearer token is required")
    token = rest.strip(b" ").decode("latin-1")
    if not token or len(token) > MAX_TOKEN:
        raise InvalidToken("the access token is not valid here")
    return token


async def _refuse(send: Send, error: OAuthError, wanted: Wanted, request_id: str) -> None:
    """RFC 6750 section 3."""
    challenge = "Bearer"
    if not isinstance(error, TokenMissing):
        challenge += f' error="{error.error}", error_description="{public_text(error.public)}"'
    if isinstance(error, InsufficientScope):
        challenge += f', scope="{wanted.scope}"'
    body = encode_json({"error": error.error, "error_description": public_text(error.public)})
    fields: tuple[Header, ...] = (*NO_STORE, (b"www-authenticate", challenge.encode()))
    if request_id:
        fields = (*fields, (b"x-request-id", request_id.encode()))
    await answer(send, error.status, body, fields)
