"""The admin API's operations over the tenant's own authorities for devices."""

from __future__ import annotations

from msgspec import Struct

from ....registry.fleet.device_authority import DeviceAuthority
from ....service.desk import Desk
from ....service.fleet.device_certificates import DeviceCertificates
from .. import shapes
from ..pages import LIST, Pages
from ..routes import Reply, Request, Route

_A = "/api/v1/device-authorities"


class DeviceAuthorityShape(Struct, frozen=True, kw_only=True):
    """An authority: `active` signs, what a `retired` one signed still counts. Times are seconds since the epoch."""

    authority_id: str
    state: str
    pem: str
    created_at: int
    expires_at: int


class DeviceAuthorityHandlers:
    """One object per worker."""

    def __init__(self, desk: Desk, pages: Pages, certificates: DeviceCertificates) -> None:
        self._desk, self._pages, self._certificates = desk, pages, certificates

    def routes(self) -> list[Route]:
        """What is under `/api/v1/device-authorities`."""
        return [
            Route(method="GET", path=_A, scope="applications:read", summary="List the authorities that sign certificates of devices", handler=self.list_authorities, reply=DeviceAuthorityShape, query=LIST),
            Route(method="POST", path=_A, scope="keys:write", summary="Let a new authority sign from now on", handler=self.rotate, reply=DeviceAuthorityShape, status=201),
            Route(method="DELETE", path=f"{_A}/{{authority_id}}", scope="keys:write", summary="What this authority signed counts no more", handler=self.remove, status=204),
        ]  # fmt: skip

    async def list_authorities(self, request: Request) -> Reply:
        """By id."""
        page, following = await self._pages.page(
            request, "device_authorities", lambda a: (a.authority_id, a.authority_id)
        )
        return Reply(shapes.Page(items=[_shape(one) for one in page], next=following))

    async def rotate(self, request: Request) -> Reply:
        """201."""
        return Reply(_shape(await self._certificates.rotate(request.caller)), 201)

    async def remove(self, request: Request) -> Reply:
        """204."""
        await self._certificates.remove(request.caller, request.path["authority_id"])
        return Reply(status=204)


def _shape(one: DeviceAuthority) -> DeviceAuthorityShape:
    return DeviceAuthorityShape(
        authority_id=one.authority_id, state=one.state, pem=one.pem, created_at=one.created_at,
        expires_at=one.expires_at,
    )  # fmt: skip
