"""The operations over signing keys: list, rotate, withdraw."""

from __future__ import annotations

from msgspec import Struct

from ....service.desk import EVERYTHING, Desk
from ....service.keys.rotate_key import RotateKey
from .. import shapes
from ..routes import Reply, Request, Route


class KeyRotation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which algorithm's key to turn."""

    algorithm: str = "ES256"


class SigningKeyHandlers:
    """The handlers; one object per worker."""

    def __init__(self, desk: Desk, keys: RotateKey) -> None:
        self._desk, self._keys = desk, keys

    def routes(self) -> list[Route]:
        """The operations on `/api/v1/keys`."""
        return [
            Route(method="GET", path="/api/v1/keys", scope="keys:read", summary="List signing keys", handler=self.list_keys, reply=shapes.KeyShape),
            Route(method="POST", path="/api/v1/keys/rotate", scope="keys:write", summary="Turn to the next signing key", handler=self.rotate_key, body=KeyRotation, reply=shapes.KeyShape),
            Route(method="DELETE", path="/api/v1/keys/{kid}", scope="keys:write", summary="Withdraw a compromised key at once", handler=self.withdraw_key, status=204),
        ]  # fmt: skip

    async def list_keys(self, request: Request) -> Reply:
        """All signing keys of the tenant, also those that are gone."""
        return Reply(shapes.Page(items=list(await self._keys_of(request))))

    async def rotate_key(self, request: Request) -> Reply:
        """Start signing with the next key; answer with all keys."""
        await self._keys.by_hand(
            request.caller.tenant_id,
            request.body.algorithm,
            request.caller.actor,
            request.caller.request_id,
        )
        return Reply(shapes.Page(items=list(await self._keys_of(request))))

    async def withdraw_key(self, request: Request) -> Reply:
        """Answer 204; tokens that the key signed become inactive at once."""
        await self._keys.in_emergency(
            request.caller.tenant_id,
            request.path["kid"],
            request.caller.actor,
            request.caller.request_id,
        )
        return Reply(status=204)

    async def _keys_of(self, request: Request) -> list[shapes.KeyShape]:
        async with self._desk.store.snapshot() as tx:
            keys = await tx.keys.page(request.caller.tenant_id, None, EVERYTHING)
        return [shapes.key_shape(key) for key in sorted(keys, key=lambda k: (k.algorithm, -k.published_at))]
