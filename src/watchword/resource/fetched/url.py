"""Rules for URLs of the issuer: where a secret or a token may be sent, and where a proxy may stand between."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit


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


def may_use_proxy(url: str) -> bool:
    """Whether a request to ``url`` may go through a proxy of the environment (HTTPS_PROXY and its like).

    https to another machine only: a proxy would read what plain http sends, and loopback is this machine.
    """
    parts = urlsplit(url)
    return parts.scheme == "https" and not _is_loopback(parts.hostname or "")
