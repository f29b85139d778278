"""client_secret_basic and client_secret_post: compare the client secret (RFC 6749 section 2.3.1)."""

from __future__ import annotations

import hmac

from ...registry.model import Application, Secret
from ...registry.secret_text import digest
from ..errors import InvalidClient
from ..request import Credentials
from .grounds import Grounds, Proven

_METHODS = ("client_secret_basic", "client_secret_post")
_NOBODY = Secret(id="", digest="hmac:" + "0" * 64, created_at=0)


def prove(application: Application | None, presented: Credentials, grounds: Grounds) -> Proven:
    """Compare with every live secret in constant time; an application with another method never matches."""
    given = digest(grounds.pepper, presented.unverified_secret.encode("utf-8", "surrogateescape")).encode()
    candidates = application.secrets if application is not None and application.secrets else (_NOBODY,)
    found: Secret | None = None
    for secret in candidates:
        if hmac.compare_digest(secret.digest.encode(), given) and secret.live(grounds.now):
            found = secret
    if application is None or found is None or not presented.unverified_secret:
        raise InvalidClient(detail="unknown application or wrong secret")
    if application.auth_method not in (_METHODS if presented.interchangeable else (presented.method,)):
        raise InvalidClient(detail=f"registered for {application.auth_method}, used {presented.method}")
    return Proven(secret_id=found.id)
