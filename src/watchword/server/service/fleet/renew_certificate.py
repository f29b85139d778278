"""Renew a device's certificate: the device authenticates with its valid certificate."""

from __future__ import annotations

from msgspec.structs import replace

from ....jose.certificate_header import Presented
from ....jose.device_ca import CertificateRequest
from ...protocol.enrolment import check_certified
from ...protocol.errors import InvalidClient
from ...protocol.request import Credentials
from ...registry.model import Application
from ..clients.authenticate_client import AuthenticateClient
from ..desk import Caller, Desk
from ..view import TenantView
from .device_certificates import DeviceCertificate, DeviceCertificates
from .enrolment_entry import claim_device_key


class RenewCertificate:
    """One object per worker."""

    def __init__(self, desk: Desk, who: AuthenticateClient, certificates: DeviceCertificates) -> None:
        self._desk, self._who, self._certificates = desk, who, certificates

    async def __call__(
        self, tenant: TenantView, unverified_client_id: str, presented: Presented | None, csr: CertificateRequest,
        request_id: str = "",
    ) -> tuple[Application, DeviceCertificate]:  # fmt: skip
        """For the same key or a new one; older certificates are accepted until they expire.

        Raises:
            InvalidClient: the certificate of the TLS connection does not authenticate this application.
            EnrolmentRefused: the group no longer issues certificates, or another device has the key.
        """
        desk, shown = self._desk, Credentials("tls_client_auth", unverified_client_id, "")
        proved = await self._who(tenant, replace(shown, certificate=presented))
        tenant_id, client_id = proved.tenant_id, proved.client_id
        caller = Caller(tenant_id, client_id, request_id)
        async with desk.store.transaction() as tx:
            device = await tx.applications.get(tenant_id, client_id)
            if device is None or not device.active:
                raise InvalidClient(detail="it was disabled or deleted meanwhile")
            group = await tx.enrolment_groups.get(tenant_id, device.group_id) if device.group_id else None
            life = check_certified(group, device)
            await claim_device_key(desk, tx, tenant_id, csr.key_thumbprint, client_id)
            certificate = await self._certificates.sign(tx, caller, device, csr, life)
        return device, certificate
