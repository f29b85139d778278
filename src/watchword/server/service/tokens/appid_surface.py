"""The App ID surface of `IssueToken`: its grants, and how it makes its tokens."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import asdict

from ...protocol import appid
from ...protocol.access import Access
from ...protocol.claims import encode, encode_members
from ..view import TenantView
from .signers import signer
from .surface import Minted, Surface


def appid_surface(issuer_of: Callable[[str], str]) -> Surface:
    """Tokens are signed with RS256; `ver` 4 is in the header, where the App ID SDK reads it."""

    def mint(tenant: TenantView, access: Access, now: float, jti: str) -> Minted:
        assert isinstance(access, appid.AppIdAccess)
        slug = tenant.tenant.slug
        claims = appid.claims(access, issuer_of(slug), slug, int(now), jti)
        payload = encode(claims) if not access.custom else encode_members({**access.custom, **asdict(claims)})
        token = signer(tenant, appid.ALGORITHM, "JWT", ver=4).sign(payload)
        return Minted(token, jti, claims.aud, claims.scope, claims.exp)

    return Surface("appid", mint, appid.GRANTS)
