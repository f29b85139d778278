"""Add and remove the CAs that a tenant trusts for client certificates (RFC 8705 section 2.1)."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from ...audit.events import TrustAnchorAdded, TrustAnchorRemoved
from ...registry.certificates import MAX_ANCHORS, read_anchors
from ...registry.errors import Invalid, NotFound
from ...registry.model import Application, Tenant, TrustAnchor
from ..desk import Caller, Desk, found
from .rights import check_may_speak_for


class NewAnchors(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One or more CA certificates, PEM."""

    pem: str


async def add_anchors(desk: Desk, caller: Caller, wanted: NewAnchors) -> tuple[TrustAnchor, ...]:
    """Returns all anchors of the tenant; existing ones stay as they are. Raises `Invalid`."""
    given = read_anchors(wanted.pem, int(desk.clock()))
    async with desk.transaction(caller) as tx:
        before: Tenant = found(await tx.tenants.get("", caller.tenant_id), "tenant")
        known = {anchor.thumbprint for anchor in before.anchors}
        fresh = tuple(anchor for anchor in given if anchor.thumbprint not in known)
        if not fresh:
            return before.anchors
        if len(before.anchors) + len(fresh) > MAX_ANCHORS:
            raise Invalid(f"a tenant has at most {MAX_ANCHORS} trust anchors: remove one first", field="pem")
        await check_may_speak_for(tx, caller, _named_by_any_anchor)
        after = replace(before, anchors=(*before.anchors, *fresh), version=before.version + 1)
        await tx.tenants.replace(after)
        for anchor in fresh:
            event = TrustAnchorAdded(thumbprint=anchor.thumbprint, subject=anchor.subject, **desk.said(caller))
            tx.record(caller.tenant_id, event)
    return after.anchors


async def remove_anchor(desk: Desk, caller: Caller, thumbprint: str) -> None:
    """Certificates of this CA are rejected as soon as this returns. Raises `NotFound`."""
    async with desk.store.transaction() as tx:
        before: Tenant = found(await tx.tenants.get("", caller.tenant_id), "tenant")
        rest = tuple(anchor for anchor in before.anchors if anchor.thumbprint != thumbprint)
        if len(rest) == len(before.anchors):
            raise NotFound("there is no such trust anchor")
        await tx.tenants.replace(replace(before, anchors=rest, version=before.version + 1))
        tx.record(caller.tenant_id, TrustAnchorRemoved(thumbprint=thumbprint, **desk.said(caller)))


def _named_by_any_anchor(application: Application) -> bool:
    """Whether a certificate of any CA of the tenant can name it."""
    name = application.tls_client_auth
    return name is not None and name.anchor is None
