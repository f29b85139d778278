"""The audit events of device enrolment; a part of the closed list in `events.py`."""

from __future__ import annotations

from .event import Event, Updated


class EnrolmentGroupCreated(Event, frozen=True, kw_only=True):
    """An enrolment group was created."""

    group_id: str
    name: str


class EnrolmentGroupUpdated(Updated, frozen=True, kw_only=True):
    """An enrolment group's policy changed."""

    group_id: str


class EnrolmentCodesCreated(Event, frozen=True, kw_only=True):
    """`count` enrolment codes were created, each for `uses` devices."""

    group_id: str
    count: int
    uses: int
    expires_at: int


class EnrolmentCodesWithdrawn(Event, frozen=True, kw_only=True):
    """Enrolment codes were withdrawn."""

    group_id: str
    count: int


class DevicesExpected(Event, frozen=True, kw_only=True):
    """`count` devices were added to a group's list of expected devices."""

    group_id: str
    count: int


class ExpectedDevicesRemoved(Event, frozen=True, kw_only=True):
    """`count` devices were removed from a group's list; `entry` is the device, empty for all of the group."""

    group_id: str
    count: int
    entry: str = ""


class DeviceEnrolled(Event, frozen=True, kw_only=True):
    """A device enrolled; there is an `ApplicationCreated` event as well."""

    client_id: str
    group_id: str
    way: str
    serial: str | None = None


class EnrolmentRequested(Event, frozen=True, kw_only=True):
    """A device asked to enrol and waits for approval."""

    pending_id: str
    group_id: str
    way: str
    serial: str | None = None


class EnrolmentApproved(Event, frozen=True, kw_only=True):
    """An administrator approved a device; it becomes an application when it asks again."""

    pending_id: str
    group_id: str


class EnrolmentDenied(Event, frozen=True, kw_only=True):
    """An administrator denied a device; this is final."""

    pending_id: str
    group_id: str


class DeviceAuthorityAdded(Event, frozen=True, kw_only=True):
    """The tenant's device CA was created or replaced; it signs the certificates of devices."""

    authority_id: str
    expires_at: int


class DeviceAuthorityRemoved(Event, frozen=True, kw_only=True):
    """A device CA was removed; its certificates are no longer accepted."""

    authority_id: str


class DeviceCertificateIssued(Event, frozen=True, kw_only=True):
    """A device got a certificate, at its enrolment or when it renewed one."""

    client_id: str
    thumbprint: str
    authority_id: str
    expires_at: int


class EnrolmentGroupDeleted(Event, frozen=True, kw_only=True):
    """An enrolment group was deleted."""

    group_id: str
