"""GET: the JWK set (RFC 7517) and the three forms of the metadata (RFC 8414)."""

from __future__ import annotations

import hashlib

import msgspec

from ...protocol.client_auth import METHODS, SIGNING_ALGORITHMS
from ...protocol.grants import GRANTS
from ...service.view import TenantView
from ..wire import JSON, SECURITY, Header, Headers, Scope, Send, encode_json


def metadata(issuer: str) -> bytes:
    """Only what is enforced is advertised (RFC 8414 section 2)."""
    return msgspec.json.format(
        encode_json(
            {
                "issuer": issuer,
                "token_endpoint": f"{issuer}/token",
                "jwks_uri": f"{issuer}/jwks",
                "introspection_endpoint": f"{issuer}/introspect",
                "revocation_endpoint": f"{issuer}/revoke",
                "response_types_supported": [],
                "grant_types_supported": list(GRANTS),
                "token_endpoint_auth_methods_supported": list(METHODS),
                "token_endpoint_auth_signing_alg_values_supported": SIGNING_ALGORITHMS,
                "introspection_endpoint_auth_methods_supported": list(METHODS),
                "introspection_endpoint_auth_signing_alg_values_supported": SIGNING_ALGORITHMS,
                "revocation_endpoint_auth_methods_supported": list(METHODS),
                "revocation_endpoint_auth_signing_alg_values_supported": SIGNING_ALGORITHMS,
            }
        )
    )


class PublicDocuments:
    """Answers made once per view of a tenant."""

    def __init__(self, max_age: int) -> None:
        self._max_age = max_age

    async def jwks(self, tenant: TenantView, scope: Scope, send: Send) -> None:
        """How long it may be cached follows the rotation schedule: never longer than a key is published ahead."""
        found = tenant.derived.get("jwks")
        if found is None:
            found = tenant.derived["jwks"] = encode_json(tenant.published.to_jwks())
        assert isinstance(found, bytes)
        await self.answer(scope, send, found)

    async def metadata(self, tenant: TenantView, issuer: str, scope: Scope, send: Send) -> None:
        """RFC 8414 section 3."""
        await self.answer(scope, send, metadata(issuer))

    async def answer(self, scope: Scope, send: Send, body: bytes) -> None:
        """With an ETag, so that a poll costs 304 and no body; HEAD has no body either."""
        etag = b'"' + hashlib.sha256(body).hexdigest()[:32].encode() + b'"'
        headers: tuple[Header, ...] = (
            JSON,
            (b"cache-control", b"public, max-age=%d" % self._max_age),
            (b"etag", etag),
            *SECURITY,
        )
        wanted = next((value for name, value in scope["headers"] if name == b"if-none-match"), b"")
        Headers(scope["headers"])
        unchanged = etag in wanted
        fields = [*headers] if unchanged else [*headers, (b"content-length", b"%d" % len(body))]
        await send(
            {
                "type": "http.response.start",
                "status": 304 if unchanged else 200,
                "headers": fields,
            }
        )
        await send(
            {
                "type": "http.response.body",
                "body": b"" if unchanged or scope["method"] == "HEAD" else body,
            }
        )
