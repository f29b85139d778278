"""The operations over the credentials of an application: its secrets and its public keys."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from ....service.desk import Desk
from ....service.registry.client_key_changes import NewClientKey, add_client_key, remove_client_key
from ....service.registry.rotate_secret import revoke_secret, rotate_secret
from .. import shapes
from ..routes import Reply, Request, Route
from .applications import ONE, ApplicationHandlers


class Rotation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`overlap`: seconds for which the older secret still works."""

    overlap: int = 86_400
    expires_at: int | None = None


class CredentialHandlers:
    """The handlers; one object per worker."""

    def __init__(self, desk: Desk, applications: ApplicationHandlers, max_old_secrets: int) -> None:
        self._desk, self._applications, self._keep_old = desk, applications, max_old_secrets

    def routes(self) -> list[Route]:
        """The operations below one application."""
        return [
            Route(method="POST", path=f"{ONE}/secrets", scope="applications:write", summary="Rotate the secret; the new one is shown once", handler=self.rotate_secret, body=Rotation, reply=shapes.NewSecretShape, status=201),
            Route(method="DELETE", path=f"{ONE}/secrets/{{secret_id}}", scope="applications:write", summary="End one secret now", handler=self.revoke_secret, status=204),
            Route(method="POST", path=f"{ONE}/keys", scope="applications:write", summary="Add a public key; it works beside the others", handler=self.add_client_key, body=NewClientKey, reply=shapes.ApplicationShape, status=201),
            Route(method="DELETE", path=f"{ONE}/keys/{{kid}}", scope="applications:write", summary="Remove a public key now", handler=self.remove_client_key, status=204),
        ]  # fmt: skip

    async def rotate_secret(self, request: Request) -> Reply:
        """Answer 201 with the new secret, which is shown this once."""
        client_id = request.path["client_id"]
        made = await rotate_secret(
            self._desk,
            request.caller,
            client_id,
            request.body.overlap,
            self._keep_old,
            request.body.expires_at,
        )
        return Reply(
            shapes.NewSecretShape(
                client_id=client_id,
                secret_id=made.secret.id,
                client_secret=made.text,
                expires_at=made.secret.expires_at,
                others=tuple(shapes.EndingSecretShape(secret_id=s.id, expires_at=s.expires_at) for s in made.others),
            ),
            201,
        )

    async def revoke_secret(self, request: Request) -> Reply:
        """Answer 204."""
        await revoke_secret(
            self._desk,
            request.caller,
            request.path["client_id"],
            request.path["secret_id"],
        )
        return Reply(status=204)

    async def add_client_key(self, request: Request) -> Reply:
        """Answer 201 with the application."""
        a = await add_client_key(self._desk, request.caller, request.path["client_id"], request.body)
        return replace(await self._applications.reply(request, a), status=201)

    async def remove_client_key(self, request: Request) -> Reply:
        """Answer 204."""
        await remove_client_key(self._desk, request.caller, request.path["client_id"], request.path["kid"])
        return Reply(status=204)
