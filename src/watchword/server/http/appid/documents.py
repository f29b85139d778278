"""GET: the public keys and the discovery document of the App ID surface."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ...protocol.appid import ALGORITHM
from ...registry.appid import DEFAULT_SCOPE
from ...registry.model import CLIENT_CREDENTIALS
from ...service.view import TenantView
from ..oauth.metadata import PublicDocuments
from ..wire import Scope, Send, encode_json

_CLAIMS = ("iss", "aud", "sub", "exp", "iat", "tenant", "scope", "amr", "jti")


def discovery(issuer: str, management: str, profiles: str) -> bytes:
    """What App ID's own document holds, with the two endpoints for users, who do not exist here.

    IBM's Istio adapter refuses a document without `authorization_endpoint` and `userinfo_endpoint`;
    both answer with a refusal that says so.
    """
    return msgspec.json.format(
        encode_json(
            {
                "issuer": issuer,
                "authorization_endpoint": f"{issuer}/authorization",
                "token_endpoint": f"{issuer}/token",
                "jwks_uri": f"{issuer}/publickeys",
                "userinfo_endpoint": f"{issuer}/userinfo",
                "introspection_endpoint": f"{issuer}/introspect",
                "revocation_endpoint": f"{issuer}/revoke",
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [ALGORITHM],
                "scopes_supported": [DEFAULT_SCOPE],
                "response_types_supported": [],
                "claims_supported": _CLAIMS,
                "grant_types_supported": [CLIENT_CREDENTIALS],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
                "profiles_endpoint": profiles,
                "management_endpoint": management,
            }
        )
    )


class AppIdDocuments:
    """Answered with an ETag, as the native ones are."""

    def __init__(self, documents: PublicDocuments, issuer_of: Callable[[str], str], base_url: str) -> None:
        self._documents, self._issuer_of, self._base_url = documents, issuer_of, base_url

    async def public_keys(self, tenant: TenantView, scope: Scope, send: Send) -> None:
        """The RS256 keys alone: the SDK makes a PEM of every key that is listed."""
        found = tenant.derived.get("appid keys")
        if found is None:
            listed = [key.to_jwk() for key in tenant.published.values() if key.algorithm == ALGORITHM]
            found = tenant.derived["appid keys"] = encode_json({"keys": listed})
        assert isinstance(found, bytes)
        await self._documents.answer(scope, send, found)

    async def discovery(self, tenant: TenantView, scope: Scope, send: Send) -> None:
        """`issuer` is byte for byte the tokens' `iss`."""
        slug = tenant.tenant.slug
        body = discovery(self._issuer_of(slug), f"{self._base_url}/management/v4/{slug}", self._base_url)
        await self._documents.answer(scope, send, body)
