"""FastAPI: a dependency that also tells OpenAPI which scopes a path needs."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.openapi.models import OAuth2, OAuthFlowClientCredentials, OAuthFlows
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase

from watchword.resource import dpop
from watchword.resource.claims import Claims
from watchword.resource.client_certificate import TrustedProxy, of_scope
from watchword.resource.errors import AccessRefused
from watchword.resource.protected_resource import ProtectedResource
from watchword.resource.request_id import request_id
from watchword.resource.verifier import Verifier


class RequireToken(SecurityBase):
    """``token = RequireToken(verifier, scopes={"a:read": "Read"})``, then ``Security(token, scopes=["a:read"])``.

    The dependency's value is the `Claims`. In OpenAPI it is an OAuth 2.0 client-credentials scheme.

    Args:
        scopes: every scope that a path of this application needs, with a description of each.
        token_url: where callers get tokens; by default the ``/token`` of a Watchword issuer.
        scheme_name: the scheme's name in OpenAPI. ``realm``, ``proxy``: see `ProtectedResource`.
    """

    def __init__(
        self,
        verifier: Verifier,
        *,
        scopes: Mapping[str, str],
        token_url: str | None = None,
        scheme_name: str = "watchword",
        realm: str | None = None,
        proxy: TrustedProxy | None = None,
    ) -> None:
        self._resource = ProtectedResource(verifier, realm=realm, scopes=scopes, proxy=proxy)
        self._known = frozenset(scopes)
        flow = OAuthFlowClientCredentials(tokenUrl=token_url or f"{verifier.issuer}/token", scopes=dict(scopes))
        self.model = OAuth2(flows=OAuthFlows(clientCredentials=flow))
        self.scheme_name = scheme_name

    async def __call__(self, request: Request, needed: SecurityScopes) -> Claims:
        """The claims of the caller's token. Raises HTTPException with the challenge."""
        if unknown := set(needed.scopes) - self._known:
            raise RuntimeError(f"name these in RequireToken(scopes=...), or OpenAPI is wrong: {sorted(unknown)}")
        scope = " ".join(needed.scopes) or None
        try:
            shown = of_scope(request.scope, self._resource.proxy)
            values = request.headers.getlist("authorization")
            return await self._resource.aclaims(values, scope, shown, lambda: dpop.of_scope(request.scope))
        except AccessRefused as refused:
            answer = self._resource.refuse(refused, request_id(request.headers.items()))
            headers = {name: value for name, value in answer.headers.items() if name != "Content-Type"}
            raise HTTPException(answer.status, answer.document, headers) from None

    def metadata_router(self) -> APIRouter:
        """The route of the RFC 9728 metadata; it needs no token."""
        path, body = self._resource.publish()
        router = APIRouter()

        @router.get(path, include_in_schema=False)
        async def metadata() -> Response:
            return Response(body, media_type="application/json")

        return router
