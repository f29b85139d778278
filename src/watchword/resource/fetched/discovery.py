"""Discover the issuer's endpoints from its metadata (RFC 8414). A token never decides which URL is fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from watchword.jose import ACCESS_TOKEN_ALGORITHMS, JoseError, verify_signature
from watchword.jose.encoding import json_object
from watchword.resource.fetched.fetch import Document, FetchFailed
from watchword.resource.fetched.url import checked_url

if TYPE_CHECKING:
    from watchword.jose import KeySet


def endpoint_of(
    document: Document, issuer: str, member: str, insecure_http: bool, trusted: KeySet | None = None
) -> str:
    """The URL ``member`` of the issuer's metadata (RFC 8414 section 3.3). Raises `FetchFailed`.

    With ``trusted`` keys only metadata that is signed by one of them is used (section 2.1).
    """
    try:
        metadata = json_object(document.body)
    except JoseError:
        raise FetchFailed("the metadata is not JSON") from None
    if trusted is not None:
        metadata = _signed(metadata, issuer, trusted)
    if metadata.get("issuer") != issuer:
        raise FetchFailed("the metadata is of another issuer (RFC 8414 section 3.3)")
    address = metadata.get(member)
    if not isinstance(address, str):
        raise FetchFailed(f"the metadata has no {member}")
    try:
        return checked_url(address, insecure_http)
    except ValueError as error:
        raise FetchFailed(f"{member} of the metadata: {error}") from None


def _signed(metadata: dict[str, Any], issuer: str, trusted: KeySet) -> dict[str, Any]:
    unverified_jwt = metadata.get("signed_metadata")
    if not isinstance(unverified_jwt, str):
        raise FetchFailed("the metadata is not signed, and signed metadata is insisted on")
    try:
        # No typ is registered for signed metadata. The member `issuer`, checked next, distinguishes it from a token.
        claims = verify_signature(unverified_jwt, trusted, algorithms=ACCESS_TOKEN_ALGORITHMS, typ=None).claims
    except JoseError as error:
        raise FetchFailed(f"the signed metadata is refused: {error.rule}") from None
    if claims.get("iss") != issuer:
        raise FetchFailed("the signed metadata is of another issuer")
    return claims


def metadata_url(issuer: str) -> str:
    """RFC 8414 section 3.1: the well-known part is inserted between the host and the issuer's path."""
    parts = urlsplit(issuer)
    return f"{parts.scheme}://{parts.netloc}/.well-known/oauth-authorization-server{parts.path.rstrip('/')}"
