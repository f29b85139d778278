"""Look up an enrolling device by code, ticket, key or certificate, in a read-only transaction."""

from __future__ import annotations

import hmac

from msgspec import Struct

from ....jose.certificate_header import Presented
from ....jose.certificates import MAX_CHAIN, Certificate, TrustAnchors, UnacceptableCertificate, read_pem
from ...protocol.enrolment import EnrolmentRequest
from ...protocol.errors import EnrolmentRefused, InvalidGrant
from ...registry.errors import Conflict
from ...registry.fleet.enrolment import Way
from ...registry.fleet.expected import ExpectedDevice
from ...registry.fleet.pending import PendingEnrolment
from ...registry.fleet.ports import FleetReads
from ...registry.model import Application
from ...registry.ports import Claims, Holders
from ...registry.secret_text import TICKET_PREFIX, digest, generate
from ..desk import Desk
from ..ports import Contention, Snapshot

ENROLMENT = "enrolment"
DEVICE_KEY = "device_key"
"""Claim of the key that a device's certificate is for; another key means another device."""


class Entry(Struct, frozen=True, kw_only=True):
    """The result of the look-up; it may be outdated when the writing transaction begins."""

    tenant_id: str
    way: Way
    group_id: str
    mark: str
    """Recognizes repeated requests of the device. It is released with the application."""
    serial: str | None
    key: str
    """The thumbprint of the key that identifies the device; empty without one."""
    code: str = ""
    """The HMAC of the code to use."""
    application: Application | None = None
    """The device's application, if it is enrolled already."""
    pending: PendingEnrolment | None = None
    """The device's waiting request, if there is one."""


async def by_code(desk: Desk, tenant_id: str, wanted: EnrolmentRequest) -> Entry:
    """Raises `InvalidGrant`."""
    kept = digest(desk.pepper, wanted.unverified_code.encode("utf-8", "surrogatepass"))
    mark = digest(desk.pepper, f"{kept}\n{wanted.enrolment_id}".encode("utf-8", "surrogatepass"))
    async with desk.store.snapshot() as seen:
        code = await seen.codes.get(tenant_id, kept)
        before, pending = await _known(seen, tenant_id, mark)
    if code is None or (before is None and pending is None and not code.live(desk.clock())):
        raise InvalidGrant
    return Entry(
        tenant_id=tenant_id, way="code", group_id=code.group_id, mark=mark, serial=wanted.serial, key="", code=kept,
        application=before, pending=pending,
    )  # fmt: skip


async def by_ticket(desk: Desk, tenant_id: str, wanted: EnrolmentRequest) -> Entry:
    """By the ticket of a waiting device. Raises `InvalidGrant`."""
    ticket = digest(desk.pepper, wanted.unverified_ticket.encode("utf-8", "surrogatepass"))
    async with desk.store.snapshot() as seen:
        before, _ = await _known(seen, tenant_id, ticket)
        pending = await seen.pending.by_ticket(tenant_id, ticket)
    if before is None and pending is None:
        raise InvalidGrant(rule="ticket")
    group_id, mark = (pending.group_id, pending.mark) if pending is not None else ("", ticket)
    return Entry(
        tenant_id=tenant_id, way="code", group_id=group_id, mark=mark, serial=wanted.serial, key="",
        application=before, pending=pending,
    )  # fmt: skip


async def by_key(desk: Desk, tenant_id: str, key: str, wanted: EnrolmentRequest) -> Entry:
    """By the thumbprint of a key whose possession was proved. Raises `InvalidGrant`."""
    mark = mark_of_key(desk, key)
    async with desk.store.snapshot() as seen:
        before, pending = await _known(seen, tenant_id, mark)
        listed = await seen.expected.find(tenant_id, [], [key])
    if before is None and not listed:
        raise InvalidGrant(rule="key")
    group_id = before.group_id if before is not None else listed[0].group_id
    return Entry(
        tenant_id=tenant_id, way="key", group_id=group_id or "", mark=mark, serial=wanted.serial, key=key,
        application=before, pending=pending,
    )  # fmt: skip


async def by_certificate(desk: Desk, tenant_id: str, wanted: EnrolmentRequest, presented: Presented | None) -> Entry:
    """By the certificate of the TLS connection, signed by a CA of the group.

    The certificate's key identifies the device, and its serial number is the device's. Raises
    `InvalidGrant`, always with the same text; `EnrolmentRefused` for another serial number.
    """
    async with desk.store.snapshot() as seen:
        group = await seen.enrolment_groups.find(tenant_id, wanted.unverified_group)
    anchors = TrustAnchors(read_pem(group.anchors.encode()) if group is not None and group.anchors else [])
    try:
        if presented is None:
            raise UnacceptableCertificate("no client certificate in the request")
        certificate = Certificate(presented.certificate)
        chain = [Certificate(der) for der in presented.unverified_chain[:MAX_CHAIN]]
        anchors.verify(certificate, chain, desk.clock())
    except UnacceptableCertificate as error:
        raise InvalidGrant(detail=f"client certificate: {error.rule}", rule="certificate") from None
    assert group is not None
    serial = certificate.subject_serial
    if wanted.serial not in (None, serial):
        raise EnrolmentRefused("the serial number is the one of the certificate: leave it out", rule="serial")
    mark = digest(desk.pepper, f"certificate\n{certificate.key_thumbprint}".encode())
    async with desk.store.snapshot() as seen:
        before, pending = await _known(seen, tenant_id, mark)
    return Entry(
        tenant_id=tenant_id, way="certificate", group_id=group.group_id, mark=mark, serial=serial,
        key=certificate.key_thumbprint, application=before, pending=pending,
    )  # fmt: skip


def mark_of_key(desk: Desk, key: str) -> str:
    """The mark of a device that enrols with an expected key."""
    return digest(desk.pepper, f"key\n{key}".encode())


async def listed_for(tx: FleetReads, entry: Entry) -> list[ExpectedDevice]:
    """The entries with its serial number or key, of any group. Raises `Contention`."""
    serial, key = entry.serial, entry.key
    listed = await tx.expected.find(entry.tenant_id, [serial] if serial else [], [key] if key else [])
    if entry.way == "key" and not any(one.key == key for one in listed):
        raise Contention("the key was taken off the list meanwhile")
    return listed


async def claim_once(tx: Claims, tenant_id: str, mark: str, client_id: str) -> None:
    """Claim the mark of a device. Raises `Contention`; a retry finds the device of the earlier request."""
    try:
        await tx.claim(tenant_id, ENROLMENT, mark, client_id)
    except Conflict:
        raise Contention("another request of this device came first") from None


async def claim_device_key(desk: Desk, tx: Claims, tenant_id: str, key: str, client_id: str) -> None:
    """Claim the key of a device's certificate in place of the one before. Raises `EnrolmentRefused`."""
    mark = mark_of_key(desk, key)
    if await tx.holder(tenant_id, DEVICE_KEY, mark) == client_id:
        return
    await tx.release(tenant_id, client_id, DEVICE_KEY)
    try:
        await tx.claim(tenant_id, DEVICE_KEY, mark, client_id)
    except Conflict:
        raise EnrolmentRefused("another device has a certificate for this key: make a new key", rule="key") from None


async def has_device_key(desk: Desk, tx: Holders, tenant_id: str, key: str, client_id: str) -> bool:
    """Whether the device's certificate is for this key."""
    return await tx.holder(tenant_id, DEVICE_KEY, mark_of_key(desk, key)) == client_id


def ticket_of(desk: Desk, mark: str) -> str:
    """The ticket for a mark: always the same, so that a device whose answer was lost gets it again."""
    return generate(hmac.digest(desk.pepper, f"ticket\n{mark}".encode(), "sha256"), TICKET_PREFIX)


async def _known(seen: Snapshot, tenant_id: str, mark: str) -> tuple[Application | None, PendingEnrolment | None]:
    client_id = await seen.holder(tenant_id, ENROLMENT, mark)
    application = await seen.applications.get(tenant_id, client_id) if client_id else None
    return application, None if application is not None else await seen.pending.by_mark(tenant_id, mark)
