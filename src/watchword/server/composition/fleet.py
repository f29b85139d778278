"""Wires the wing `fleet`: devices that enrol and renew certificates. Its other verbs take the desk."""

from __future__ import annotations

from msgspec import Struct

from ..protocol.proof_jwt import Window
from ..service.fleet.device_certificates import DeviceCertificates
from ..service.fleet.enrol_device import EnrolDevice
from ..service.fleet.renew_certificate import RenewCertificate
from .clients import Clients
from .foundation import Foundation


class Fleet(Struct, frozen=True, kw_only=True):
    """The verbs over devices that hold more than the desk."""

    certificates: DeviceCertificates
    enrol: EnrolDevice
    renew: RenewCertificate


def wire_fleet(base: Foundation, clients: Clients) -> Fleet:
    """The wing over this database."""
    certificates = DeviceCertificates(base.desk, base.master.unseal)
    return Fleet(
        certificates=certificates,
        enrol=EnrolDevice(base.desk, certificates, Window(base.settings.clock_tolerance)),
        renew=RenewCertificate(base.desk, clients.who, certificates),
    )
