"""The admin API's operations over enrolment groups."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import asdict

from ....registry.fleet.enrolment import EnrolmentGroup, EnrolmentPolicy
from ....service.desk import Desk, found
from ....service.fleet.define_enrolment_group import (
    EnrolmentGroupChange,
    NewEnrolmentGroup,
    create_enrolment_group,
    delete_enrolment_group,
    update_enrolment_group,
)
from ....service.fleet.enrolment_codes import NewEnrolmentCodes, create_enrolment_codes, withdraw_enrolment_codes
from .. import shapes
from ..pages import LIST, Pages
from ..routes import Reply, Request, Route

_G = "/api/v1/enrolment-groups"


class EnrolmentGroupShape(EnrolmentPolicy, frozen=True, kw_only=True):
    """An enrolment group; `devices` is how many are in it. Times are seconds since the epoch, lives are seconds."""

    group_id: str
    devices: int
    created_at: int
    version: int


class NewCodesShape(Struct, frozen=True, kw_only=True):
    """Codes with which devices enrol, each `uses` times until `expires_at`; shown once."""

    codes: list[str]
    uses: int
    expires_at: int


def group_shape(g: EnrolmentGroup, devices: int) -> EnrolmentGroupShape:
    """A group as shown."""
    shown = {name: value for name, value in asdict(g).items() if name != "tenant_id"}
    return EnrolmentGroupShape(devices=devices, **shown)


class EnrolmentHandlers:
    """One object per worker."""

    def __init__(self, desk: Desk, pages: Pages) -> None:
        self._desk, self._pages = desk, pages

    def routes(self) -> list[Route]:
        """What is under `/api/v1/enrolment-groups`."""
        one = f"{_G}/{{group_id}}"
        return [
            Route(method="GET", path=_G, scope="applications:read", summary="List enrolment groups", handler=self.list_groups, reply=EnrolmentGroupShape, query=LIST),
            Route(method="POST", path=_G, scope="applications:write", summary="Let devices enrol: create a group", handler=self.create_group, body=NewEnrolmentGroup, reply=EnrolmentGroupShape, status=201),
            Route(method="GET", path=one, scope="applications:read", summary="Show an enrolment group", handler=self.show_group, reply=EnrolmentGroupShape),
            Route(method="PATCH", path=one, scope="applications:write", summary="Change an enrolment group", handler=self.update_group, body=EnrolmentGroupChange, reply=EnrolmentGroupShape),
            Route(method="DELETE", path=one, scope="applications:write", summary="Delete an enrolment group that has no devices", handler=self.delete_group, status=204),
            Route(method="POST", path=f"{one}/codes", scope="applications:write", summary="Make codes with which devices enrol; they are shown once", handler=self.create_codes, body=NewEnrolmentCodes, reply=NewCodesShape, status=201),
            Route(method="DELETE", path=f"{one}/codes", scope="applications:write", summary="Withdraw all codes of an enrolment group", handler=self.withdraw_codes, status=204),
        ]  # fmt: skip

    async def list_groups(self, request: Request) -> Reply:
        """By name."""
        page, following = await self._pages.page(request, "enrolment_groups", lambda g: (g.name, g.group_id))
        async with self._desk.store.snapshot() as look:
            devices = await look.places(request.caller.tenant_id, [g.group_id for g in page])
        return Reply(shapes.Page(items=[group_shape(g, devices.get(g.group_id, 0)) for g in page], next=following))

    async def create_group(self, request: Request) -> Reply:
        """201."""
        g = await create_enrolment_group(self._desk, request.caller, request.body)
        return Reply(group_shape(g, 0), 201, g.version, f"{_G}/{g.group_id}")

    async def show_group(self, request: Request) -> Reply:
        """With an ETag."""
        async with self._desk.store.snapshot() as look:
            g = found(await look.enrolment_groups.get(request.caller.tenant_id, request.path["group_id"]), "group")
        return await self._shown(request, g)

    async def update_group(self, request: Request) -> Reply:
        """If-Match guards it."""
        group_id = request.path["group_id"]
        g = await update_enrolment_group(self._desk, request.caller, group_id, request.body, request.expected)
        return await self._shown(request, g)

    async def delete_group(self, request: Request) -> Reply:
        """204."""
        await delete_enrolment_group(self._desk, request.caller, request.path["group_id"], request.expected)
        return Reply(status=204)

    async def create_codes(self, request: Request) -> Reply:
        """201 with the codes."""
        codes, expires_at = await create_enrolment_codes(
            self._desk, request.caller, request.path["group_id"], request.body
        )
        return Reply(NewCodesShape(codes=codes, uses=request.body.uses, expires_at=expires_at), 201)

    async def withdraw_codes(self, request: Request) -> Reply:
        """204."""
        await withdraw_enrolment_codes(self._desk, request.caller, request.path["group_id"])
        return Reply(status=204)

    async def _shown(self, request: Request, g: EnrolmentGroup) -> Reply:
        async with self._desk.store.snapshot() as look:
            devices = await look.places(request.caller.tenant_id, [g.group_id])
        return Reply(group_shape(g, devices.get(g.group_id, 0)), version=g.version)
