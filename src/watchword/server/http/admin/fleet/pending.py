"""The admin API's operations over devices that wait for approval."""

from __future__ import annotations

from typing import get_args

from msgspec import Struct

from ....registry.errors import Invalid
from ....registry.fleet.pending import PendingEnrolment, State
from ....service.desk import Desk
from ....service.fleet.decide_enrolment import approve_enrolment, deny_enrolment
from .. import shapes
from ..pages import Pages
from ..routes import Reply, Request, Route

_P = "/api/v1/enrolments"


class PendingShape(Struct, frozen=True, kw_only=True):
    """A device that asked to be let in; keys are told by their thumbprints (RFC 7638), times in seconds since the epoch."""

    pending_id: str
    group_id: str
    state: str
    way: str
    serial: str | None
    key: str
    own_key: str
    source: str
    requested_at: int
    expires_at: int
    decided_by: str


class PendingHandlers:
    """One object per worker."""

    def __init__(self, desk: Desk, pages: Pages) -> None:
        self._desk, self._pages = desk, pages

    def routes(self) -> list[Route]:
        """What is under `/api/v1/enrolments`."""
        return [
            Route(method="GET", path=_P, scope="applications:read", summary="List devices that wait for approval; or state=approved, state=denied", handler=self.list_pending, reply=PendingShape, query=("limit", "cursor", "state", "group_id")),
            Route(method="POST", path=f"{_P}/{{pending_id}}/approve", scope="applications:write", summary="Let a device in that waits", handler=self.approve, reply=PendingShape),
            Route(method="POST", path=f"{_P}/{{pending_id}}/deny", scope="applications:write", summary="Turn a device away for good", handler=self.deny, reply=PendingShape),
        ]  # fmt: skip

    async def list_pending(self, request: Request) -> Reply:
        """The oldest first."""
        wanted = request.query.get("state", "waiting")
        state: State | None = next((known for known in get_args(State) if known == wanted), None)
        if state is None:
            raise Invalid(f"use one of {', '.join(get_args(State))}", field="state")
        page, following = await self._pages.pending(request, state, request.query.get("group_id", ""))
        return Reply(shapes.Page(items=[_shape(one) for one in page], next=following))

    async def approve(self, request: Request) -> Reply:
        """200; the device is made when it asks again."""
        return Reply(_shape(await approve_enrolment(self._desk, request.caller, request.path["pending_id"])))

    async def deny(self, request: Request) -> Reply:
        """200."""
        return Reply(_shape(await deny_enrolment(self._desk, request.caller, request.path["pending_id"])))


def _shape(one: PendingEnrolment) -> PendingShape:
    return PendingShape(**{name: getattr(one, name) for name in PendingShape.__struct_fields__})
