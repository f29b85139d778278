"""The common part of all HTTP adapters: read the token of a request, and turn a refusal into an answer.

Every HTTP adapter is a few lines around `ProtectedResource`, so that all of them refuse the same
requests with the same words (RFC 6750, RFC 9449), and publish the same metadata (RFC 9728).
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final
from urllib.parse import urlsplit

from watchword.resource.claims import Claims
from watchword.resource.client_certificate import TrustedProxy
from watchword.resource.dpop import ShownProof
from watchword.resource.errors import (
    AccessRefused,
    RequestInvalid,
    TokenInvalid,
    TokenMissing,
)
from watchword.resource.refusal import Answer, Schemes, refusal
from watchword.resource.verifier import Verifier

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"
_B64TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*", re.ASCII)
_SCHEMES: Final = {"bearer": "Bearer", "dpop": "DPoP"}
_log = logging.getLogger("watchword.resource")


class ProtectedResource:
    """One API.

    Args:
        realm: named in ``WWW-Authenticate``.
        scopes: listed in the metadata as ``scopes_supported``.
        proxy: the reverse proxies that pass on the callers' certificates (RFC 8705).
    """

    def __init__(
        self,
        verifier: Verifier,
        *,
        realm: str | None = None,
        scopes: Iterable[str] = (),
        proxy: TrustedProxy | None = None,
    ) -> None:
        self.verifier, self.proxy = verifier, proxy
        self._realm, self._scopes, self._published = realm, sorted(scopes), False
        self._schemes = _schemes(verifier)

    def claims(
        self,
        unverified_authorization: Sequence[str],
        scope: str | None,
        certificate: bytes | None = None,
        proof: Callable[[], ShownProof] | None = None,
    ) -> Claims:
        """The claims of the caller's token. Takes every value of the Authorization header. Raises `AccessRefused`.

        ``certificate``: see `Verifier.verify`; adapters get it from `watchword.resource.client_certificate`.
        ``proof`` reads what `watchword.resource.dpop` needs of the request, and is called for scheme DPoP only.
        """
        scheme, token = shown_token(unverified_authorization)
        if scheme == "Bearer":
            return self.verifier.verify(token, scope, certificate=certificate)
        try:
            return self.verifier.verify(token, scope, certificate=certificate, proof=_shown(proof))
        except AccessRefused as refused:
            refused.scheme = scheme
            raise

    async def aclaims(
        self,
        unverified_authorization: Sequence[str],
        scope: str | None,
        certificate: bytes | None = None,
        proof: Callable[[], ShownProof] | None = None,
    ) -> Claims:
        """`claims`, for an event loop."""
        scheme, token = shown_token(unverified_authorization)
        if scheme == "Bearer":
            return await self.verifier.averify(token, scope, certificate=certificate)
        try:
            return await self.verifier.averify(token, scope, certificate=certificate, proof=_shown(proof))
        except AccessRefused as refused:
            refused.scheme = scheme
            raise

    def refuse(self, refused: AccessRefused, request_id: str = "") -> Answer:
        """The answer for the caller; the rule that was broken goes to the log only, joined by ``request_id``."""
        extra = {"request_id": request_id, "error": refused.error, "rule": refused.rule}
        _log.info("refused with %d: %s%s", refused.status, refused.rule, _joined(request_id), extra=extra)
        address = self.metadata_url if self._published else None
        return refusal(
            refused, realm=self._realm, resource_metadata=address, request_id=request_id, schemes=self._schemes
        )

    # -- RFC 9728 -------------------------------------------------------------------------------

    @property
    def metadata_path(self) -> str:
        """The path of the metadata: the well-known part is inserted before the identifier's path (section 3.1)."""
        return WELL_KNOWN + urlsplit(self.verifier.audience).path.rstrip("/")

    @property
    def metadata_url(self) -> str:
        """`metadata_path` with the host of the audience. Raises ValueError if that is not a web address."""
        parts = urlsplit(self.verifier.audience)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
            raise ValueError(f"only an API whose audience is a plain https URL has metadata: {self.verifier.audience}")
        return f"{parts.scheme}://{parts.netloc}{self.metadata_path}"

    def publish(self) -> tuple[str, bytes]:
        """Path and JSON of the metadata (section 2); from now on challenges name its address (section 5.1).

        Raises:
            ValueError: the audience is not a web address.
        """
        _ = self.metadata_url
        self._published = True
        document: dict[str, object] = {
            "resource": self.verifier.audience,
            "authorization_servers": list(self.verifier.issuers),
            "bearer_methods_supported": ["header"],
        }
        if self.verifier.dpop is not None:
            document["dpop_signing_alg_values_supported"] = list(self._schemes.algorithms)
            document["dpop_bound_access_tokens_required"] = self.verifier.require_bound
        if self._scopes:
            document["scopes_supported"] = self._scopes
        return self.metadata_path, json.dumps(document).encode()


def named_scope(scope: str | None) -> str | None:
    """Check the argument of a decorator: a mistake must not leave a view open to every token.

    Raises:
        TypeError: not a text, as in ``@require`` without parentheses. ValueError: empty.
    """
    if scope is None:
        return None
    if not isinstance(scope, str):
        raise TypeError('write @require("a:read"), or @require() for any good token')
    if not scope.strip():
        raise ValueError("the scope is empty; leave it out if any good token will do")
    return scope


def _joined(request_id: str) -> str:
    return f" (request {request_id})" if request_id else ""


def _schemes(verifier: Verifier) -> Schemes:
    """The schemes to announce: DPoP if the API has `Dpop` settings, and only DPoP if it refuses bearer tokens."""
    algorithms = tuple(algorithm.value for algorithm in verifier.possession.algorithms)
    if verifier.dpop is None:
        return Schemes(algorithms=algorithms)
    return Schemes(("DPoP",) if verifier.require_bound else ("Bearer", "DPoP"), algorithms)


def _shown(proof: Callable[[], ShownProof] | None) -> ShownProof:
    if proof is None:
        raise TokenInvalid("tokens of scheme DPoP are not taken here: this adapter knows nothing of the request")
    return proof()


def shown_token(unverified_authorization: Sequence[str]) -> tuple[str, str]:
    """Scheme, ``Bearer`` or ``DPoP``, and token of the one Authorization header.

    Tokens in the query or in a form are ignored (RFC 9700 section 4.3.2).

    Raises:
        TokenMissing: no header, or another scheme.
        RequestInvalid: more than one header, also when a server in front joined them with a comma
            (RFC 9110 section 5.3), as WSGI servers do.
        TokenInvalid: not a b64token (RFC 6750 section 2.1).
    """
    if len(unverified_authorization) > 1:
        raise RequestInvalid("more than one Authorization header")
    scheme, _, rest = (unverified_authorization[0] if unverified_authorization else "").partition(" ")
    named = _SCHEMES.get(scheme.lower())
    if named is None:
        raise TokenMissing("no Authorization header of scheme Bearer or DPoP")
    token = rest.strip(" ")
    if "," in token:
        raise RequestInvalid("several Authorization headers, joined with a comma")
    if not _B64TOKEN.fullmatch(token):
        raise TokenInvalid(f"what follows {named} is not a token (RFC 6750 section 2.1)")
    return named, token
