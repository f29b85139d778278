"""The operations over the CAs that a tenant trusts for client certificates."""

from __future__ import annotations

from ....service.desk import Desk, found
from ....service.registry.trust_anchors import NewAnchors, add_anchors, remove_anchor
from .. import shapes
from ..routes import Reply, Request, Route

_ANCHORS = "/api/v1/trust-anchors"


class TrustAnchorHandlers:
    """The handlers; one object per worker."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[Route]:
        """The operations on `/api/v1/trust-anchors`."""
        return [
            Route(method="GET", path=_ANCHORS, scope="keys:read", summary="List the trust anchors of client certificates", handler=self.list_anchors, reply=shapes.AnchorShape),
            Route(method="POST", path=_ANCHORS, scope="keys:write", summary="Trust authorities for client certificates", handler=self.add_anchors, body=NewAnchors, reply=shapes.AnchorShape, status=201),
            Route(method="DELETE", path=f"{_ANCHORS}/{{thumbprint}}", scope="keys:write", summary="Trust an authority no more", handler=self.remove_anchor, status=204),
        ]  # fmt: skip

    async def list_anchors(self, request: Request) -> Reply:
        """All anchors, in the order in which they were added."""
        async with self._desk.store.snapshot() as tx:
            tenant = found(await tx.tenants.get("", request.caller.tenant_id), "tenant")
        return Reply(shapes.Page(items=[shapes.anchor_shape(anchor) for anchor in tenant.anchors]))

    async def add_anchors(self, request: Request) -> Reply:
        """Answer 201 with all anchors of the tenant."""
        anchors = await add_anchors(self._desk, request.caller, request.body)
        return Reply(shapes.Page(items=[shapes.anchor_shape(anchor) for anchor in anchors]), 201)

    async def remove_anchor(self, request: Request) -> Reply:
        """Answer 204."""
        await remove_anchor(self._desk, request.caller, request.path["thumbprint"])
        return Reply(status=204)
