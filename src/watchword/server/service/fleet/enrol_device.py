"""Enrol a device, once; a repeated request after a lost answer gets the answer again.

Using the code, taking the device off the list, claiming its place in the group and its serial number, creating the
application and recording the events are one transaction.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from ....jose.certificate_header import Presented
from ...audit.events import ApplicationCreated, SecretCreated, SecretRotated
from ...audit.fleet_events import DeviceEnrolled
from ...protocol.approval import check_asks_again
from ...protocol.enrolment import (
    EnrolmentRequest,
    admitted,
    check_certified,
    check_expected,
    check_open,
    check_possession,
    check_repeat,
)
from ...protocol.proof_jwt import Window
from ...registry.fleet.enrolment import REPEAT_WITHIN, EnrolmentGroup, Way
from ...registry.model import SECRET_METHODS, Application
from ..desk import Caller, Desk
from ..ports import AuditRecorder, Contention, Transaction
from ..registry.client_key_changes import record_keys
from ..registry.create_application import check_application
from ..registry.membership import settle
from .approval_queue import ApprovalQueue, Asked, Waiting
from .device_certificates import DeviceCertificate, DeviceCertificates
from .enrolment_entry import (
    Entry,
    by_certificate,
    by_code,
    by_key,
    by_ticket,
    claim_device_key,
    claim_once,
    has_device_key,
    listed_for,
    mark_of_key,
)


class Enrolled(Struct, frozen=True):
    """A device's application; `secret` is its text, None for a device with its own key."""

    application: Application
    first: bool
    secret: str | None = None
    certificate: DeviceCertificate | None = None

    def __repr__(self) -> str:
        return f"Enrolled({self.application.client_id})"


class EnrolDevice:
    """One object per worker."""

    def __init__(
        self,
        desk: Desk,
        certificates: DeviceCertificates,
        window: Window,
    ) -> None:
        self._desk, self._certificates, self._window = desk, certificates, window
        self._queue = ApprovalQueue(desk)

    async def __call__(
        self,
        tenant_id: str,
        issuer: str,
        wanted: EnrolmentRequest,
        asked: Asked = Asked(),  # noqa: B008 (frozen)
    ) -> Enrolled | Waiting:
        """The device's application: one for each enrolment id of a code, expected key, or manufacturer's certificate.

        Raises:
            InvalidGrant: the code is unknown, used up or expired, the key is not expected, or no CA of the group
                signed the certificate; the same error for all.
            EnrolmentRefused: the group's policy rejects it. `EnrolmentDenied`: an administrator denied it.
            InvalidRequest: a proof is wrong. `SlowDown`: too many wait.
            RegistryError: the group is full, the serial number taken, or the group's policy makes no application.
            Contention: another request of this device came first; do it again, and it is answered.
        """
        entry, own_key = await self._entry(tenant_id, issuer, wanted, asked.presented)
        if entry.application is not None:
            return await self._repeated(entry.application, own_key, wanted, asked.request_id)
        pending, now = entry.pending, self._desk.clock()
        if pending is not None:
            check_asks_again(pending, wanted, own_key)
            if pending.state == "waiting" and pending.live(now):
                return self._queue.waiting(pending)
            entry = replace(entry, serial=pending.serial)
        return await self._first(tenant_id, entry, own_key, wanted, asked)

    async def _entry(
        self, tenant_id: str, issuer: str, wanted: EnrolmentRequest, presented: Presented | None
    ) -> tuple[Entry, str]:
        """The way of its enrolment, and the thumbprint of the key to register."""
        desk = self._desk

        def proved() -> str:
            return check_possession(wanted, issuer, desk.clock(), self._window)

        if wanted.unverified_group:
            return await by_certificate(desk, tenant_id, wanted, presented), proved()
        if wanted.unverified_code or wanted.unverified_ticket:
            by_text = by_code if wanted.unverified_code else by_ticket
            entry = await by_text(desk, tenant_id, wanted)
            key = proved()
            return replace(entry, key=key), key
        key = proved()
        return await by_key(desk, tenant_id, key, wanted), key

    async def _first(
        self, tenant_id: str, entry: Entry, own_key: str, wanted: EnrolmentRequest, asked: Asked
    ) -> Enrolled | Waiting:
        desk, now, text, certificate = self._desk, int(self._desk.clock()), None, None
        client_id = desk.new_id()
        caller = Caller(tenant_id, client_id, asked.request_id)
        async with desk.store.transaction() as tx:
            await tx.tenants.get("", tenant_id)  # locked first, in the same order as all changes of applications
            group = await tx.enrolment_groups.get(tenant_id, entry.group_id)
            approved = await self._queue.approved(tx, entry)
            if not approved:
                group = check_open(group, entry.way, now)
            assert group is not None  # a waiting request belongs to its group, which was deleted
            if group.approval == "required" and not approved:
                return await self._queue.ask(tx, group, entry, own_key, wanted, asked)
            await self._queue.collect(tx, entry, client_id)
            await claim_once(tx, tenant_id, entry.mark, client_id)
            serial = await self._expected(tx, group, entry, client_id)
            made = admitted(group, replace(wanted, serial=serial), client_id, now)
            if made.auth_method in SECRET_METHODS:
                made, text = _with_secret(desk, made, group.secret_lifetime, now + REPEAT_WITHIN)
            await check_application(tx, made)
            await settle(tx, None, made)
            await tx.applications.add(made)
            _record(desk, tx, caller, made, entry.way)
            if wanted.csr is not None:
                await claim_device_key(desk, tx, tenant_id, own_key, client_id)
                certificate = await self._certificates.sign(tx, caller, made, wanted.csr, group.certificate_lifetime)
        return Enrolled(made, True, text, certificate)

    async def _expected(self, tx: Transaction, group: EnrolmentGroup, entry: Entry, client_id: str) -> str | None:
        """Take it off the list; its listed serial number. A device that is deleted later has to be listed again."""
        device = check_expected(group, await listed_for(tx, entry), entry.serial, entry.key)
        if device is None:
            return entry.serial
        if not await tx.expected.take(device):
            raise Contention("the device was taken off the list meanwhile")
        if device.key is not None and entry.way != "key":
            await claim_once(tx, group.tenant_id, mark_of_key(self._desk, device.key), client_id)
        return device.serial or entry.serial

    async def _repeated(self, seen: Application, key: str, wanted: EnrolmentRequest, request_id: str) -> Enrolled:
        desk, tenant_id = self._desk, seen.tenant_id
        if wanted.csr is not None:
            return await self._certified_again(seen, key, wanted, request_id)
        if not seen.secrets:
            check_repeat(seen, wanted, desk.clock(), secret_was_used=False)
            return Enrolled(seen, False)
        async with desk.store.transaction() as tx:
            before = await tx.applications.get(tenant_id, seen.client_id)
            if before is None:
                raise Contention("it was deleted meanwhile")
            unused = [await tx.use_up(tenant_id, secret.id, int(desk.clock())) for secret in before.secrets]
            check_repeat(before, wanted, desk.clock(), secret_was_used=not all(unused))
            group = await tx.enrolment_groups.get(tenant_id, before.group_id) if before.group_id else None
            life = group.secret_lifetime if group is not None else None
            after, text = _with_secret(desk, before, life, before.secrets[0].repeat_until)
            await tx.applications.replace(replace(after, version=before.version + 1))
            event = SecretRotated(
                client_id=before.client_id, secret_id=after.secrets[0].id, others_expire_at=int(desk.clock()),
                superseded=tuple(s.id for s in before.secrets),
                **desk.said(Caller(tenant_id, before.client_id, request_id)),
            )  # fmt: skip
            tx.record(tenant_id, event)
        return Enrolled(after, False, text)

    async def _certified_again(
        self, seen: Application, key: str, wanted: EnrolmentRequest, request_id: str
    ) -> Enrolled:
        desk, tenant_id = self._desk, seen.tenant_id
        assert wanted.csr is not None
        caller = Caller(tenant_id, seen.client_id, request_id)
        async with desk.store.transaction() as tx:
            before = await tx.applications.get(tenant_id, seen.client_id)
            if before is None:
                raise Contention("it was deleted meanwhile")
            same = await has_device_key(desk, tx, tenant_id, key, before.client_id)
            check_repeat(before, wanted, desk.clock(), secret_was_used=False, same_key=same)
            group = await tx.enrolment_groups.get(tenant_id, before.group_id) if before.group_id else None
            life = check_certified(group, before)
            certificate = await self._certificates.sign(tx, caller, before, wanted.csr, life)
        return Enrolled(before, False, certificate=certificate)


def _with_secret(
    desk: Desk, application: Application, life: int | None, repeat_until: int | None
) -> tuple[Application, str]:
    """The record with one new secret in place of all others."""
    kept, text = desk.new_secret(int(desk.clock()) + life if life is not None else None)
    kept = replace(desk.kept_for(application, kept, text), repeat_until=repeat_until)
    return replace(application, secrets=(kept,)), text


def _record(desk: Desk, tx: AuditRecorder, caller: Caller, made: Application, way: Way) -> None:
    said, tenant_id = desk.said(caller), caller.tenant_id
    tx.record(tenant_id, ApplicationCreated(client_id=made.client_id, name=made.name, **said))
    enrolled = DeviceEnrolled(
        client_id=made.client_id, group_id=made.group_id or "", way=way, serial=made.serial, **said
    )  # fmt: skip
    tx.record(tenant_id, enrolled)
    for secret in made.secrets:
        event = SecretCreated(client_id=made.client_id, secret_id=secret.id, expires_at=secret.expires_at, **said)
        tx.record(tenant_id, event)
    record_keys(tx, desk, caller, replace(made, keys=()), made)
