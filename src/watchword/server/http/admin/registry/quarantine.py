"""The operations that stop an application: make its tokens inactive, quarantine it, release it."""

from __future__ import annotations

from msgspec import Struct

from ....service.desk import Desk
from ....service.registry.change_application import cut_off_tokens
from ....service.registry.quarantine_application import quarantine_application, release_application
from .. import shapes
from ..routes import Reply, Request, Route
from .applications import ONE, ApplicationHandlers


class Isolation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`reason` is shown to administrators with the application."""

    reason: str = ""


class QuarantineHandlers:
    """The handlers; one object per worker."""

    def __init__(self, desk: Desk, applications: ApplicationHandlers) -> None:
        self._desk, self._applications = desk, applications

    def routes(self) -> list[Route]:
        """The operations below one application."""
        return [
            Route(method="POST", path=f"{ONE}/cut-off", scope="applications:write", summary="Make every token issued so far inactive", handler=self.cut_off, reply=shapes.ApplicationShape),
            Route(method="POST", path=f"{ONE}/quarantine", scope="applications:write", summary="Stop an application until somebody has looked at it", handler=self.quarantine, body=Isolation, reply=shapes.ApplicationShape),
            Route(method="POST", path=f"{ONE}/release", scope="applications:write", summary="Let an application out of quarantine", handler=self.release, reply=shapes.ApplicationShape),
        ]  # fmt: skip

    async def cut_off(self, request: Request) -> Reply:
        """Make every token issued so far inactive; answer with the application."""
        return await self._applications.reply(
            request,
            await cut_off_tokens(self._desk, request.caller, request.path["client_id"]),
        )

    async def quarantine(self, request: Request) -> Reply:
        """Stop the application: its tokens become inactive at once."""
        place = self._desk, request.caller, request.path["client_id"]
        return await self._applications.reply(
            request, await quarantine_application(*place, request.body.reason, request.expected)
        )

    async def release(self, request: Request) -> Reply:
        """End the quarantine: the application works as before."""
        place = self._desk, request.caller, request.path["client_id"]
        return await self._applications.reply(request, await release_application(*place, request.expected))
