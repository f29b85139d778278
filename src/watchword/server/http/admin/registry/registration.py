"""The admin API's operations over the initial access tokens with which applications register themselves."""

from __future__ import annotations

from ....service.desk import Desk
from ....service.registry.initial_tokens import NewInitialToken, create_initial_token, revoke_initial_token
from .. import shapes
from ..pages import LIST, Pages
from ..routes import Reply, Request, Route

_I = "/api/v1/initial-tokens"


class RegistrationHandlers:
    """The handlers; one object per worker."""

    def __init__(self, desk: Desk, pages: Pages) -> None:
        self._desk, self._pages = desk, pages

    def routes(self) -> list[Route]:
        """What is under `/api/v1/initial-tokens`."""
        return [
            Route(method="GET", path=_I, scope="applications:read", summary="List the initial access tokens of registration", handler=self.list_tokens, reply=shapes.InitialTokenShape, query=LIST),
            Route(method="POST", path=_I, scope="applications:write", summary="Let applications register themselves; the token is shown once", handler=self.create, body=NewInitialToken, reply=shapes.NewInitialTokenShape, status=201),
            Route(method="DELETE", path=f"{_I}/{{token_id}}", scope="applications:write", summary="Nobody registers with this token any more", handler=self.revoke, status=204),
        ]  # fmt: skip

    async def list_tokens(self, request: Request) -> Reply:
        """By name; those that are used up, expired or revoked too."""
        page, following = await self._pages.page(request, "initial_tokens", lambda t: (t.name, t.token_id))
        return Reply(shapes.Page(items=[shapes.initial_token_shape(t) for t in page], next=following))

    async def create(self, request: Request) -> Reply:
        """201 with the token."""
        made, text = await create_initial_token(self._desk, request.caller, request.body)
        return Reply(shapes.NewInitialTokenShape(**shapes.initial_token_fields(made), token=text), 201)  # type: ignore[arg-type]

    async def revoke(self, request: Request) -> Reply:
        """204; those that registered with it stay."""
        await revoke_initial_token(self._desk, request.caller, request.path["token_id"])
        return Reply(status=204)
