"""The issuer's endpoints, from its metadata alone: a token never decides where anything is fetched from."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from watchword.jose import JoseError
from watchword.jose.encoding import json_object
from watchword.resource.fetch import Document, FetchFailed


def endpoint_of(document: Document, issuer: str, member: str, insecure_http: bool) -> str:
    """An address in metadata that is the issuer's own (RFC 8414 section 3.3). Raises `FetchFailed`."""
    try:
        metadata = json_object(document.body)
    except JoseError:
        raise FetchFailed("the metadata is not JSON") from None
    if metadata.get("issuer") != issuer:
        raise FetchFailed("the metadata is of another issuer (RFC 8414 section 3.3)")
    address = metadata.get(member)
    if not isinstance(address, str):
        raise FetchFailed(f"the metadata has no {member}")
    try:
        return checked_url(address, insecure_http)
    except ValueError as error:
        raise FetchFailed(f"{member} of the metadata: {error}") from None


def metadata_url(issuer: str) -> str:
    """RFC 8414 section 3.1: the well-known part stands between the host and the issuer's path."""
    parts = urlsplit(issuer)
    return f"{parts.scheme}://{parts.netloc}/.well-known/oauth-authorization-server{parts.path.rstrip('/')}"


def checked_url(url: str, insecure_http: bool) -> str:
    """``url`` itself. Raises ValueError for userinfo, a fragment, or plain http to another machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not url.isascii() or re.search(r"[\s\\\x00-\x1f\x7f]", url) or "@" in parts.netloc or not host or parts.fragment:
        raise ValueError("a URL here has a host, no userinfo and no fragment")
    if parts.scheme == "https" or (parts.scheme == "http" and (insecure_http or _is_loopback(host))):
        return url
    raise ValueError("the URL must be https (plain http: loopback only)")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
