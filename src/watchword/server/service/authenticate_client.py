"""Authenticate an application at an endpoint other than /token."""

from __future__ import annotations

from collections.abc import Callable

from ..protocol import access as rules
from ..protocol.client_auth import authenticate
from ..protocol.request import Credentials
from ..registry.model import Application
from .imported_secrets import ImportedSecrets
from .view import TenantView, View


class AuthenticateClient:
    """Raises `InvalidClient` for unknown, wrong, expired and disabled alike."""

    def __init__(
        self,
        view: View,
        imported: ImportedSecrets,
        pepper: bytes,
        clock: Callable[[], float],
    ) -> None:
        self._view, self._imported, self._pepper, self._clock = (
            view,
            imported,
            pepper,
            clock,
        )

    async def __call__(self, tenant: TenantView, presented: Credentials) -> Application:
        """The application that proved itself."""
        now = self._clock()
        standing = await self._view.standing(tenant, presented.unverified_client_id)
        application = standing.application if standing is not None else None
        if application is not None and self._imported.concern(application):
            await self._imported.upgrade(application, presented, now)
            standing = await self._view.standing(tenant, presented.unverified_client_id)
            application = standing.application if standing is not None else None
        authenticate(application, presented, self._pepper, now)
        assert application is not None
        rules.check_may_act(tenant.tenant, application)
        return application
