"""The audit events of devices that enrol: a part of the closed list in `events.py`."""

from __future__ import annotations

from .event import Event


class EnrolmentGroupCreated(Event, frozen=True, kw_only=True):
    """Devices may enrol through a new group."""

    group_id: str
    name: str


class EnrolmentGroupUpdated(Event, frozen=True, kw_only=True):
    """What devices become that enrol through a group changed; `fields` names what."""

    group_id: str
    fields: tuple[str, ...]


class EnrolmentCodesCreated(Event, frozen=True, kw_only=True):
    """`count` codes were handed out, each for `uses` devices."""

    group_id: str
    count: int
    uses: int
    expires_at: int


class EnrolmentCodesWithdrawn(Event, frozen=True, kw_only=True):
    """Nobody enrols with any of these codes any more."""

    group_id: str
    count: int


class DevicesExpected(Event, frozen=True, kw_only=True):
    """`count` devices more may come into a group: their serial numbers or keys are listed."""

    group_id: str
    count: int


class ExpectedDevicesRemoved(Event, frozen=True, kw_only=True):
    """`count` devices are not expected any more; `entry` is which, empty for all of the group."""

    group_id: str
    count: int
    entry: str = ""


class DeviceEnrolled(Event, frozen=True, kw_only=True):
    """A device enrolled itself; `ApplicationCreated` stands beside this."""

    client_id: str
    group_id: str
    way: str
    serial: str | None = None


class EnrolmentRequested(Event, frozen=True, kw_only=True):
    """A device waits for approval."""

    pending_id: str
    group_id: str
    way: str
    serial: str | None = None


class EnrolmentApproved(Event, frozen=True, kw_only=True):
    """The device becomes an application when it asks again."""

    pending_id: str
    group_id: str


class EnrolmentDenied(Event, frozen=True, kw_only=True):
    """The device is turned away for good."""

    pending_id: str
    group_id: str


class DeviceAuthorityAdded(Event, frozen=True, kw_only=True):
    """A new authority of the tenant signs the certificates of its devices."""

    authority_id: str
    expires_at: int


class DeviceAuthorityRemoved(Event, frozen=True, kw_only=True):
    """Certificates of this authority prove nothing any more."""

    authority_id: str


class DeviceCertificateIssued(Event, frozen=True, kw_only=True):
    """A device got a certificate, at its enrolment or when it renewed one."""

    client_id: str
    thumbprint: str
    authority_id: str
    expires_at: int


class EnrolmentGroupDeleted(Event, frozen=True, kw_only=True):
    """Nobody enrols through this group any more."""

    group_id: str
