"""GET: the JWK set (RFC 7517) and the three forms of the metadata, with its signed copy (RFC 8414 section 2.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection

import msgspec
from msgspec import Struct

from ....jose import Signer
from ....jose.cose_signing import cose_key_set
from ....jose.dpop import PROOF_ALGORITHMS
from ...protocol.client_auth import METHODS, SIGNING_ALGORITHMS
from ...protocol.grants import GRANTS
from ...registry.model import CERTIFICATE_METHODS, TransactionTokens
from ...registry.profiles import PROFILES, Profile
from ...service.view import TenantView
from ..wire import JSON, SECURITY, Header, Headers, Scope, Send, encode_json, not_found


class ClientCertificatePolicy(Struct, frozen=True):
    """Whether this server sees client certificates, and the issuer whose endpoints ask for one, if it is another."""

    taken: bool = False
    issuer_of: Callable[[str], str] | None = None


CERTIFICATES: Header = (b"content-type", b"application/pem-certificate-chain")
COSE_KEY_SET: Header = (b"content-type", b"application/cose-key-set")
SIGNED_WITH = "ES256"
"""Every tenant has a key for it, and every client that verifies JWTs knows it."""
TRANSACTION_TOKENS = "watchword_transaction_tokens"
"""A name of our own: the draft registers none."""


def metadata(
    issuer: str,
    aliases: str | None = None,
    certificates: bool = False,
    signing: Collection[str] = (),
    profile: Profile = PROFILES[""],
    details_types: Collection[str] = (),
    transactions: TransactionTokens | None = None,
) -> dict[str, object]:
    """The metadata (RFC 8414 section 2): only what is enforced, by registered names where there are any.

    `aliases` is the base of the endpoints that ask for a certificate (RFC 8705 section 5); `signing` names the
    algorithms of the tenant's own active keys.
    """
    supported = [name for name in signing if name in (profile.algorithms or signing)]
    return {
        "issuer": issuer,
        **_endpoints(issuer),
        "response_types_supported": [],
        "grant_types_supported": list(GRANTS),
        **_authentication("token", certificates, profile),
        **_authentication("introspection", certificates, profile),
        "introspection_signing_alg_values_supported": sorted(supported),
        **_authentication("revocation", certificates, profile),
        "dpop_signing_alg_values_supported": [algorithm.value for algorithm in PROOF_ALGORITHMS],
        **({"tls_client_certificate_bound_access_tokens": True} if certificates else {}),
        **({"authorization_details_types_supported": sorted(details_types)} if details_types else {}),
        **({TRANSACTION_TOKENS: _draft(transactions)} if transactions is not None else {}),
        **({"mtls_endpoint_aliases": _aliases(aliases)} if aliases is not None else {}),
    }


def _endpoints(issuer: str) -> dict[str, str]:
    return {
        "token_endpoint": f"{issuer}/token",
        "jwks_uri": f"{issuer}/jwks",
        "registration_endpoint": f"{issuer}/register",
        "enrolment_endpoint": f"{issuer}/enrol",
        "introspection_endpoint": f"{issuer}/introspect",
        "revocation_endpoint": f"{issuer}/revoke",
    }


def _aliases(base: str) -> dict[str, str]:
    """The endpoints that ask for a client certificate (RFC 8705 section 5)."""
    return {
        "token_endpoint": f"{base}/token",
        "introspection_endpoint": f"{base}/introspect",
        "revocation_endpoint": f"{base}/revoke",
        "enrolment_endpoint": f"{base}/enrol",
    }


def _authentication(endpoint: str, certificates: bool, profile: Profile) -> dict[str, list[str]]:
    """The methods and algorithms with which clients authenticate at one endpoint."""
    hidden = ("federated_jwt", *(() if certificates else CERTIFICATE_METHODS))
    methods = [name for name in METHODS if name not in hidden and name in (profile.auth_methods or METHODS)]
    algorithms = [name for name in SIGNING_ALGORITHMS if name in (profile.algorithms or SIGNING_ALGORITHMS)]
    return {
        f"{endpoint}_endpoint_auth_methods_supported": methods,
        f"{endpoint}_endpoint_auth_signing_alg_values_supported": algorithms,
    }


def _draft(transactions: TransactionTokens) -> str:
    return f"draft-ietf-oauth-transaction-tokens-{transactions.draft.removeprefix('draft-')}"


class Document(Struct, frozen=True):
    """A body and its ETag."""

    body: bytes
    etag: bytes


def signed(members: dict[str, object], tenant: TenantView) -> Document:
    """The metadata with `signed_metadata`, a JWT of the same members (RFC 8414 section 2.1).

    The JWT has no `typ`, because none is registered. It cannot pass for a token: all our readers require one.
    The ETag is weak and made of what was signed, because the signatures of two workers differ.
    """
    plain = encode_json(members)
    key = tenant.signing.get(SIGNED_WITH)
    if key is None:
        return Document(msgspec.json.format(plain), _strong(plain))
    claims = encode_json({"iss": members["issuer"], **members})
    body = encode_json({**members, "signed_metadata": Signer(key, typ=None).sign(claims)})
    return Document(msgspec.json.format(body), b"W/" + _strong(plain + key.kid.encode()))


def _details_types(tenant: TenantView) -> set[str]:
    return {kind.name for api in tenant.apis.values() if api.enabled for kind in api.details_types}


def _strong(body: bytes) -> bytes:
    return b'"' + hashlib.sha256(body).hexdigest()[:32].encode() + b'"'


class PublicDocuments:
    """The documents of a tenant, each made once per view of it."""

    def __init__(self, max_age: int, certificates: ClientCertificatePolicy = ClientCertificatePolicy()) -> None:  # noqa: B008 (frozen)
        self._max_age, self._certificates = max_age, certificates

    async def jwks(self, tenant: TenantView, scope: Scope, send: Send) -> None:
        """The JWK set (RFC 7517). Caches keep it no longer than a key is published before it signs."""
        found = tenant.derived.get("jwks")
        if found is None:
            found = tenant.derived["jwks"] = encode_json(tenant.published.to_jwks())
        assert isinstance(found, bytes)
        await self.answer(scope, send, found)

    async def cose_keys(self, tenant: TenantView, scope: Scope, send: Send) -> None:
        """The keys that verify CWTs, for APIs that read CBOR and no JSON (RFC 9052 section 7)."""
        found = tenant.derived.get("cose keys")
        if found is None:
            found = tenant.derived["cose keys"] = cose_key_set(tenant.published)
        assert isinstance(found, bytes)
        await self.answer(scope, send, found, content=COSE_KEY_SET)

    async def device_ca(self, tenant: TenantView, scope: Scope, send: Send) -> None:
        """The tenant's own authorities for devices, PEM (RFC 8555 section 9.1); 404 while there is none."""
        found = "".join(one.pem for one in tenant.authorities).encode()
        if not found:
            await not_found(send)
            return
        await self.answer(scope, send, found, content=CERTIFICATES)

    async def metadata(self, tenant: TenantView, issuer: str, scope: Scope, send: Send) -> None:
        """RFC 8414 section 3; signed once for each view of the tenant, so anew when its keys change."""
        found = tenant.derived.get("metadata")
        if found is None:
            alias_of = self._certificates.issuer_of
            aliases = alias_of(tenant.tenant.slug) if alias_of is not None else None
            members = metadata(
                issuer, aliases, self._certificates.taken, tenant.signing, tenant.profile, _details_types(tenant),
                tenant.tenant.transaction_tokens,
            )  # fmt: skip
            found = tenant.derived["metadata"] = signed(members, tenant)
        assert isinstance(found, Document)
        await self.answer(scope, send, found.body, found.etag)

    async def answer(self, scope: Scope, send: Send, body: bytes, etag: bytes = b"", content: Header = JSON) -> None:
        """With an ETag, so that a poll costs 304 and no body; HEAD has no body either."""
        etag = etag or _strong(body)
        headers: tuple[Header, ...] = (
            content,
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
