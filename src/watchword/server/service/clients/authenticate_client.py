"""Authenticate an application at an endpoint other than /token."""

from __future__ import annotations

from collections.abc import Callable

from ...protocol.errors import InvalidClient, Unavailable
from ...protocol.request import Credentials
from ...registry.model import Application
from ..group_commit import GroupCommit
from ..ports import Replayed, StorageUnavailable
from ..view import TenantView, View
from .prove_client import ProveClient

_ATTEMPTS = 5


class AuthenticateClient:
    """Raises `InvalidClient` for unknown, wrong, expired, disabled and replayed alike."""

    def __init__(self, view: View, prove: ProveClient, commits: GroupCommit, clock: Callable[[], float]) -> None:
        self._view, self._prove, self._commits, self._clock = view, prove, commits, clock

    async def __call__(self, tenant: TenantView, presented: Credentials, source: str = "") -> Application:
        """The authenticated application; its proof is recorded as used, on disk, before anything is answered for it."""
        try:
            for _ in range(_ATTEMPTS):
                current = await self._view.tenant(tenant.tenant.slug)
                if current is None:
                    raise Unavailable("the tenant was deleted meanwhile")
                client = await self._prove(current, presented, self._clock(), source)
                application, marks = client.standing.application, client.proven.marks
                if not marks:
                    return application
                used = self._commits.submit(
                    application.tenant_id, application.client_id, None, None, client.as_of, marks
                )
                if await used:
                    return application
        except Replayed:
            raise used_before() from None
        except StorageUnavailable as error:
            raise Unavailable("the database is away; try again", detail=str(error)) from None
        raise Unavailable("the registry is changing too fast; try again")


def used_before() -> InvalidClient:
    """RFC 7523 section 3, point 7."""
    return InvalidClient(detail="client assertion: jti was used before", rule="jti")
