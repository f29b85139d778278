"""Serve status lists, made on request from the revocations in the database and cached for `ttl` seconds."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from ...protocol.claims import encode_members
from ...protocol.errors import Unavailable
from ...protocol.status_list import PATH, TYPE, list_claims, read_name
from ..ports import Change, StorageUnavailable
from ..view import TenantView, View
from .ports import StatusReader
from .signers import signer

MOST_KEPT: Final = 1_000
"""Lists whose tokens a worker keeps; others are made again."""


class StatusList(Struct, frozen=True):
    """A status list token, and what names this version of it, whichever worker signed it."""

    token: bytes
    etag: bytes
    issued_at: int
    heard: int
    kid: str


class ServeStatusList:
    """A list is signed once in `ttl` seconds, and after a revocation. Raises `Unavailable` without the database."""

    def __init__(
        self,
        *,
        view: View,
        reader: StatusReader,
        clock: Callable[[], float],
        issuer_of: Callable[[str], str],
        key: bytes,
        ttl: int,
    ) -> None:
        self._view, self._reader, self._clock, self._issuer_of, self._key = view, reader, clock, issuer_of, key
        self.ttl = ttl
        self._kept: OrderedDict[tuple[str, str], StatusList] = OrderedDict()
        self._heard: dict[str, int] = {}
        view.listeners.append(self._listen)

    async def __call__(self, tenant: TenantView, unverified_name: str) -> StatusList | None:
        """The list of that name as it is now; None when no list of ours has it, or nobody needs it any more."""
        now, tenant_id = self._clock(), tenant.tenant.tenant_id
        name = read_name(unverified_name, self._key, tenant_id)
        if name is None or now >= name.ends_at:
            return None
        sign = signer(tenant, name.algorithm, TYPE)
        try:
            await self._view.must_be_fresh()
            # From before the database is asked: what is heard of meanwhile may be missing in what it answers.
            heard = self._heard.get(tenant_id, 0)
            issued_at = int(now) - int(now) % self.ttl
            found = self._kept.get((tenant_id, unverified_name))
            if found is not None and (found.issued_at, found.heard, found.kid) == (issued_at, heard, sign.key.kid):
                return found
            revoked = await self._reader.revoked_indexes(tenant_id, unverified_name)
        except StorageUnavailable as error:
            raise Unavailable("the database is away; try again", detail=str(error)) from None
        issuer = self._issuer_of(tenant.tenant.slug)
        claims = list_claims(issuer, f"{issuer}/{PATH}{unverified_name}", revoked, issued_at, self.ttl)
        token = sign.sign(encode_members(claims)).encode()
        made = StatusList(token, _etag(revoked, issued_at, sign.key.kid), issued_at, heard, sign.key.kid)
        self._keep((tenant_id, unverified_name), made)
        return made

    def _keep(self, place: tuple[str, str], made: StatusList) -> None:
        self._kept[place] = made
        self._kept.move_to_end(place)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)

    def _listen(self, change: Change) -> None:
        if change.kind == "revoked":
            self._heard[change.tenant_id] = self._heard.get(change.tenant_id, 0) + 1


def _etag(revoked: Sequence[int], issued_at: int, kid: str) -> bytes:
    """Weak: two workers' signatures over the same list differ."""
    said = f"{kid} {issued_at} {sorted(revoked)}".encode()
    return b'W/"' + hashlib.sha256(said).hexdigest()[:32].encode() + b'"'
