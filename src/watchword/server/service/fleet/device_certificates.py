"""Sign device certificates with the tenant's own CA, which is created when it is first needed."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from ....jose.certificates import Certificate, read_pem
from ....jose.device_ca import CertificateRequest, DeviceAuthorityKey
from ...audit.fleet_events import DeviceAuthorityAdded, DeviceAuthorityRemoved, DeviceCertificateIssued
from ...registry.errors import Invalid
from ...registry.fleet.device_authority import AUTHORITY_LIFE, DeviceAuthority
from ...registry.model import Application, Tenant
from ..desk import EVERYTHING, Caller, Desk, found
from ..ports import Transaction

MAX_AUTHORITIES = 20


class DeviceCertificate(Struct, frozen=True):
    """The answer to the device."""

    pem: str
    expires_at: int
    authority: str
    """The PEM of the CA that signed it."""


def authority_place(tenant_id: str, authority_id: str) -> str:
    """The place that an encrypted CA key is bound to; part of what the encryption authenticates."""
    return f"device_authority/{tenant_id}/{authority_id}"


class DeviceCertificates:
    """One object per worker. `unseal` decrypts what `Desk.seal` encrypted."""

    def __init__(self, desk: Desk, unseal: Callable[[bytes, str], bytes]) -> None:
        self._desk, self._unseal = desk, unseal

    async def sign(
        self, tx: Transaction, caller: Caller, application: Application, request: CertificateRequest, life: int
    ) -> DeviceCertificate:
        """Sign a certificate for the application and record it; ignores the request's subject. `life` is seconds."""
        desk, now = self._desk, self._desk.clock()
        authority = await self._signing(tx, caller, now + life)
        place = authority_place(caller.tenant_id, authority.authority_id)
        key = DeviceAuthorityKey(authority.pem, self._unseal(authority.sealed, place))
        client_id = application.client_id
        made = key.sign(request, client_id, f"urn:uuid:{client_id}", now, life)
        event = DeviceCertificateIssued(
            client_id=client_id, thumbprint=made.thumbprint, authority_id=authority.authority_id,
            expires_at=int(made.ends_at), **desk.said(caller),
        )  # fmt: skip
        tx.record(caller.tenant_id, event)
        return DeviceCertificate(made.to_pem(), int(made.ends_at), authority.pem)

    async def rotate(self, caller: Caller) -> DeviceAuthority:
        """Create a new CA for later certificates; existing ones are accepted until they expire. Raises `Invalid`."""
        async with self._desk.transaction(caller) as tx:
            known = await self._locked(tx, caller.tenant_id)
            return await self._begin(tx, caller, known)

    async def remove(self, caller: Caller, authority_id: str) -> None:
        """Certificates of this CA are rejected as soon as this returns. Raises `NotFound`."""
        async with self._desk.store.transaction() as tx:
            before: DeviceAuthority = found(
                await tx.device_authorities.get(caller.tenant_id, authority_id), "device authority"
            )
            await tx.device_authorities.remove(replace(before, sealed=b"", version=before.version + 1))
            tx.record(caller.tenant_id, DeviceAuthorityRemoved(authority_id=authority_id, **self._desk.said(caller)))

    async def _signing(self, tx: Transaction, caller: Caller, until: float) -> DeviceAuthority:
        known = await tx.device_authorities.page(caller.tenant_id, None, EVERYTHING)
        if not any(one.signs(until) for one in known):
            known = await self._locked(tx, caller.tenant_id)  # a concurrent request has created it
        for one in known:
            if one.signs(until):
                return one
        return await self._begin(tx, caller, known)

    async def _locked(self, tx: Transaction, tenant_id: str) -> list[DeviceAuthority]:
        """The CAs of the tenant; locks the tenant's row, so that concurrent requests create only one."""
        _: Tenant = found(await tx.tenants.get("", tenant_id), "tenant")
        return await tx.device_authorities.page(tenant_id, None, EVERYTHING)

    async def _begin(self, tx: Transaction, caller: Caller, known: list[DeviceAuthority]) -> DeviceAuthority:
        desk, now = self._desk, int(self._desk.clock())
        if len(known) >= MAX_AUTHORITIES:
            raise Invalid(f"a tenant has at most {MAX_AUTHORITIES} device authorities: remove one first")
        tenant: Tenant = found(await tx.tenants.get("", caller.tenant_id), "tenant")
        name = f"Watchword device CA {tenant.slug} {desk.random_bytes(4).hex()}"
        pem, pkcs8 = DeviceAuthorityKey.generate(name, now, AUTHORITY_LIFE)
        certificate = _only(pem)
        made = DeviceAuthority(
            tenant_id=caller.tenant_id, authority_id=certificate.thumbprint, state="active", pem=pem,
            sealed=desk.seal(pkcs8, authority_place(caller.tenant_id, certificate.thumbprint)),
            created_at=now, expires_at=int(certificate.ends_at),
        )  # fmt: skip
        for one in known:
            if one.state == "active":
                await tx.device_authorities.replace(replace(one, state="retired", sealed=b"", version=one.version + 1))
        await tx.device_authorities.add(made)
        event = DeviceAuthorityAdded(authority_id=made.authority_id, expires_at=made.expires_at, **desk.said(caller))
        tx.record(caller.tenant_id, event)
        return made


def _only(pem: str) -> Certificate:
    return read_pem(pem.encode())[0]
