"""Judge a token that somebody shows: is it ours, and still good?

Shared by introspection, revocation and the admin API.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any

import msgspec

from ....jose import ACCESS_TOKEN_ALGORITHMS, POST_QUANTUM, JoseError, verify_signature
from ....jose.cwt import looks_like_cwt, verify_cwt
from ...protocol.claims import issued_ms
from ...protocol.grants.grant import ShownToken
from ...protocol.still_granted import still_granted
from ...registry.secret_text import OPAQUE_PREFIX, opaque_hash, well_formed
from ..view import TenantView, View

_ACCEPTED_TYPES = frozenset({"at+jwt", "JWT"})
_ALGORITHMS = ACCESS_TOKEN_ALGORITHMS | POST_QUANTUM
"""What a tenant may sign with."""
_REMEMBERED = 20_000
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


class TokenReader:
    """Verified claims, remembered by the token's hash; what can change is looked at every time.

    They are remembered as JSON: as objects they are four times as large, and a worker remembers many.
    """

    def __init__(self, view: View) -> None:
        self._view = view

    async def claims(self, tenant: TenantView, unverified_token: str, now: float) -> dict[str, Any] | None:
        """What an active token of this tenant allows now, or None: a demotion of its application counts at once.

        Audiences, scopes and details that the application no longer holds are left out.
        """
        claims = await self.active(tenant, unverified_token, now)
        if claims is None:
            return None
        standing = await self._view.standing(tenant, str(claims.get("client_id", claims["sub"])))
        return still_granted(claims, standing, tenant.by_identifier) if standing is not None else None

    async def active(self, tenant: TenantView, unverified_token: str, now: float) -> dict[str, Any] | None:
        """The claims of an active token of this tenant as they were signed, or None; for revocation.

        Looks at signature, expiry, revocation, cut-offs, and whether the application still may act.
        """
        known = self._remembered(tenant)
        name = hashlib.sha256(unverified_token.encode("utf-8", "surrogateescape")).digest()
        raw = known.get(name)
        claims: dict[str, Any] | None
        if raw is not None:
            claims = _decode(raw)
        else:
            claims = await self._verified(tenant, unverified_token)
            if claims is None:
                return None
            known[name] = _encode(claims)
            if len(known) > _REMEMBERED:
                known.popitem(last=False)
        return claims if await self._still_active(tenant, claims, now) else None

    async def shown(self, tenant: TenantView, token: ShownToken, now: float) -> dict[str, Any] | None:
        """The claims of an active token of the type that a grant expects, or None.

        Only access tokens are remembered: a remembered token counts as an access token.
        """
        if not token.type:
            return await self.claims(tenant, token.unverified, now)
        try:
            claims = verify_signature(
                token.unverified, tenant.published, algorithms=_ALGORITHMS, typ={token.type}
            ).claims
        except JoseError:
            return None
        return claims if await self._still_active(tenant, claims, now) else None

    async def _verified(self, tenant: TenantView, unverified_token: str) -> dict[str, Any] | None:
        if unverified_token.startswith(OPAQUE_PREFIX):
            if not well_formed(unverified_token, OPAQUE_PREFIX):
                return None
            stored = await self._view.opaque(tenant, opaque_hash(unverified_token))
            return msgspec.json.decode(stored) if stored is not None else None
        try:
            if looks_like_cwt(unverified_token):
                return _with_what_was_left_out(verify_cwt(unverified_token, tenant.published, _ALGORITHMS))
            verified = verify_signature(
                unverified_token,
                tenant.published,
                algorithms=_ALGORITHMS,
                typ=_ACCEPTED_TYPES,
            )
        except JoseError:
            return None
        return verified.claims

    async def _still_active(self, tenant: TenantView, claims: dict[str, Any], now: float) -> bool:
        token_id, client_id = claims.get("jti"), claims.get("sub")
        if not isinstance(token_id, str) or not isinstance(client_id, str) or not tenant.tenant.enabled:
            return False
        if claims["exp"] <= now or token_id in tenant.revoked:
            return False
        standing = await self._view.standing(tenant, client_id)
        if standing is None or not standing.application.active:
            return False
        issued = issued_ms(token_id)
        if issued is None or issued <= max(tenant.tenant.not_before_ms, standing.application.not_before_ms):
            return False
        return "act" not in claims or await self._chain_holds(tenant, claims, issued)

    async def _chain_holds(self, tenant: TenantView, claims: dict[str, Any], issued: int) -> bool:
        """A token that came of others is as good as the worst of them, and as everyone who acts."""
        if not tenant.revoked.keys().isdisjoint(claims.get("subject_tokens", ())):
            return False
        act: Any = claims["act"]
        while isinstance(act, dict):
            standing = await self._view.standing(tenant, str(act.get("sub")))
            if standing is None or not standing.application.active or issued <= standing.application.not_before_ms:
                return False
            act = act.get("act")
        return True

    @staticmethod
    def _remembered(tenant: TenantView) -> OrderedDict[bytes, bytes]:
        found = tenant.derived.get("tokens")
        if found is None:
            found = tenant.derived["tokens"] = OrderedDict()
        assert isinstance(found, OrderedDict)
        return found


def _with_what_was_left_out(claims: dict[str, Any]) -> dict[str, Any]:
    """A CWT of ours says when it was issued by its `cti` alone."""
    issued = issued_ms(str(claims.get("jti")))
    return claims if issued is None else {**claims, "iat": issued // 1000}
